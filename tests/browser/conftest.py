"""Chromium in front of the app, which is served in a process of its own."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright
from serving import App, served
from tiny_checkpoint import tiny_config, write_tiny_checkpoint

from vidapp.run_writer import RunWriter

PATIENCE_MS = 60_000  # two cores may be busy with other tests
SIZE: ViewportSize = {"width": 1366, "height": 900}
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


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
    with served(tmp_path_factory.mktemp("app"), gently=False) as app:
        yield app


@pytest.fixture(scope="module")
def tiny_run(app: App) -> str:
    """A run with a checkpoint that has learnt nothing: quick, and every setting shows."""
    with RunWriter.create("tiny", tiny_config(), folder=app.runs) as run:
        write_tiny_checkpoint(run.checkpoint_path(7), run.config)
    return "tiny, step 7"


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[Page]:
    """One window for the tests of a module: another one for each would translate all scripts anew, which takes seconds."""
    context = browser.new_context(accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    yield page
    context.close()


@pytest.fixture
def unopened(window: Page, app: App) -> Iterator[Page]:
    """A window in which nothing is open yet, and which remembers nothing. It will ask no other host for anything and raise no error in its
    scripts."""
    problems: list[str] = []
    window.set_viewport_size(SIZE)
    window.goto(f"{app.url}nothing")  # of the same origin, without a page
    window.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
    noted = {
        "pageerror": lambda error: problems.append(f"script error: {error}"),
        "request": lambda request: problems.append(f"asked {request.url}") if foreign(request.url, app.url) else None,
    }
    for event, note in noted.items():
        window.on(event, note)  # type: ignore[call-overload]
    yield window
    for event, note in noted.items():
        window.remove_listener(event, note)
    window.unroute_all()
    for other in window.context.pages:
        if other is not window:
            other.close()
    assert problems == []
    assert "Traceback" not in app.log.read_text()


@pytest.fixture
def page(unopened: Page, app: App) -> Page:
    """The opened page."""
    unopened.goto(app.url)
    unopened.wait_for_selector(".player")
    return unopened


def foreign(url: str, own: str) -> bool:
    return not url.startswith((own, "data:", "blob:", "about:"))


QUIET_MS = 1000  # what was wished for before may still be generated, and then the newest wish
GENERATED = """([before, quiet]) => {
  const { key, predicted, making } = document.querySelector('.player').dataset;
  const seen = JSON.stringify([key, predicted, making]);
  if (window.generationSeen !== seen) { window.generationSeen = seen; window.generationSince = performance.now(); }
  return key !== before && predicted > 0 && making === 'no' && performance.now() - window.generationSince > quiet;
}"""


def press_generate(page: Page, button: str = "#generate") -> None:
    """Press the button and wait until another generation than before is whole, and stays so for a while."""
    before = page.locator(".player").get_attribute("data-key")
    page.locator(button).click()
    page.wait_for_function(GENERATED, arg=[before, QUIET_MS])
