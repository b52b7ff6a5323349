"""`python app.py` until its page answers."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from ..peak import peak_mib_of
from .effort import Effort

APP = Path(__file__).resolve().parents[2] / "app.py"
PATIENCE_S = 120.0
POLL_S = 0.02


def measure(effort: Effort) -> dict[str, object]:
    """The figures of the scope, on a warm disk: the limit beside it imports first what the page cannot be without."""
    if not APP.is_file():
        raise ValueError(f"there is no {APP}: `bench start` needs the page's app.py beside the package")
    floor = import_seconds("gradio")
    seconds, peak = page_seconds()
    return {
        "seconds_to_page": seconds,
        "seconds_to_import_gradio": floor,
        "ratio_to_import": seconds / floor,
        "peak_memory_mib": peak,
    }


def import_seconds(module: str) -> float:
    """Seconds of a Python that imports a module and ends; ValueError where it cannot be imported."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True, env=quiet_environment())
    if done.returncode:
        raise ValueError(f"{module} cannot be imported, so there is no page to wait for: {done.stderr.strip().splitlines()[-1:]}")
    return time.perf_counter() - start


def quiet_environment(**settings: str) -> dict[str, str]:
    """This environment without what a person has set for their own page."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VIDAPP_")}
    return {**kept, "GRADIO_ANALYTICS_ENABLED": "False", **settings}


def page_seconds() -> tuple[float, float | None]:
    """(seconds until the page answers, the most memory the app took until then in MiB). ValueError where it does not."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
        own = quiet_environment(VIDAPP_RUNS=f"{folder}/runs", VIDAPP_HOST="127.0.0.1", VIDAPP_PORT=str(port))
        start = time.perf_counter()
        app = subprocess.Popen([sys.executable, str(APP)], env=own, stdout=said, stderr=said, cwd=folder)
        try:
            while not answers(f"http://127.0.0.1:{port}/"):
                if app.poll() is not None or time.perf_counter() - start > PATIENCE_S:
                    said.seek(0)
                    raise ValueError(
                        f"the page did not come up: {said.read()[-500:].decode(errors='replace').strip() or 'nothing was said'}"
                    )
                time.sleep(POLL_S)
            return time.perf_counter() - start, peak_mib_of(app.pid)
        finally:
            end(app)


def end(app: "subprocess.Popen[bytes]") -> None:
    app.terminate()
    try:
        app.wait(10)
    except subprocess.TimeoutExpired:
        app.kill()
        app.wait()


def free_port() -> int:
    with contextlib.closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def answers(url: str) -> bool:
    """Whether a page is served there."""
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=5) as page:
            return bool(page.status == 200)
    except (urllib.error.URLError, OSError):
        return False
