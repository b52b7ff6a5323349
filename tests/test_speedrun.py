"""The speedrun: time to an error, from a run's metrics and what its checkpoints score."""

import json
from pathlib import Path

import pytest
from tiny_checkpoint import tiny_config, write_tiny_checkpoint
from torch import Tensor

from vidapp.checkpoint import save_checkpoint
from vidapp.cli import main
from vidapp.files import write_json
from vidapp.randomness import torch_generator
from vidapp.run_folder import TOKENIZER
from vidapp.run_reader import RunReader
from vidapp.run_scores import SCORES, key_of, known_score, score
from vidapp.runs import RunWriter, open_run
from vidapp.speedrun import minutes, render, row, speedrun, training_seconds
from vidapp.tokenizer import Tokenizer, new_tokenizer
from vidapp.transformer import VideoTransformer

CONFIG = tiny_config(data__clip_frames=4, data__context_frames=2)


def raced(steps: tuple[int, ...] = (10, 20, 30), tokenizer: str | None = None) -> RunReader:
    """A run of 2 s a tokenizer step and 1 s a transformer step, with a checkpoint at each of `steps`."""
    with RunWriter.create("raced", CONFIG) as run:
        run.log({"step": 5, "phase": "tokenizer", "seconds_per_step": 2.0})
        for step in range(10, 40, 10):
            run.log({"step": step, "phase": "transformer", "seconds_per_step": 1.0})
        for step in steps:
            write_tiny_checkpoint(run.checkpoint_path(step), CONFIG, step=step)
        write_json(run.path / TOKENIZER, {"checkpoint": tokenizer})
    return open_run("raced")


def scores(**mse: float) -> dict[int, dict[str, float]]:
    return {int(step.removeprefix("step")): {"mse": value} for step, value in mse.items()}


def test_the_time_is_of_both_phases_until_the_first_checkpoint_that_is_good_enough() -> None:
    found = speedrun(raced(), scores(step10=120.0, step20=60.0, step30=61.0))
    assert [(mark.step, mark.seconds) for mark in found.marks] == [(10, 20.0), (20, 30.0), (30, 40.0)]
    reached = found.reached(60.0)
    assert reached is not None
    assert reached.step == 20
    assert found.reached(59.9) is None
    assert not found.tokenizer_given


def test_a_step_beyond_the_metrics_has_no_time() -> None:
    assert training_seconds(raced(), [30, 31]) == {30: 40.0}


def test_a_row_says_what_was_not_reached_and_whether_the_tokenizer_is_in_the_time() -> None:
    cells = row(speedrun(raced(tokenizer="elsewhere.safetensors"), scores(step10=90.0, step20=70.0), "a toaster"))
    assert cells == ["a toaster", "20 s", "not reached", "not reached", "not reached", "70.0 after 30 s", "given"]
    assert render([cells]).splitlines()[0] == "| hardware | to MSE 100 | to MSE 60 | to MSE 40 | to MSE 30 | best | tokenizer |"


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (119, "119 s"), (180, "3 min"), (3 * 3600, "3.0 h")])
def test_times_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert minutes(seconds) == text


def test_a_checkpoint_is_evaluated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run = raced()
    first = score(run, 10, 2)
    assert first["clips"] == 2
    assert first["mse"] > 0
    monkeypatch.setattr("vidapp.evaluate.evaluate", None)
    assert score(run, 10, 2) == first
    assert known_score(run, 10, 3, "test") is None, "other clips, other score"
    with pytest.raises(ValueError, match="no checkpoint of step 11"):
        score(run, 11, 2)


def test_a_step_that_was_trained_anew_is_evaluated_anew() -> None:
    run = raced()
    first = score(run, 10, 2)
    path = dict(run.checkpoints())[10]
    save_checkpoint(path, CONFIG, *other_weights(), step=10, metrics={})
    assert known_score(run, 10, 2, "test") is None
    assert score(run, 10, 2)["mse"] != first["mse"]
    path.unlink()
    assert known_score(run, 10, 2, "test") is not None, "one that is no longer there was measured all the same"


def other_weights() -> tuple[Tokenizer, dict[str, Tensor]]:
    tokenizer = new_tokenizer(CONFIG.tokenizer, CONFIG.data.channels, torch_generator(1, "tokenizer"))
    return tokenizer, VideoTransformer.new(CONFIG, torch_generator(1, "transformer")).state_dict()


def test_the_command_prints_a_row_and_keeps_the_scores(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run = raced((10, 30))
    assert main(["runs", "speedrun", "raced", "--clips", "2", "--hardware", "two cores"]) == 0
    out = capsys.readouterr().out
    kept = json.loads(Path(run.path / SCORES).read_text())
    assert len(kept) == 2
    first = "20 s" if kept[key_of(10, 2, "test")]["mse"] <= 100 else "not reached"
    assert f"| two cores | {first} |" in out
    assert main(["runs", "speedrun", "raced", "--clips", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [mark["seconds"] for mark in found["checkpoints"]] == [20.0, 40.0]
    assert set(found["seconds_to_mse"]) == {"100", "60", "40", "30"}


def test_a_run_without_checkpoints_is_refused_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    raced(())
    assert main(["runs", "speedrun", "raced"]) == 2
    assert "run.keep_every" in capsys.readouterr().err
