"""Serve the page: `python app.py`, then open http://127.0.0.1:7860."""

import os
import sys

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported

from vidapp.ui.app import Serving, launch


def main() -> int:
    """Serve until Ctrl-C; 2 where the environment asks for what cannot be done."""
    try:
        launch(Serving.from_environment())
    except (ValueError, OSError) as error:
        print(f"vidapp: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
