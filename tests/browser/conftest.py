"""The app as a person meets it: `python app.py` in a process of its own, and Chromium in front of it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
START_S = 90
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@dataclass(frozen=True)
class App:
    """A served app: where it is, and the folder of its runs."""

    url: str
    runs: Path
    log: Path


@contextlib.contextmanager
def served(folder: Path, **variables: str) -> Iterator[App]:
    """Serve the app with runs and data in `folder` until the block is left."""
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
            [sys.executable, str(ROOT / "app.py")], cwd=folder, env={**kept, **own, **variables}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        app = App(f"http://127.0.0.1:{port}/", runs, log)
        wait_until_up(app, process)
        yield app
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_until_up(app: App, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(app.url, timeout=5):
            return
        time.sleep(0.2)
    raise AssertionError(f"the app did not come up: {app.log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("there is no chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with served(tmp_path_factory.mktemp("app")) as app:
        yield app


@pytest.fixture
def page(browser: Browser, app: App) -> Iterator[Page]:
    """The opened page. It asks no other host for anything and raises no error in its scripts."""
    context = browser.new_context(viewport={"width": 1366, "height": 900}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(60_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(f"script error: {error}"))
    page.on("request", lambda request: problems.append(f"asked {request.url}") if foreign(request.url, app.url) else None)
    page.goto(app.url)
    page.wait_for_selector(".player")
    yield page
    context.close()
    assert problems == []
    assert "Traceback" not in app.log.read_text()


def foreign(url: str, own: str) -> bool:
    return not url.startswith((own, "data:", "blob:", "about:"))
