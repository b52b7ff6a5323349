"""A tokenizer that a run has trained on somebody's own clips serves the runs that follow."""

from pathlib import Path
from typing import Any

import pytest
from tiny_checkpoint import tiny_config

from vidapp import jobs
from vidapp.config import Config
from vidapp.run_tokenizers import tokenizer_in, trained_before
from vidapp.runs import RunWriter, open_run
from vidapp.ui.drafts import Draft
from vidapp.ui.train import take_up

OWN = {"data__source": "/clips/mine", "recipe__tokenizer_steps": 30}


def own(**changes: Any) -> Config:
    return tiny_config(**{**OWN, **changes})


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDAPP_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def trained(name: str, config: Config, *steps: int) -> None:
    """A run that has kept its tokenizer at these steps."""
    with RunWriter.create(name, config) as run:
        for step in steps:
            path = run.checkpoint_path(step, "tokenizer")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"weights")


def test_the_newest_run_that_has_trained_one_to_its_end_is_taken() -> None:
    trained("first", own(), 10, 30)
    trained("second", own(run__steps=7), 30)
    trained("half", own(), 10)
    found = trained_before(own(model__width=64))
    assert found
    assert found.name == "second"
    assert tokenizer_in(found).is_file()


@pytest.mark.parametrize(
    "changes",
    [
        {"data__source": "/clips/others"},
        {"data__channels": 3},
        {"data__size": 64},
        {"tokenizer__levels": (4, 4)},
        {"recipe__tokenizer_steps": 31},
        {"recipe__tokenizer_source": "new"},
        {"data__source": "moving-mnist"},
    ],
)
def test_none_is_taken_for_other_clips_or_settings(changes: dict[str, Any]) -> None:
    trained("first", own(), 30)
    trained("built-in", tiny_config(recipe__tokenizer_steps=30), 30)
    assert trained_before(own(**changes)) is None
    assert trained_before(own(recipe__tokenizer_steps=20)), "one that was trained for longer is as good"


def test_a_damaged_run_is_passed_over(runs: Path) -> None:
    trained("first", own(), 30)
    trained("second", own(), 30)
    (runs / "second" / "config.json").write_text("{")
    found = trained_before(own())
    assert found
    assert found.name == "first"


def test_a_run_that_waits_takes_what_was_trained_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Any] = []
    start = jobs.start_queued
    monkeypatch.setattr(jobs, "_begin", begun.append)
    monkeypatch.setattr(jobs, "start_queued", lambda: None)
    jobs.start_or_enqueue(own(), "waits")
    trained("first", own(), 30)
    monkeypatch.setattr(jobs, "start_queued", start)
    assert open_run("waits").status().state == "queued"
    jobs.start_queued()
    (job,) = begun
    job.run.close()
    assert job.tokenizer == tokenizer_in(open_run("first"))


def test_the_shell_command_names_it(runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VIDAPP_DATA", str(tmp_path / "data"))
    clips = tmp_path / "data" / "own" / "mine"
    clips.mkdir(parents=True)
    (clips / "a.gif").write_bytes(b"a clip")
    draft = Draft.of("debug", {"data.source": "own/mine"})
    assert "--tokenizer" not in draft.command()
    config = draft.config.replace({"data.source": str(clips)})
    trained("first", config, config.recipe.tokenizer_steps)
    assert f"--tokenizer {tokenizer_in(open_run('first'))} --set data.source=" in draft.command()


@pytest.mark.parametrize(("kept", "taken"), [((), True), ((10,), False), ((30,), False)])
def test_a_run_that_goes_on_with_its_own_tokenizer_takes_no_other(
    kept: tuple[int, ...], taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained("first", own(), 30)
    trained("mine", own(), *kept)
    given: list[Any] = []
    monkeypatch.setattr(jobs, "start_training", lambda config, name, resume, tokenizer, processes: given.append(tokenizer))
    take_up(open_run("mine"))
    assert given == [tokenizer_in(open_run("first")) if taken else None]
