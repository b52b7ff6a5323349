"""Serve the page: `python app.py`, then open http://127.0.0.1:7860."""

import importlib
import os
import signal
import sys
from types import FrameType

HELP = """usage: python app.py

Serve the page until Ctrl-C. It takes no arguments, only these environment variables:

  VIDAPP_RUNS                where runs live; default runs/ in the working folder
  VIDAPP_DATA                downloads, own clips and caches; default ~/.cache/vidapp
  VIDAPP_HOST, VIDAPP_PORT   where the page is served; default 127.0.0.1:7860, on a Space 0.0.0.0
  VIDAPP_AUTH=user:password  asks visitors for these
  VIDAPP_READONLY=1          sample and look only; the default on a Space

The command line is python -m vidapp --help."""


def heed_arguments(arguments: list[str]) -> None:
    """Answer --help; SystemExit with 2 for any other argument, which would be ignored."""
    if not arguments:
        return
    if arguments[0] in ("-h", "--help"):
        print(HELP)
        sys.exit(0)
    print(
        f"vidapp: app.py takes no arguments ({arguments[0]}): set VIDAPP_HOST, VIDAPP_PORT, VIDAPP_AUTH, VIDAPP_READONLY, VIDAPP_RUNS or "
        "VIDAPP_DATA in the environment; --help says what they mean",
        file=sys.stderr,
    )
    sys.exit(2)


def main() -> int:
    """Serve until Ctrl-C or SIGTERM; a training saves itself first. 2 where the environment asks for what cannot be done."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported
    prepare_lent_gpu()
    from vidapp.ui.app import Serving, launch  # takes seconds, which whoever asks for help does not wait

    signal.signal(signal.SIGTERM, interrupt)  # a container is stopped so
    try:
        launch(Serving.from_environment())
    except KeyboardInterrupt:
        pass
    except (ValueError, OSError) as error:
        print(f"vidapp: {error}", file=sys.stderr)
        return 2
    return 0


def prepare_lent_gpu() -> None:
    """On a ZeroGPU Space, whose package must be imported before anything that could see a GPU, and torch before the page is served."""
    from vidapp.lent_gpu import gpu_is_lent

    if gpu_is_lent():
        for package in ("spaces", "torch"):
            importlib.import_module(package)


def interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    heed_arguments(sys.argv[1:])
    sys.exit(main())
