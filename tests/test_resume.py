"""Going on: exactly where a run was left, from the newest checkpoint that can be used, with the tokenizer it began with."""

import errno
import itertools
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import TINY, tiny
from tiny_checkpoint import write_tiny_checkpoint
from trainings import EVERYTHING, curve, differing, left_behind, train_to_end

from vidapp import run_checkpoints
from vidapp.checkpoint import load_checkpoint
from vidapp.config import Config
from vidapp.rollout import predict
from vidapp.run_folder import TOKENIZER, checkpoint_steps, resume_paths
from vidapp.run_writer import RunWriter
from vidapp.runs import open_run, runs_folder
from vidapp.train import train


def lines(run: RunWriter, count: int, tokenizer: Path | None = None) -> list[dict[str, Any]]:
    """The first `count` lines of a training that is then dropped, as a kill would drop it."""
    training = train(run.config, run, tokenizer=tokenizer)
    found = list(itertools.islice(training, count))
    training.close()  # type: ignore[attr-defined]
    run.close()
    return found


@pytest.mark.parametrize("kind", EVERYTHING)
def test_a_run_that_is_left_at_any_line_goes_on_to_the_same_weights_and_curve(kind: str, tmp_path: Path) -> None:
    config = EVERYTHING[kind]
    train_to_end("whole", config, tmp_path)
    total = len(curve(tmp_path / "whole"))
    for count in range(1, total, 3):
        lines(RunWriter.create(f"left-{count}", config, tmp_path), count)
        train_to_end(f"left-{count}", config, tmp_path, resume=True)
        assert not differing(left_behind(tmp_path / f"left-{count}", 6), left_behind(tmp_path / "whole", 6)), count
        assert curve(tmp_path / f"left-{count}") == curve(tmp_path / "whole"), count


def test_sampling_in_the_same_process_changes_no_bit_of_a_training(tmp_path: Path) -> None:
    config = EVERYTHING["vq, muon"]
    train_to_end("alone", config, tmp_path)
    checkpoint = load_checkpoint(write_tiny_checkpoint(tmp_path / "other.safetensors", config))
    over = threading.Event()
    rounds = 0

    def generate() -> None:
        nonlocal rounds
        given = np.zeros((1, 2, 1, 32, 32), np.uint8)
        while not over.is_set():
            predict(checkpoint, given, 2, config.sampling, seed=rounds)
            rounds += 1

    page = threading.Thread(target=generate)
    page.start()
    try:
        train_to_end("watched", config, tmp_path)
    finally:
        over.set()
        page.join()
    assert rounds > 3
    assert not differing(left_behind(tmp_path / "watched", 6), left_behind(tmp_path / "alone", 6))


def test_longer_than_first_planned_is_another_schedule_but_the_same_run(tmp_path: Path) -> None:
    train_to_end("a", tiny(recipe__schedule="constant"), tmp_path)
    train_to_end("a", tiny(recipe__schedule="constant", run__steps=8), tmp_path, resume=True)
    assert open_run("a", tmp_path).status().sentence == "finished at step 8 of 8"
    assert not open_run("a", tmp_path).status().extra.get("notices")


def test_a_longer_run_whose_learning_rate_goes_up_again_says_so(tmp_path: Path) -> None:
    train_to_end("a", TINY, tmp_path)
    train_to_end("a", tiny(run__steps=12), tmp_path, resume=True)
    assert "with 12 in place of 6, the learning rate goes from 1e-06 to" in " ".join(open_run("a", tmp_path).status().extra["notices"])


# Which tokenizer


@pytest.fixture
def given(tmp_path: Path) -> Path:
    return write_tiny_checkpoint(tmp_path / "given.safetensors", TINY)


def begin(config: Config, tokenizer: Path | None, count: int) -> None:
    run = RunWriter.create("a", config)
    lines(run, count, tokenizer)


def phases_after_a_resume(tokenizer: Path | None) -> set[str]:
    with RunWriter.resume("a") as run:
        return {line["phase"] for line in train(run.config, run, tokenizer=tokenizer)}


def test_a_run_that_trains_its_own_tokenizer_is_not_handed_another_by_a_resume(given: Path) -> None:
    begin(TINY, None, 3)
    assert phases_after_a_resume(given) == {"tokenizer", "transformer"}


def test_a_run_killed_before_its_first_checkpoint_keeps_the_tokenizer_it_was_given(given: Path) -> None:
    begin(TINY, given, 1)
    for path in (runs_folder() / "a" / "checkpoints").iterdir():
        path.unlink()
    assert phases_after_a_resume(None) == {"transformer"}


def test_a_run_from_before_such_notes_takes_what_it_is_given(given: Path) -> None:
    run = RunWriter.create("a", TINY)
    run.close()
    assert phases_after_a_resume(given) == {"transformer"}
    assert json.loads((run.path / TOKENIZER).read_text()) == {"checkpoint": str(given), "init": None}


def test_a_run_that_is_left_while_its_tokenizer_trains_still_begins_with_the_weights_it_was_given(given: Path) -> None:
    config = tiny(run__seed=7, recipe__learning_rate=1e-9, recipe__weight_decay=0.0)
    with RunWriter.create("a", config) as run:
        next(iter(train(config, run, init=given)))
    assert phases_after_a_resume(None) == {"tokenizer", "transformer"}
    begun, trained = (load_checkpoint(path).transformer.state_dict() for path in (given, open_run("a").checkpoints()[0][1]))
    for name, weight in begun.items():
        assert torch.allclose(weight, trained[name], atol=1e-3), name


def test_a_tokenizer_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    other = write_tiny_checkpoint(tmp_path / "other.safetensors", tiny(tokenizer__channels=16))
    with pytest.raises(ValueError, match="copy its tokenizer section, or train one"), RunWriter.create("a", TINY) as run:
        list(train(TINY, run, tokenizer=other))


# Which checkpoint


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before_with_a_notice(tmp_path: Path) -> None:
    train_to_end("whole", TINY, tmp_path)
    lines(RunWriter.create("a", TINY, tmp_path), 12)
    (newest, path), *_ = open_run("a", tmp_path).checkpoints()
    path.write_bytes(path.read_bytes()[:-100])
    train_to_end("a", TINY, tmp_path, resume=True)
    assert f"The checkpoint of step {newest} cannot be used" in " ".join(open_run("a", tmp_path).status().extra["notices"])
    assert not differing(left_behind(tmp_path / "a", 6), left_behind(tmp_path / "whole", 6))


def test_damaged_resume_tensors_fall_back_too(tmp_path: Path) -> None:
    run = RunWriter.create("a", TINY, tmp_path)
    lines(run, 12)
    newest = run.complete_steps()[-1]
    run.resume_paths(newest)[0].write_bytes(b"\0" * 50)
    train_to_end("a", TINY, tmp_path, resume=True)
    assert open_run("a", tmp_path).status().state == "finished"


@pytest.mark.parametrize("other", [{"model__width": 32}, {"tokenizer__quantizer": "vq"}, {"model__layers": 2}])
def test_a_resume_part_of_another_run_falls_back_too(other: dict[str, Any], tmp_path: Path) -> None:
    run = RunWriter.create("a", TINY, tmp_path)
    lines(run, 12)
    newest = run.complete_steps()[-1]
    train_to_end("other", tiny(**other), tmp_path)
    shutil.copy(resume_paths(tmp_path / "other", 6)[0], run.resume_paths(newest)[0])
    train_to_end("a", TINY, tmp_path, resume=True)
    said = " ".join(open_run("a", tmp_path).status().extra["notices"])
    assert f"The checkpoint of step {newest} cannot be used (its resume part is not of this run" in said


def without(*names: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def damage(tensors: dict[str, Any], state: dict[str, Any]) -> None:
        for key in [key for key in tensors if key.startswith(names)]:
            del tensors[key]

    return damage


def with_best(best: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda tensors, state: state.update(best=best)


def with_moments(value: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def damage(tensors: dict[str, Any], state: dict[str, Any]) -> None:
        tensors["optimizer.0.0.exp_avg"] = torch.full_like(tensors["optimizer.0.0.exp_avg"], value, dtype=torch.tensor(value).dtype)

    return damage


@pytest.mark.parametrize("damage", [
    without("optimizer."), without("optimizer.0.0.exp_avg_sq"), without("update.skipped"), with_best([None, None]), with_best([3, 10**400]),
    with_moments(True), with_moments(float("nan")),
])  # fmt: skip
def test_a_resume_part_that_is_not_whole_falls_back_too(damage: Callable[[dict[str, Any], dict[str, Any]], None], tmp_path: Path) -> None:
    train_to_end("whole", TINY, tmp_path)
    run = RunWriter.create("a", TINY, tmp_path)
    lines(run, 12)
    newest = run.complete_steps()[-1]
    tensors_path, state_path = run.resume_paths(newest)
    tensors, state = load_file(tensors_path), json.loads(state_path.read_text())
    damage(tensors, state)
    save_file(tensors, tensors_path)
    state_path.write_text(json.dumps(state))
    train_to_end("a", TINY, tmp_path, resume=True)
    assert f"The checkpoint of step {newest} cannot be used" in " ".join(open_run("a", tmp_path).status().extra["notices"])
    assert not differing(left_behind(tmp_path / "a", 6), left_behind(tmp_path / "whole", 6))


def test_a_note_of_the_beginning_that_is_damaged_is_one_sentence(tmp_path: Path) -> None:
    run = RunWriter.create("a", TINY, tmp_path)
    lines(run, 12)
    (run.path / TOKENIZER).write_text('{"checkpoint": 5}')
    with pytest.raises(ValueError, match="tokenizer.json of run 'a' is damaged: checkpoint is '5', where a path should be, or null"):
        train_to_end("a", TINY, tmp_path, resume=True)


def test_an_optimisers_state_of_another_run_is_a_sentence(tmp_path: Path) -> None:
    run = RunWriter.create("a", TINY, tmp_path)
    lines(run, 12)
    train_to_end("other", tiny(recipe__optimizer="muon"), tmp_path)
    shutil.copy(resume_paths(tmp_path / "other", 6)[0], run.resume_paths(run.complete_steps()[-1])[0])
    with pytest.raises(ValueError, match="the optimiser's state belongs to another training: delete"):
        train_to_end("a", TINY, tmp_path, resume=True)
    assert open_run("a", tmp_path).status().state == "failed"


def test_another_environment_is_said() -> None:
    run = RunWriter.create("a", TINY)
    lines(run, 10)
    for step in run.complete_steps():
        _, state = run.resume_paths(step)
        state.write_text(json.dumps(json.loads(state.read_text()) | {"torch": "1.13", "threads": 64}))
    train_to_end("a", TINY, runs_folder(), resume=True)
    assert "torch 1.13 then" in " ".join(open_run("a").status().extra["notices"])


def test_resume_parts_written_by_an_older_version_can_be_used(tmp_path: Path) -> None:
    train_to_end("whole", TINY, tmp_path)
    run = RunWriter.create("a", TINY, tmp_path)
    lines(run, 12)
    for step in run.complete_steps():
        tensors, state = run.resume_paths(step)
        save_file({name: tensor for name, tensor in load_file(tensors).items() if not name.startswith("update.")}, tensors)
        state.write_text(json.dumps({"step": step, "phase": "transformer", "precision": "float32"}))
    config = json.loads((run.path / "config.json").read_text())
    for key in ("keep_best", "keep_every", "on_nonfinite", "tracker"):
        del config["run"][key]
    (run.path / "config.json").write_text(json.dumps(config))
    (run.path / TOKENIZER).unlink()
    train_to_end("a", TINY, tmp_path, resume=True)
    assert not differing(left_behind(tmp_path / "a", 6), left_behind(tmp_path / "whole", 6))


# Which checkpoints are kept


def kept(config: Config, validations: dict[int, float], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps kept at the end of a run whose validations come out like that."""
    from vidapp.transformer_phase import TransformerPhase

    losses = iter(validations.values())
    monkeypatch.setattr(TransformerPhase, "validate", lambda self: {"validation_loss_full": next(losses)})
    run = RunWriter.create(None, config)
    with run:
        list(train(config, run, tokenizer=write_tiny_checkpoint(run.path.parent / "given.safetensors", TINY)))
    return checkpoint_steps(run.path)


VALIDATIONS = {2: 3.0, 4: 1.0, 6: 2.0, 8: 5.0, 10: float("nan"), 12: 1.5}


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"run__keep_best": False}, [12]),
        ({}, [4, 12]),
        ({"run__checkpoint_every": 100}, [4, 12]),
        ({"run__keep_best": False, "run__keep_every": 5}, [5, 10, 12]),
        ({"run__keep_checkpoints": 2}, [4, 9, 12]),
    ],
)
def test_the_last_the_best_and_every_nth_are_kept(settings: dict[str, Any], steps: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    often = {"run__steps": 12, "run__validate_every": 2, "run__checkpoint_every": 3, "run__keep_checkpoints": 1}
    assert kept(tiny(**{**often, **settings}), VALIDATIONS, monkeypatch) == steps


def test_a_best_checkpoint_that_could_not_be_saved_does_not_cost_the_best_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = run_checkpoints.commit

    def full_at_six(folder: Path, step: int, phase: str, **more: Any) -> None:
        if step == 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        commit(folder, step, phase, **more)

    monkeypatch.setattr(run_checkpoints, "commit", full_at_six)
    config = tiny(run__steps=8, run__validate_every=2, run__checkpoint_every=3, run__keep_checkpoints=1)
    assert kept(config, {2: 3.0, 4: 1.0, 6: 0.5, 8: 2.0}, monkeypatch) == [4, 8]


def test_the_best_stays_the_best_across_a_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny(run__keep_checkpoints=1, run__validate_every=1, run__checkpoint_every=1)
    from vidapp.transformer_phase import TransformerPhase

    losses = iter([1.0, 2.0, 3.0, 2.5, 2.0, 1.5])
    monkeypatch.setattr(TransformerPhase, "validate", lambda self: {"validation_loss_full": next(losses)})
    run = RunWriter.create("a", config)
    lines(run, 5, write_tiny_checkpoint(run.path / "given.safetensors", TINY))
    train_to_end("a", config, runs_folder(), resume=True)
    assert checkpoint_steps(run.path) == [1, 6]
    assert open_run("a").status().extra["best_step"] == 1
