"""Examinations: one at a time in a process of its own, followed line by line, kept by key, ended when superseded or too long."""

import json
import time
from pathlib import Path

import pytest
from tiny import TINY

from vidapp.checks.checklist import GROUPS
from vidapp.failures import STRANGERS
from vidapp.ui.debug import BRIEF, PUBLIC
from vidapp.ui.examiner import Examiner, Order, Process, Report

CHECK = {
    "name": "temperature",
    "title": "T",
    "status": "pass",
    "figure": 0.0,
    "curve": [[x, x] for x in range(1000)],
    "details": {"a": 1.0},
}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Stands for the `vidapp` package in the examiner's processes: its text is what they run."""
    package = tmp_path / "fake" / "vidapp"
    package.mkdir(parents=True)
    monkeypatch.setattr("vidapp.ui.examiner.PACKAGE_PARENT", package.parent)
    return package / "__main__.py"


def order(key: str = "a", *command: str) -> Order:
    return Order(key, f"question {key}", TINY, command)


def printing(*lines: dict[str, object], then: str = "") -> str:
    return "import sys, time\n" + "".join(f"print({json.dumps(json.dumps(line))}, flush=True)\n" for line in lines) + then


def until(examiner: Examiner, key: str, state: str, seconds: float = 60.0) -> Report:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        report = examiner.look(key)
        assert report
        if report.state == state:
            return report
        time.sleep(0.02)
    raise AssertionError(f"{key} did not become {state}: {report}")


def test_its_processes_know_that_strangers_may_see_what_they_say(script: Path) -> None:
    script.write_text(f"import json, os; print(json.dumps({{'note': os.environ[{STRANGERS!r}]}}))")
    examiner = Examiner()
    examiner.start(order())
    assert until(examiner, "a", "failed").notes == ["1"], "it ends without a result, which is a failure"


def test_what_is_found_is_followed_to_the_end_and_kept(script: Path) -> None:
    script.write_text(printing({"progress": 0.5, "what": "x"}, {"note": "n"}, {"check": CHECK}, {"result": {"ok": True}}))
    examiner = Examiner()
    examiner.start(order())
    report = until(examiner, "a", "done")
    assert (report.share, report.notes, [check["name"] for check in report.checks]) == (0.5, ["n"], ["temperature"])
    assert 0 <= report.seconds_ago < 60
    assert examiner.look("") is report, "an empty key means the newest"
    page = report.to_dict()
    assert json.loads(json.dumps(page)) == page
    assert "details" not in page["checks"][0]
    assert len(page["checks"][0]["curve"]) <= 80


def test_checks_are_seen_before_the_end(script: Path) -> None:
    script.write_text(printing({"check": CHECK}, then="time.sleep(600)"))
    examiner = Examiner()
    examiner.start(order())
    deadline = time.monotonic() + 60
    while not examiner.look("a").checks and time.monotonic() < deadline:  # type: ignore[union-attr]
        time.sleep(0.02)
    report = examiner.look("a")
    assert report
    assert report.checks
    assert report.state == "running"
    assert examiner.stop()
    assert not examiner.stop()
    assert report.state == "stopped"


def test_another_question_ends_the_one_before_and_leaves_nothing_behind(script: Path) -> None:
    script.write_text("import time; time.sleep(600)")
    examiner = Examiner()
    examiner.start(order("a"))
    process = examiner.process
    assert isinstance(process, Process)
    examiner.start(order("b"))
    assert process.code is not None
    assert not process.folder.exists()
    assert examiner.look("a").state == "stopped"  # type: ignore[union-attr]
    examiner.stop()


def test_what_takes_too_long_is_ended(script: Path) -> None:
    script.write_text("import time; time.sleep(600)")
    examiner = Examiner(limit_s=0.1)
    examiner.start(order())
    assert "took longer" in until(examiner, "a", "stopped").error


def test_a_refusal_is_shown_in_its_own_words(script: Path) -> None:
    script.write_text("import sys\nprint('checking: 0', file=sys.stderr)\nprint('vidapp: no such run', file=sys.stderr)\nsys.exit(2)")
    examiner = Examiner()
    examiner.start(order())
    assert until(examiner, "a", "failed").error == "no such run"


def test_without_again_a_report_is_shared_and_nobody_elses_is_ended(script: Path) -> None:
    script.write_text("import time; time.sleep(600)")
    examiner = Examiner()
    first = examiner.start(order("a"), again=False)
    assert examiner.start(order("a"), again=False) is first
    with pytest.raises(ValueError, match="another examination is running"):
        examiner.start(order("b"), again=False)
    examiner.stop()


def test_what_cannot_begin_is_not_said_to_run(script: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(11, "no more processes")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("subprocess.Popen", refuse)
    examiner = Examiner()
    with pytest.raises(OSError, match="no more processes"):
        examiner.start(order())
    assert examiner.look() is None
    assert not examiner.stop()
    assert not list(tmp_path.glob("vidapp-check-*"))


def test_reports_are_bounded_in_number(script: Path) -> None:
    script.write_text(printing({"result": {"ok": True}}))
    examiner = Examiner(held=2)
    for key in "abc":
        examiner.start(order(key))
        until(examiner, key, "done")
    assert examiner.look("a") is None
    assert list(examiner.reports) == ["b", "c"]


def test_the_command_finds_the_config_and_the_real_checks_answer() -> None:
    examiner = Examiner()
    command = ("check", "--config", "{folder}/config.json", "--json-lines", "--only", "sampler")
    examiner.start(
        Order("real", "sampler", TINY.replace({"tokenizer.levels": (8, 5, 5, 5), "data.size": 64, "tokenizer.channels": 48}), command)
    )
    report = until(examiner, "real", "done", 300)
    assert [check["status"] for check in report.checks] == ["pass"] * 5


def test_groups_that_the_page_names_exist() -> None:
    assert set(PUBLIC) <= set(BRIEF) <= set(GROUPS)
    assert not {"overfit", "frames", "rate"} & set(BRIEF)
