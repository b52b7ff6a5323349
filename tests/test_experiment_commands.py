"""`python -m vidapp ladder` and `ablate` as somebody at a shell meets them: real trainings, as small as they can be."""

import errno
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shell import SMALLEST, Shell, clips_of

import vidapp.train
from vidapp.ablation_table import MARKERS
from vidapp.markdown import between, markers
from vidapp.runs import list_runs, open_run
from vidapp.tokenizer_choice import BUNDLED

TINY = [*SMALLEST, "recipe.curriculum=2,4"]
SAME = {  # as tiny_checkpoint's tokenizer, and as small
    "model.width": 16,
    "model.layers": 1,
    "model.heads": 2,
    "tokenizer.levels": "4,4,4",
    "tokenizer.channels": 8,
    "tokenizer.encoder_blocks": 0,
    "tokenizer.decoder_blocks": 0,
    "data.size": 32,
    "data.clip_frames": 4,
    "data.context_frames": 2,
    "recipe.batch_size": 2,
    "sampling.steps": 2,
    "run.validation_clips": 2,
    "run.threads": 1,
}


def forbid_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **named: Any) -> Iterator[dict[str, Any]]:
        raise AssertionError("something was trained")

    monkeypatch.setattr(vidapp.train, "train", fail)


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Ctrl-C comes in the next training at this step of the transformer, and only once."""
    train = vidapp.train.train

    def interrupted(*arguments: Any, **named: Any) -> Iterator[dict[str, Any]]:
        for line in train(*arguments, **named):
            if line["step"] == step and line["phase"] == "transformer":
                monkeypatch.setattr(vidapp.train, "train", train)
                os.kill(os.getpid(), signal.SIGINT)
            yield line

    monkeypatch.setattr(vidapp.train, "train", interrupted)


# ------------------------------------------------------------------ ladder


def test_the_ladder_shows_its_rungs_and_trains_nothing_where_only_asked(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_training(monkeypatch)
    code, out, _ = shell.run("ladder", "--status")
    assert code == 0
    assert "masked loss at most 0.05 on 100 clips" in out
    assert "next is rung 1" in out
    assert list_runs() == []


def test_a_rung_is_left_taken_up_again_and_judged_at_its_end(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [
        "ladder",
        "--quick",
        "--set",
        *TINY,
        "run.training_clips=1",
        "run.steps=60",
        "run.checkpoint_every=4",
        "recipe.learning_rate=0.02",
    ]
    interrupt_at(monkeypatch, 2)
    code, out, err = shell.run(*asked)
    assert code == 130
    assert "under way: 0 of 1 runs finished; ladder-quick-1-overfit is stopped at step" in out
    assert "the same command goes on from there" in err
    code, found = shell.answer(*asked)
    run = open_run("ladder-quick-1-overfit")
    assert run.status().state == "finished"
    steps = [line["step"] for line in run.metrics()[0] if "loss" in line and line["phase"] == "transformer"]
    assert steps == list(range(1, 61)), "exactly resumed, not begun anew"
    first = found["rungs"][0]
    assert first["state"] in ("passed", "failed")
    assert first["passed"] is (first["figures"]["loss"] <= 0.05)
    assert (code, found["next"]) == ((0, 2) if first["passed"] else (1, 1))
    assert first["command"] == "python -m vidapp ladder --quick --rung 1"
    forbid_training(monkeypatch)
    assert shell.answer("ladder", "--quick", "--rung", "1", "--set", *TINY)[1]["rungs"][0]["verdict"] == first["verdict"]


def test_later_rungs_take_the_tokenizer_of_the_first(shell: Shell) -> None:
    for rung in (1, 2):
        assert shell.run("ladder", "--quick", "--rung", rung, "--set", *TINY, "run.steps=2")[0] in (0, 1)
    assert {line["phase"] for line in open_run("ladder-quick-1-overfit").metrics()[0]} == {"tokenizer", "transformer"}
    assert {line["phase"] for line in open_run("ladder-quick-2-small").metrics()[0]} == {"transformer"}
    _, found = shell.answer("ladder", "--quick", "--status", "--set", *TINY, "run.steps=2")
    assert found["rungs"][1]["state"] in ("passed", "failed")
    assert "unigram_entropy" in found["rungs"][1]["figures"]


def test_a_rung_whose_training_breaks_off_is_told_from_one_that_is_refused(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **named: Any) -> Iterator[dict[str, Any]]:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(vidapp.train, "train", broken)
    code, _, err = shell.run("ladder", "--quick", "--rung", 1, "--set", *TINY)
    assert code == 1
    assert err.splitlines()[-1] == "vidapp: No space left on device"


def test_an_unknown_rung_is_refused(shell: Shell) -> None:
    code, _, err = shell.run("ladder", "--rung", "5")
    assert (code, err.count("\n")) == (2, 1)


# ------------------------------------------------------------------ ablate


def test_an_ablation_is_left_taken_up_again_written_and_not_trained_twice(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shell.run("train", "--preset", "debug", "--run", "first", "--steps", 1, "--set", *TINY)[0] == 0
    tokenizer = open_run("first").checkpoints()[0][1]
    out, page = tmp_path / "ablation.json", tmp_path / "page.md"
    page.write_text("before\n" + "\n".join(markers(MARKERS)) + "\nafter\n")
    asked = ["ablate", "--steps", 4, "--seeds", 2, "--only", "muon", "dropout", "--tokenizer", tokenizer, "--out", out, "--readme", page]
    asked += ["--set", *TINY]
    interrupt_at(monkeypatch, 2)
    code, text, _ = shell.run(*asked)
    assert code == 130
    assert "0 runs finished" in text
    assert "Not measured yet" in between(page.read_text(), MARKERS)

    code, found = shell.answer(*asked)
    assert code == 0
    assert len(found["trials"]) == 6
    assert set(found["effects"]) == {"muon", "dropout"}
    assert json.loads(out.read_text())["trials"] == found["trials"]
    assert "6 trainings, 2 seeds, 4 steps of 2 clips each" in between(page.read_text(), MARKERS)
    assert page.read_text().startswith("before\n")

    forbid_training(monkeypatch)
    assert shell.answer(*asked)[1]["trials"] == found["trials"]
    assert shell.answer(*asked, "--clips", 1)[1]["effects"]["muon"]["free_running_mse"]["seeds"] == 2
    scores = [open_run(trial["run"]).path / "scores.json" for trial in found["trials"]]
    assert all(path.is_file() for path in scores)

    code, _, err = shell.run("ablate", "--steps", 5, "--out", out, "--set", *TINY)
    assert code == 2
    assert "another budget" in err


def test_a_trial_that_breaks_off_is_said_and_the_others_are_measured(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tiny_checkpoint import tiny_config, write_tiny_checkpoint

    config = tiny_config(data__clip_frames=4, data__context_frames=2)
    tokenizer = write_tiny_checkpoint(tmp_path / "tokenizer.safetensors", config)
    same = [f"{key}={value}" for key, value in SAME.items()]
    train = vidapp.train.train

    def breaking(config: Any, run: Any, **named: Any) -> Iterator[dict[str, Any]]:
        if config.recipe.optimizer == "muon":
            raise ValueError("the loss of step 2 is not finite")
        yield from train(config, run, **named)

    monkeypatch.setattr(vidapp.train, "train", breaking)
    code, out, err = shell.run("ablate", "--steps", 2, "--seeds", 1, "--only", "muon", "dropout", "--tokenizer", tokenizer, "--set", *same)
    assert code == 1
    assert "ablate-2-muon-seed0 broke off and is left out: the loss of step 2 is not finite" in err
    assert "dropout" in out
    assert "2 runs finished" in out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--only", "magic"], "unknown changes magic"),
        (["--set", "data.size=32"], "--tokenizer"),
        (["--readme", "missing.md", "--status"], "missing.md"),
        (["--readme", "no/such/page.md"], "cannot read --readme no/such/page.md: No such file or directory\n"),
        (["--readme", "LICENSE"], "--readme LICENSE has no place for the table"),
        (["--out", "no/such/found.json"], "--out no/such/found.json lies in a folder that does not exist"),
        (["--data", "/no/such/clips"], "--data /no/such/clips is not there"),
        (["--tokenizer", "/no/such/weights"], "--tokenizer /no/such/weights is not there"),
        (["--steps", "0"], "--steps"),
        (["--set", "recipe.objective_future=-1"], "recipe.objective_future"),
    ],
)
def test_a_wrong_request_is_one_sentence(shell: Shell, flags: list[str], said: str) -> None:
    code, out, err = shell.run("ablate", *flags)
    assert (code, out) == (2, "")
    assert said in err
    assert list_runs() == []


def test_clips_that_are_not_there_leave_no_run_of_the_ladder(shell: Shell) -> None:
    assert "--data /no/such/clips is not there" in shell.refuses("ladder", "--quick", "--data", "/no/such/clips")
    assert list_runs() == []


QUICK = ["ladder", "--quick", "--rung", 1]
ONE_STEP = ["ablate", "--steps", 1, "--seeds", 1, "--only", "dropout", "--tokenizer", BUNDLED]


@pytest.mark.parametrize("asked", [QUICK, ONE_STEP])
def test_clips_that_are_too_short_or_missing_are_refused_before_a_run_is_begun(shell: Shell, tmp_path: Path, asked: list[object]) -> None:
    clips = clips_of(tmp_path / "clips", 8)
    assert "no clip in clips has the 10 frames that data.clip_frames asks for" in shell.refuses(*asked, "--data", clips)
    assert "there is no clip at clips" in shell.refuses(*asked, "--set", "data.source=/no/such/clips")
    assert list_runs() == []


@pytest.mark.parametrize("written", [["--data", "clips"], ["--set", "data.source=clips"]])
@pytest.mark.parametrize("asked", [QUICK, ONE_STEP])
def test_clips_are_named_by_their_whole_path(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[object], written: list[str]
) -> None:
    folder = clips_of(tmp_path / "clips", 10)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vidapp.train, "train", lambda *arguments, **named: iter(()))
    assert shell.run(*asked, *written)[0] in (0, 1)
    assert {run.config().data.source for run in list_runs()} == {str(folder)}


def test_a_file_that_is_something_else_is_not_overwritten(shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "notes.json"
    out.write_text('{"mine": 1}')
    assert shell.run("ablate", "--status", "--out", out)[0] == 2
    assert out.read_text() == '{"mine": 1}'
