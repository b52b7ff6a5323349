"""Serve the page: `python app.py`, then open http://127.0.0.1:7860."""

import os
import signal
import sys
from types import FrameType

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported

from vidapp.ui.app import Serving, launch


def main() -> int:
    """Serve until Ctrl-C or SIGTERM; a training saves itself first. 2 where the environment asks for what cannot be done."""
    signal.signal(signal.SIGTERM, interrupt)  # a container is stopped so
    try:
        launch(Serving.from_environment())
    except KeyboardInterrupt:
        pass
    except (ValueError, OSError) as error:
        print(f"vidapp: {error}", file=sys.stderr)
        return 2
    return 0


def interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
