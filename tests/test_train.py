"""Whole trainings, a few steps long: what they write, how they are steered, and that nothing from outside changes what is learnt."""

import gc
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TINY, roughen, tiny, tiny_tokenizer
from torch import Tensor
from trainings import curve, differing, left_behind, train_to_end

from vidapp import media
from vidapp import train as train_module
from vidapp import transformer_phase as phase_module
from vidapp.batches import TokenBatch, corrupted, corruption
from vidapp.checkpoint import load_checkpoint, load_tokenizer, save_checkpoint
from vidapp.config import Config
from vidapp.data.source import open_source
from vidapp.objective import MaskedLogits
from vidapp.randomness import torch_generator
from vidapp.resume import Resume
from vidapp.rollout import predict
from vidapp.run_folder import checkpoint_path, resume_paths
from vidapp.run_reader import RunReader
from vidapp.run_writer import RunWriter
from vidapp.schedules import learning_rate
from vidapp.tokenizer_phase import TokenizerPhase
from vidapp.train import train
from vidapp.transformer import VideoTransformer
from vidapp.transformer_phase import TransformerPhase

CPU = torch.device("cpu")
COMMON = {"step", "phase", "attempt", "time_s"}
TRAINING = COMMON | {"loss", "grad_norm", "learning_rate", "memory_mib"}
TOKENIZER = TRAINING | {"reconstruction_mse", "psnr_db", "codebook_use", "perplexity"}
TRANSFORMER = TRAINING | {
    "mask_ratio",
    "clip_frames",
    "masked_accuracy",
    "copy_accuracy",
    "most_frequent_accuracy",
    "unigram_entropy",
    "copy_entropy",
}
VALIDATION = COMMON | {
    "validation_loss_half",
    "validation_loss_full",
    "validation_accuracy",
    "validation_changed_accuracy",
    "validation_copy_accuracy",
}
BUSY = tiny(
    model__dropout=0.1, recipe__rotation=10, recipe__brightness=0.2, recipe__horizontal_flip=0.5, recipe__context_corruption=0.1
)  # everything that draws


def at(phase: str, step: int) -> Callable[[dict[str, Any]], bool]:
    return lambda line: (line["phase"], line["step"]) == (phase, step)


def train_until(config: Config, name: str, folder: Path, here: Callable[[dict[str, Any]], bool], command: str = "stop") -> None:
    """Train up to a line where `here` holds, and send `command` there."""
    with RunWriter.create(name, config, folder) as run:
        for line in train(config, run):
            if here(line):
                RunReader(run.path).send(command)
    assert RunReader(folder / name).status().state == "stopped"


def phase_of(config: Config) -> TransformerPhase:
    tokenizer = tiny_tokenizer(config)
    roughen(tokenizer, torch_generator(0))
    return TransformerPhase(config, open_source(config.data), tokenizer, CPU, "float32")


def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def weights_in(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the counts of what has been skipped."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("update.")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that several tests look at."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def finished(folder: Path) -> Path:
    train_to_end("finished", TINY, folder)
    return folder / "finished"


@pytest.fixture(scope="module")
def busy(folder: Path) -> Path:
    """An uninterrupted training with everything that draws."""
    train_to_end("busy", BUSY, folder)
    return folder / "busy"


# ------------------------------------------------------------------ what a training writes


def lines_of(path: Path, phase: str, key: str = "loss") -> list[dict[str, Any]]:
    return [line for line in RunReader(path).metrics()[0] if line["phase"] == phase and key in line]


def test_the_threads_of_a_run_are_those_of_no_other(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    with RunWriter.create("few", tiny(run__threads=before + 1, run__steps=1), tmp_path) as run:
        assert {torch.get_num_threads() for _ in train(run.config, run)} == {before + 1}
    assert torch.get_num_threads() == before


def test_both_phases_are_trained_one_after_the_other(finished: Path) -> None:
    lines = RunReader(finished).metrics()[0]
    assert [line["step"] for line in lines_of(finished, "tokenizer")] == [1, 2, 3, 4]
    assert [line["step"] for line in lines_of(finished, "transformer")] == [1, 2, 3, 4, 5, 6]
    assert [line["phase"] for line in lines] == sorted(line["phase"] for line in lines)
    status = RunReader(finished).status()
    assert (status.extra["device"], status.extra["precision"]) == ("cpu", "float32")
    assert (status.state, status.step, status.total, status.error) == ("finished", 6, 6, None)


def test_lines_have_the_keys_that_readers_count_on(finished: Path) -> None:
    for line in lines_of(finished, "tokenizer"):
        assert set(line) >= TOKENIZER
    first, *others = lines_of(finished, "transformer")
    assert set(first) >= TRANSFORMER
    for line in others:
        assert set(line) >= TRANSFORMER | {"tokens_per_second"}
        assert any(f"loss_{objective}" in line for objective in ("future", "joint", "individual"))
    validations = lines_of(finished, "transformer", "validation_loss_full")
    assert [line["step"] for line in validations] == [3, 6]
    for line in validations:
        assert set(line) >= VALIDATION
    assert {"validation_reconstruction_mse", "validation_psnr_db", "validation_codebook_use"} <= set(
        lines_of(finished, "tokenizer", "validation_psnr_db")[-1]
    )


def test_tokens_a_second_are_those_of_the_steps_own_clips(tmp_path: Path) -> None:
    config = tiny(recipe__curriculum="2,4", run__steps=8)
    train_to_end("growing", config, tmp_path)
    lines = lines_of(tmp_path / "growing", "transformer", "tokens_per_second")
    assert {line["clip_frames"] for line in lines} == {2, 4}
    for line in lines:
        tokens = config.recipe.batch_size * line["clip_frames"] * config.grid**2
        assert line["tokens_per_second"] * line["seconds_per_step"] == pytest.approx(tokens), line["step"]


def test_figures_are_finite_and_within_their_ranges(finished: Path) -> None:
    for line in RunReader(finished).metrics()[0]:
        layers = line.pop("layers", {})
        assert all(math.isfinite(value) and value >= 0 for figures in layers.values() for value in figures.values())
        for key, value in line.items():
            assert isinstance(value, str) or math.isfinite(value), key
            if key.endswith("accuracy") or key in ("mask_ratio", "codebook_use"):
                assert 0 <= value <= 1, key
    for line in lines_of(finished, "transformer"):
        assert line["clip_frames"] == 4
        assert 0 <= line["unigram_entropy"] <= math.log(16)


def test_what_is_yielded_is_what_is_written(tmp_path: Path) -> None:
    config = tiny(run__steps=2)
    with RunWriter.create("run", config, tmp_path) as run:
        yielded = list(train(config, run))
    written = RunReader(tmp_path / "run").metrics()[0]
    assert [{**line, **{key: written[index][key] for key in ("attempt", "time_s")}} for index, line in enumerate(yielded)] == written


def test_the_learning_rate_follows_the_cosine_to_its_end(finished: Path) -> None:
    rates = [line["learning_rate"] for line in lines_of(finished, "transformer")]
    assert rates == pytest.approx([learning_rate(step, 6, TINY.recipe) for step in range(6)])
    assert rates[0] == TINY.recipe.learning_rate
    assert rates[-1] == pytest.approx(TINY.recipe.minimum_learning_rate)


def test_every_checkpoint_can_be_sampled_from(finished: Path) -> None:
    steps = [step for step, _ in RunReader(finished).checkpoints()]
    assert {0, 2, 4, 6} <= set(steps)
    for step, path in RunReader(finished).checkpoints():
        loaded = load_checkpoint(path)
        assert (loaded.step, loaded.config) == (step, TINY)
    future = predict(loaded, np.zeros((1, 2, 1, 32, 32), np.uint8), 2, TINY.sampling, 0)
    assert np.isfinite(future).all()
    assert {"loss", "validation_loss_full"} <= set(load_checkpoint(checkpoint_path(finished, 6)).metrics)


def test_samples_are_pictures_of_truth_and_prediction(finished: Path) -> None:
    samples = RunReader(finished).samples()
    assert [step for step, _ in samples] == [6, 3, 4, 3]  # transformer, then tokenizer phase
    for _, path in samples:
        with Image.open(path) as strip:
            assert strip.width >= 4 * 32
            assert strip.height >= 2 * 32


@pytest.mark.parametrize("decay", [0.999, 0.0])
def test_what_is_saved_are_the_averaged_weights_where_any_are_kept(decay: float) -> None:
    phase = phase_of(tiny(recipe__ema_decay=decay))
    start = copied(phase.model.state_dict())
    for step in range(3):
        phase.train_step(step, measure=False)
    for name, weight in phase.model.state_dict().items():
        averaged = phase.averaged.state_dict()[name]
        if decay:
            assert torch.equal(averaged, weight) == torch.equal(start[name], weight), name
        else:
            assert torch.equal(averaged, weight), name


@pytest.mark.parametrize("decay", [0.999, 0.0])
def test_a_checkpoint_holds_the_averaged_weights_and_the_trained_ones_only_where_none_are_averaged(tmp_path: Path, decay: float) -> None:
    phase = phase_of(tiny(recipe__ema_decay=decay))
    with torch.no_grad():
        phase.averaged.place_embedding.fill_(0.5)
        phase.model.place_embedding.fill_(0.25)
    phase.save(tmp_path / "saved.safetensors", 0, {})
    saved = load_checkpoint(tmp_path / "saved.safetensors").transformer.place_embedding
    assert saved.unique().item() == (0.5 if decay else 0.25)


def test_samples_are_drawn_by_the_averaged_weights() -> None:
    phase = phase_of(tiny())
    before = phase.sample()[1]
    with torch.no_grad():
        phase.model.head_bias[3] = 99.0
    assert np.array_equal(phase.sample()[1], before)
    with torch.no_grad():
        phase.averaged.head_bias[3] = 99.0
    assert not np.array_equal(phase.sample()[1], before)


def test_the_past_that_is_trained_against_is_corrupted_as_much_as_the_recipe_says(monkeypatch: pytest.MonkeyPatch) -> None:
    pasts = {}
    original = phase_module.masked_logits

    def looking(model: Any, batch: TokenBatch, **more: Any) -> MaskedLogits:
        pasts[share] = (batch.tokens_BTHW, more["past_BTHW"])
        return original(model, batch, **more)

    monkeypatch.setattr(phase_module, "masked_logits", looking)
    for share in (0.0, 0.4):
        config = tiny(recipe__context_corruption=share)
        phase_of(config).train_step(0, measure=True)
        tokens, past = pasts[share]
        assert torch.equal(past, corrupted(tokens, corruption(config, 0, range(len(tokens)))))
        assert torch.equal(past, tokens) == (share == 0)


def test_validation_masks_half_of_the_future_and_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    config, shares = tiny(), []
    original = phase_module.masked_logits

    def looking(model: Any, batch: TokenBatch, **more: Any) -> MaskedLogits:
        shares.append(batch.masked_BTHW[:, config.data.context_frames :].mean())
        assert not batch.masked_BTHW[:, : config.data.context_frames].any()
        return original(model, batch, **more)

    monkeypatch.setattr(phase_module, "masked_logits", looking)
    phase_of(config).validate()
    assert shares == [0.5, 1.0]


def test_dropout_draws_anew_at_every_step_and_the_same_at_the_same() -> None:
    phase, drawn = phase_of(tiny()), []
    for step in (1, 2, 1):
        phase.seed_dropout(step)
        drawn.append(torch.rand(4))
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


def test_nothing_of_what_came_before_is_held_while_the_transformer_trains(tmp_path: Path) -> None:
    def alive(kind: type) -> list[Any]:
        gc.collect()
        return [thing for thing in gc.get_objects() if type(thing) is kind]

    config = tiny(run__steps=3, run__checkpoint_every=1, recipe__tokenizer_steps=1)
    with RunWriter.create("run", config, tmp_path) as run:
        assert not any(alive(TokenizerPhase) for line in train(config, run) if line["phase"] == "transformer")
    with RunWriter.resume("run", config.replace({"run.steps": 5}), tmp_path) as run:
        assert not any(found.tensors for _ in train(run.config, run) for found in alive(Resume))


def test_the_tokenizer_of_a_run_is_left_alone_by_the_transformer_phase(finished: Path) -> None:
    trained = load_tokenizer(checkpoint_path(finished, 4, "tokenizer"))[0].state_dict()
    for step, path in RunReader(finished).checkpoints():
        assert not differing(load_tokenizer(path)[0].state_dict(), trained), step


def test_what_is_adjusted_is_said_in_the_status(tmp_path: Path) -> None:
    train_to_end("run", tiny(run__steps=1, recipe__warmup_steps=5), tmp_path)
    notices = RunReader(tmp_path / "run").status().extra["notices"]
    assert any("Warm-up shortened from 5 to 0 steps" in notice for notice in notices)


# ------------------------------------------------------------------ a tokenizer that is given


@pytest.fixture(scope="module")
def given_tokenizer(folder: Path) -> Path:
    tokenizer = tiny_tokenizer()
    roughen(tokenizer, torch_generator(0))
    path = folder / "given.safetensors"
    save_checkpoint(path, TINY, tokenizer, VideoTransformer.new(TINY, torch_generator(0)).state_dict(), step=0, metrics={})
    return path


def test_a_given_tokenizer_is_used_as_it_is(given_tokenizer: Path, tmp_path: Path) -> None:
    config = tiny(run__steps=2)
    with RunWriter.create("run", config, tmp_path) as run:
        phases = {line["phase"] for line in train(config, run, tokenizer=given_tokenizer)}
    assert phases == {"transformer"}
    used, given = (load_tokenizer(path)[0].state_dict() for path in (checkpoint_path(tmp_path / "run", 2), given_tokenizer))
    assert not differing(used, given)


def test_a_tokenizer_of_other_settings_is_refused(given_tokenizer: Path, tmp_path: Path) -> None:
    config = tiny(tokenizer__levels="4,4,4")
    with (
        pytest.raises(ValueError, match="not the one that the config describes"),
        RunWriter.create("run", config, tmp_path) as run,
    ):
        list(train(config, run, tokenizer=given_tokenizer))
    assert RunReader(tmp_path / "run").status().state == "failed"


# ------------------------------------------------------------------ steering


def test_stop_ends_after_the_step_and_saves_it(tmp_path: Path) -> None:
    train_until(TINY, "run", tmp_path, at("transformer", 1))
    reader = RunReader(tmp_path / "run")
    assert (reader.status().step, [step for step, _ in reader.checkpoints()]) == (1, [1, 0])
    assert reader.metrics()[0][-1]["step"] == 1


def test_stop_in_the_tokenizer_phase_begins_no_other(tmp_path: Path) -> None:
    train_until(TINY, "run", tmp_path, at("tokenizer", 1))
    reader = RunReader(tmp_path / "run")
    assert {line["phase"] for line in reader.metrics()[0]} == {"tokenizer"}
    assert reader.checkpoints() == []
    assert checkpoint_path(reader.path, 1, "tokenizer").exists()


def test_a_paused_training_waits_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[str] = []

    def look_then_resume(_: float) -> None:
        states.append(reader.status().state)
        if len(states) == 3:
            reader.send("resume")

    clock = train_module.time.perf_counter
    monkeypatch.setattr(train_module, "time", SimpleNamespace(sleep=look_then_resume, perf_counter=clock))
    with RunWriter.create("run", TINY, tmp_path) as run:
        reader = RunReader(run.path)
        for line in train(TINY, run):
            if at("transformer", 1)(line):
                reader.send("pause")
            if at("transformer", 2)(line):
                assert states == ["paused"] * 3
                assert reader.status().state == "running"
    assert reader.status().state == "finished"


def test_a_paused_training_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = SimpleNamespace(sleep=lambda _: RunReader(tmp_path / "run").send("stop"), perf_counter=train_module.time.perf_counter)
    monkeypatch.setattr(train_module, "time", stop)
    train_until(TINY, "run", tmp_path, at("transformer", 1), "pause")
    assert RunReader(tmp_path / "run").status().step == 1


def test_save_and_sample_are_obeyed_between_two_steps_and_once(tmp_path: Path) -> None:
    config = tiny(run__checkpoint_every=100, run__sample_every=100, run__validate_every=100)
    with RunWriter.create("run", config, tmp_path) as run:
        reader = RunReader(run.path)
        for line in train(config, run):
            if at("transformer", 3)(line):
                reader.send("save")
                reader.send("sample")
    assert [step for step, _ in reader.checkpoints()] == [6, 3, 0]
    assert [step for step, path in reader.samples() if "tokenizer" not in path.name] == [6, 3]


def test_samples_too_large_for_one_picture_are_drawn_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MAX_STRIP_PIXELS", 2000)
    train_to_end("run", TINY, tmp_path)
    sizes = [Image.open(path).size for _, path in RunReader(tmp_path / "run").samples()]
    assert sizes
    assert all(width * height <= 2000 for width, height in sizes)


# ------------------------------------------------------------------ resuming


@pytest.mark.parametrize(("phase", "step"), [("tokenizer", 1), ("tokenizer", 3), ("transformer", 1), ("transformer", 3)])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(busy: Path, tmp_path: Path, phase: str, step: int) -> None:
    train_until(BUSY, "run", tmp_path, at(phase, step))
    torch.manual_seed(99)  # whoever goes on begins with another state of torch's own generator
    train_to_end("run", BUSY, tmp_path, resume=True)
    assert not differing(left_behind(tmp_path / "run", 6), left_behind(busy, 6))
    assert curve(tmp_path / "run") == curve(busy)


def damage_checkpoint(path: Path) -> None:
    file = checkpoint_path(path, 4)
    file.write_bytes(file.read_bytes()[:-100])


def damage_tensors(path: Path) -> None:
    file = resume_paths(path, 4)[0]
    file.write_bytes(file.read_bytes()[:-100])


def damage_state(path: Path) -> None:
    resume_paths(path, 4)[1].write_bytes(b"{")


@pytest.mark.parametrize("damage", [damage_checkpoint, damage_tensors, damage_state])
def test_a_damaged_newest_checkpoint_is_passed_over_with_a_word(busy: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    train_until(BUSY, "run", tmp_path, at("transformer", 4))
    damage(tmp_path / "run")
    train_to_end("run", BUSY, tmp_path, resume=True)
    reader = RunReader(tmp_path / "run")
    assert any("checkpoint of step 4 cannot be used" in notice for notice in reader.status().extra["notices"])
    assert not differing(left_behind(tmp_path / "run", 6), left_behind(busy, 6))
    assert curve(tmp_path / "run") == curve(busy)


# ------------------------------------------------------------------ what must not change a training


def test_looking_more_often_does_not_change_what_is_learnt(busy: Path, tmp_path: Path) -> None:
    rare = BUSY.replace(dict.fromkeys(("run.log_every", "run.validate_every", "run.sample_every", "run.checkpoint_every"), 100))
    train_to_end("rare", rare, tmp_path)
    seldom, often = left_behind(tmp_path / "rare", 6), left_behind(busy, 6)
    assert not differing(seldom, often)


def test_generating_in_the_middle_of_a_step_does_not_change_it(
    busy: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a page does that samples while a training runs in the same process: between the seeding of dropout and its use."""
    forward, calls = phase_module.masked_logits, []

    def forward_after_generating(*arguments: Any, **named: Any) -> Any:
        loaded = load_checkpoint(checkpoint_path(finished, 6))
        predict(loaded, np.zeros((1, 2, 1, 32, 32), np.uint8), 1, TINY.sampling, len(calls))
        calls.append(1)
        return forward(*arguments, **named)

    monkeypatch.setattr(phase_module, "masked_logits", forward_after_generating)
    train_to_end("run", BUSY, tmp_path)
    assert len(calls) >= 6
    assert not differing(left_behind(tmp_path / "run", 6), left_behind(busy, 6))


def test_the_state_of_torchs_own_generator_does_not_reach_a_training(busy: Path, tmp_path: Path) -> None:
    with RunWriter.create("run", BUSY, tmp_path) as run:
        for line in train(BUSY, run):
            torch.manual_seed(line["step"] + 1000)
    assert not differing(left_behind(tmp_path / "run", 6), left_behind(busy, 6))


def test_another_seed_is_another_training(finished: Path, tmp_path: Path) -> None:
    train_to_end("other", tiny(run__seed=1), tmp_path)
    assert differing(left_behind(tmp_path / "other", 6), left_behind(finished, 6))


# ------------------------------------------------------------------ what went wrong


def test_a_gradient_that_is_not_finite_leaves_the_weights_as_they_were() -> None:
    phase = phase_of(TINY)
    phase.train_step(0, measure=True)
    before = copied(phase.tensors())
    phase.model.head_bias.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(ValueError, match="step 2 is not finite.*the weights were left as they") as caught:
        phase.train_step(1, measure=True)
    assert "recipe.learning_rate (now 0.0003)" in str(caught.value)
    assert not differing(weights_in(phase.tensors()), weights_in(before))


def test_a_model_that_cannot_be_sampled_is_a_notice_and_the_training_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def diverged(self: TransformerPhase) -> None:
        raise ValueError("the model's logits are no numbers")

    monkeypatch.setattr(TransformerPhase, "sample", diverged)
    train_to_end("a", TINY, tmp_path)
    status = RunReader(tmp_path / "a").status()
    assert status.state == "finished"
    assert "There is no sample of step 3: the model's logits are no numbers." in status.extra["notices"]


def test_few_clips_to_overfit_are_all_that_a_tokenizer_sees_and_all_of_their_frames() -> None:
    config = tiny(run__training_clips=2)
    source = open_source(config.data)
    phase = TokenizerPhase(config, source, CPU)
    clips = [source.training_clip(config.run.seed, 0, index, config.data.clip_frames) for index in range(2)]
    there = {frame.tobytes() for clip in clips for frame in clip}
    assert {frame.tobytes() for step in range(40) for clip in phase.clips(step, range(4)) for frame in clip} == there
    assert len(there) > 2


def test_so_it_does_in_the_tokenizer_phase() -> None:
    phase = TokenizerPhase(TINY, open_source(TINY.data), CPU)
    phase.train_step(0, measure=True)
    before = copied(phase.tensors())
    next(phase.tokenizer.parameters()).register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(ValueError, match="step 2 is not finite.*recipe.tokenizer_learning_rate"):
        phase.train_step(1, measure=True)
    assert not differing(weights_in(phase.tensors()), weights_in(before))


def test_a_run_that_failed_says_why_and_can_be_resumed(busy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_step = TransformerPhase.train_step

    def broken(self: TransformerPhase, step: int, measure: bool) -> dict[str, float]:
        if step == 4:
            self.model.head_bias.register_hook(lambda gradient: gradient * float("nan"))
        return train_step(self, step, measure)

    monkeypatch.setattr(TransformerPhase, "train_step", broken)
    with pytest.raises(ValueError, match="not finite"), RunWriter.create("run", BUSY, tmp_path) as run:
        list(train(BUSY, run))
    status = RunReader(tmp_path / "run").status()
    assert status.state == "failed"
    assert "step 5 is not finite" in str(status.error)
    monkeypatch.undo()
    train_to_end("run", BUSY, tmp_path, resume=True)
    assert not differing(left_behind(tmp_path / "run", 6), left_behind(busy, 6))


# ------------------------------------------------------------------ validation


def test_validation_is_on_fixed_clips_and_masks_whatever_the_recipe() -> None:
    figures = [
        phase_of(tiny(**changes)).validate() for changes in ({}, {"recipe__mask_schedule": "progressive", "recipe__objective_joint": 0})
    ]
    assert figures[0] == figures[1]
    phase = phase_of(TINY)
    state, before = torch.get_rng_state(), copied(phase.tensors())
    assert phase.validate() == phase.validate() == figures[0]
    assert torch.equal(state, torch.get_rng_state())
    assert not differing(phase.tensors(), before)


def test_validation_masks_half_and_all_of_every_future_frame_and_nothing_else() -> None:
    phase = phase_of(TINY)
    for clip in range(3):
        half, full = (phase.validation_mask(clip, ratio).mask_THW for ratio in (0.5, 1.0))
        assert not half[:2].any()
        assert not full[:2].any()
        assert full[2:].all()
        assert half[2:].sum(axis=(1, 2)).tolist() == [8, 8]
    assert not np.array_equal(phase.validation_mask(0, 0.5).mask_THW, phase.validation_mask(1, 0.5).mask_THW)


def test_validation_does_not_depend_on_how_its_clips_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    phase = phase_of(tiny(run__validation_clips=7))
    roughen(phase.averaged, torch_generator(0), std=2.0)
    together = phase.validate()
    assert 0 < together["validation_changed_accuracy"] < 1
    monkeypatch.setattr(phase_module, "VALIDATION_BATCH", 2)
    assert phase.validate() == pytest.approx(together, rel=1e-5)


def test_validation_sees_the_averaged_weights() -> None:
    phase = phase_of(TINY)
    before = phase.validate()
    roughen(phase.model, torch_generator(0))
    assert phase.validate() == before
    roughen(phase.averaged, torch_generator(0))
    assert phase.validate() != before


# ------------------------------------------------------------------ every choice


CHOICES: list[dict[str, Any]] = [
    *(
        {"model__attention": name, "model__positions": place}
        for name in ("full", "factorized", "framewise")
        for place in ("learned", "relative")
    ),
    {"model__norm": "post"},
    {"model__code_embedding": False},
    {"model__causal": False, "recipe__clean_past": False},
    {"recipe__clean_past": False},
    {"recipe__optimizer": "muon"},
    {"recipe__precision": "bf16"},
    {"recipe__gradient_checkpointing": True, "model__dropout": 0.1},
    {"recipe__objective_schedule": "growing"},
    {"recipe__random_context": True, "recipe__curriculum": "1,2,4"},
    {"data__clip_frames": 1, "data__context_frames": 1},
    {"data__channels": 3},
    {"run__training_clips": 1},
    *({"recipe__mask_pattern": pattern} for pattern in ("tube", "block", "frame")),
]


@pytest.mark.parametrize("changes", CHOICES, ids=lambda changes: ",".join(f"{key}={value}" for key, value in changes.items()))
def test_every_choice_trains_validates_and_samples(changes: dict[str, Any]) -> None:
    config = tiny(**changes)
    tokenizer = tiny_tokenizer(config)
    roughen(tokenizer, torch_generator(0))
    precision = config.recipe.precision
    phase = TransformerPhase(config, open_source(config.data), tokenizer, CPU, precision)
    before = copied(phase.model.state_dict())
    for step in (0, 1, config.run.steps - 1):
        assert math.isfinite(phase.train_step(step, measure=True)["loss"])
    moved = {name for name, weight in phase.model.state_dict().items() if not torch.equal(weight, before[name])}
    still = set(before) - moved - {"time_bias"}  # framewise attention has no use for distances in time
    assert not still
    assert all(math.isfinite(value) for value in phase.validate().values())
    rows = phase.sample()
    assert all(row.shape == (config.data.clip_frames, config.data.channels, 32, 32) for row in rows)
    assert all(np.isfinite(row).all() for row in rows)


@pytest.mark.parametrize("quantizer", ["fsq", "vq"])
def test_the_tokenizer_phase_validates_and_samples(quantizer: str) -> None:
    phase = TokenizerPhase(tiny(tokenizer__quantizer=quantizer), open_source(TINY.data), CPU)
    for step in range(3):
        assert math.isfinite(phase.train_step(step, measure=True)["loss"])
    state, before = torch.get_rng_state(), copied(phase.tensors())
    figures = phase.validate()
    assert figures == phase.validate()
    assert figures["validation_reconstruction_mse"] > 0
    truth, drawn = phase.sample()
    assert truth.shape == drawn.shape == (8, 1, 32, 32)
    assert torch.equal(state, torch.get_rng_state())
    assert not differing(phase.tensors(), before)
