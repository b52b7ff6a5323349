"""For every test: few threads, its own folders for runs and data, and no silent skip of the browser tests where CI counts on them."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; tests run in several processes
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import pytest
from hypothesis import settings
from shell import Shell

settings.register_profile("vidapp", deadline=None, max_examples=50)  # the first example of many pays for an import
settings.load_profile("vidapp")

BROWSER_TESTS = Path(__file__).parent / "browser"
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs and data of a test lie in its own temporary folder, and no setting of the person's shell reaches it."""
    for name in list(os.environ):
        if name.startswith("VIDAPP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("VIDAPP_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("VIDAPP_DATA", str(tmp_path / "data"))


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def pytest_collection_finish() -> None:
    """What was imported so far stays: whoever collects garbage in a test need not look through it again."""
    gc.collect()
    gc.freeze()


def fail_skipped(report: Any, path: Path) -> None:
    if IN_CI and report.outcome == "skipped" and path.is_relative_to(BROWSER_TESTS):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not accept of a browser test: {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    fail_skipped(report, item.path)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    fail_skipped(report, collector.path)
    return report
