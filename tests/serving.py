"""The app as a person starts it: `python app.py` in a process of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
START_S = 180


@dataclass(frozen=True)
class App:
    """A served app: where it is, the folder of its runs, what it printed, its process."""

    url: str
    runs: Path
    log: Path
    process: "subprocess.Popen[bytes]"


@contextlib.contextmanager
def served(folder: Path, *, gently: bool = True, **variables: str) -> Iterator[App]:
    """Serve the app with runs and data in `folder` until the block is left. It is then given the time to end by itself, which takes seconds,
    or where not `gently` ended at once, with all processes that it started.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    runs, log = folder / "runs", folder / "app.log"
    own = {
        "VIDAPP_PORT": str(port),
        "VIDAPP_RUNS": str(runs),
        "VIDAPP_DATA": str(folder / "data"),
        "GRADIO_TEMP_DIR": str(folder / "cache"),
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VIDAPP_")}
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "app.py")],
            cwd=folder,
            env={**kept, **own, **variables},
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=heed_interrupts,
        )
    try:
        app = App(f"http://127.0.0.1:{port}/", runs, log, process)
        wait_until_up(app)
        yield app
    finally:
        started = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        if gently:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
        process.kill()
        process.wait()
        for one in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


def heed_interrupts() -> None:
    """Tests that a shell runs in the background ignore SIGINT, and what they start would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_until_up(app: App) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and app.process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(app.url, timeout=5):
            return
        time.sleep(0.2)
    raise AssertionError(f"the app did not come up: {app.log.read_text()[-3000:]}")
