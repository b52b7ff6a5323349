"""What is said before a run starts: sizes, memory that is then really taken, time, and what is adjusted or refused."""

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import TINY, tiny
from tiny_checkpoint import write_tiny_checkpoint
from torch._subclasses.fake_tensor import FakeTensorMode

from vidapp import calibration, memory, preflight
from vidapp.config import Config
from vidapp.data.source import open_source
from vidapp.dry_run import Cost, Ledger, tokenizer_step, transformer_step
from vidapp.failures import NotEnoughMemoryError, describe_failure
from vidapp.memory import container_free, free_memory
from vidapp.presets import PRESETS, preset
from vidapp.randomness import torch_generator
from vidapp.run_writer import RunWriter
from vidapp.runs import open_run
from vidapp.tokenizer import new_tokenizer
from vidapp.train import train
from vidapp.transformer import VideoTransformer
from vidapp.transformer_phase import TransformerPhase

ROOT = Path(__file__).parents[1]
GIB = 2**30

# The memory of a process that trains, beyond what it had before: run in one of its own for each config.
MEASURE = """
import sys
from pathlib import Path
import psutil
import vidapp.train
from vidapp.config import load_config
from vidapp.heap import FreedMemory
from vidapp.peak import peak_mib_of
from vidapp.runs import RunWriter
folder = Path(sys.argv[1])
config = load_config(folder / "config.json")
vidapp.train.freed_memory = lambda *args, **more: FreedMemory(False)  # what may be held beside is foretold on its own, and varies
before = psutil.Process().memory_info().rss
with RunWriter.create("a", config, folder) as run:
    for _ in vidapp.train.train(config, run, tokenizer=folder / "tokenizer.safetensors"):
        pass
print(int(peak_mib_of() * 2**20) - before)
"""
SHORT = {"run.steps": 2, "run.validate_every": 100, "run.validation_clips": 2, "run.device": "cpu", "recipe.precision": "float32"}
SIZES: dict[str, Config] = {
    "factorized": preset("debug").replace(SHORT | {"recipe.batch_size": 4}),
    "full": preset("tiny").replace(SHORT | {"recipe.batch_size": 1}),
    "checkpointed, in two parts": preset("tiny").replace(
        SHORT | {"recipe.batch_size": 2, "recipe.micro_batches": 2, "recipe.gradient_checkpointing": True}
    ),
    "small, with dropout": preset("small").replace(SHORT | {"recipe.batch_size": 1, "model.dropout": 0.1, "data.clip_frames": 16}),
}


def measured(config: Config, folder: Path) -> int:
    (folder / "config.json").write_text(config.to_json())
    write_tiny_checkpoint(folder / "tokenizer.safetensors", config)
    found = subprocess.run([sys.executable, "-c", MEASURE, str(folder)], cwd=ROOT, check=True, capture_output=True, text=True)
    return int(found.stdout.split()[-1])


@pytest.mark.parametrize("kind", SIZES)
def test_the_memory_foretold_is_within_a_fifth_of_what_is_then_taken(kind: str, tmp_path: Path) -> None:
    found = preflight.preflight(SIZES[kind])
    taken = measured(SIZES[kind], tmp_path)
    assert found.memory == pytest.approx(taken, rel=0.2), f"{found.memory / 2**20:.0f} MiB foretold, {taken / 2**20:.0f} MiB taken"


def test_checkpointing_is_foretold_to_save_memory_and_to_cost_time() -> None:
    plain = tiny(model__layers=6, model__width=64)
    saving = plain.replace({"recipe.gradient_checkpointing": True})
    before, after = (transformer_step(config, "float32", returned=True) for config in (plain, saving))
    assert after.bytes < before.bytes / 2
    assert 1.1 < after.flops / before.flops < 1.5


def test_it_says_sizes_clips_and_time() -> None:
    config = preset("debug").replace({"run.device": "cpu", "recipe.precision": "float32"})
    found = preflight.preflight(config)
    model = VideoTransformer.new(config)
    tokenizer = new_tokenizer(config.tokenizer, 1, torch_generator(0))
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert found.tokenizer_parameters == sum(parameter.numel() for parameter in tokenizer.parameters())
    assert (found.steps, found.clips) == (1000, 8000)
    assert found.seconds > 0
    assert "1,000 steps over 8,000 clips" in found.line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (172_799, "48.0 h"), (172_800, "2 days")],
)
def test_a_time_is_told_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert preflight.duration(seconds) == text


def test_the_time_of_a_run_comes_from_steps_of_it_where_these_are_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny(run__steps=10_000, recipe__curriculum="2,4", recipe__tokenizer_steps=500)
    found = preflight.preflight(config, trains_tokenizer=True)
    assert ", about " in found.line.replace("about 0", "")
    measured = calibration.calibrated(found, config, open_source(config.data), trains_tokenizer=True)
    assert measured.measured
    assert measured.seconds > 0
    assert measured.line.endswith("by measured steps")
    monkeypatch.setattr(calibration, "MOST_S", 0.0)
    assert calibration.calibrated(found, config, open_source(config.data), trains_tokenizer=True) == found


def test_what_is_written_counts_new_memory_and_changes_in_place_and_no_views() -> None:
    with FakeTensorMode(), Ledger() as ledger:
        numbers = torch.zeros(10)
        numbers.view(2, 5).t()
        numbers.add_(numbers + 1.0)
    assert ledger.written == 3 * 40


def test_on_a_cpu_a_step_takes_its_products_and_what_it_writes_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {preflight.flop_rate: 2e9, preflight.write_rate: 1e9}
    monkeypatch.setattr(preflight, "FASTEST", lambda measure, *_: rates[measure])

    def seconds(flops: int, written: int) -> float:
        return preflight.seconds_of(Cost(0, flops, written), torch.device("cpu"), "bf16", 64)

    assert seconds(4 * 10**9, 0) == pytest.approx(2.0)
    assert seconds(0, 3 * 10**9) == pytest.approx(3.0 * preflight.MOVES)
    assert seconds(4 * 10**9, 3 * 10**9) == pytest.approx(2.0 + 3.0 * preflight.MOVES)


def test_a_tokenizer_that_is_to_be_trained_takes_its_time_too() -> None:
    assert preflight.preflight(TINY, trains_tokenizer=True).seconds > 0
    assert tokenizer_step(TINY).flops > 0
    assert tokenizer_step(tiny(tokenizer__quantizer="vq")).flops > 0


def test_a_learned_codebook_can_be_looked_ahead_at() -> None:
    fixed, learned = (transformer_step(tiny(tokenizer__quantizer=quantizer), "float32") for quantizer in ("fsq", "vq"))
    assert learned.bytes == pytest.approx(fixed.bytes, rel=0.1)
    assert preflight.preflight(tiny(tokenizer__quantizer="vq"), trains_tokenizer=True).memory > 0


def test_a_past_of_own_predictions_takes_the_time_that_drawing_it_takes() -> None:
    def flops(**changes: Any) -> int:
        return transformer_step(tiny(data__clip_frames=6, **changes), "float32").flops

    without, half, whole = (flops(recipe__own_past=share) for share in (0.0, 0.5, 1.0))
    assert without < half < whole < 1.5 * without
    for changes in ({"model__attention": "framewise"}, {"recipe__clean_past": False}):
        assert flops(recipe__own_past=1.0, **changes) == flops(**changes)


def test_more_clips_cost_in_proportion_without_being_laid_out() -> None:
    few, many = (transformer_step(tiny(recipe__batch_size=size), "float32") for size in (16, 4096))
    assert many.flops == 256 * few.flops
    assert many.bytes == 256 * few.bytes


def test_looking_ahead_draws_nothing_from_torch_and_takes_no_memory() -> None:
    before = torch.get_rng_state()
    huge = preset("base").replace(
        {"model.width": 4096, "model.heads": 32, "recipe.batch_size": 4, "run.device": "cpu", "recipe.precision": "float32"}
    )
    assert preflight.preflight(huge).memory > 20 * GIB
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_adjusted_is_said() -> None:
    config = tiny(recipe__objective_schedule="growing", recipe__objective_future=0, recipe__precision="auto", run__training_clips=4)
    said = " ".join(preflight.preflight(config).notices)
    for part in ("Warm-up shortened", "its weight of 0 is taken as 1", "recipe.precision=auto takes", "Only 4 clips"):
        assert part in said


def test_a_step_between_frames_that_are_made_is_said_to_change_nothing() -> None:
    assert "data.frame_step changes nothing" in " ".join(preflight.preflight(tiny(data__frame_step=3)).notices)
    assert "data.frame_step changes nothing" not in " ".join(preflight.preflight(tiny(data__frame_step=3, data__source="/clips")).notices)


def test_validation_clips_are_counted_and_as_floats_too_where_a_tokenizer_is_trained() -> None:
    few, many = (tiny(data__clip_frames=64, run__validation_clips=clips) for clips in (1, 2001))
    each = 2000 * 64 * 32 * 32
    assert preflight.preflight(many).memory - preflight.preflight(few).memory == each
    found = [preflight.preflight(config, trains_tokenizer=True).memory for config in (few, many)]
    assert found[1] - found[0] == 5 * each


def test_what_sampling_takes_grows_with_the_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = (tiny(tokenizer__quantizer="vq", tokenizer__vq_codebook_size=codes) for codes in (16, 4112))
    places, frames = few.grid**2, few.data.clip_frames
    assert preflight.sampling_memory(many) - preflight.sampling_memory(few) == 4 * 4096 * places * (3 + frames)
    monkeypatch.setattr(preflight, "free_memory", lambda: preflight.sampling_memory(few))
    monkeypatch.setattr(preflight, "pick_device", lambda name: torch.device("cpu"))  # a GPU refuses by itself
    preflight.refuse_too_large_to_sample(few, "few.safetensors")
    with pytest.raises(ValueError, match=r"many\.safetensors would take about 0\.0 GiB of memory for a future, and 0\.0 are free here"):
        preflight.refuse_too_large_to_sample(many, "many.safetensors")


@pytest.mark.parametrize("key", ["own_past", "context_corruption"])
def test_a_past_that_no_frame_sees_changes_nothing_and_that_is_said(key: str) -> None:
    words = f"recipe.{key} changes nothing: with model.attention=framewise"
    assert words in " ".join(preflight.preflight(tiny(**{f"recipe__{key}": 0.5, "model__attention": "framewise"})).notices)
    assert words not in " ".join(preflight.preflight(tiny(**{f"recipe__{key}": 0.5})).notices)


def test_a_run_that_does_not_fit_is_refused_with_need_and_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "free_memory", lambda: GIB // 16)
    with pytest.raises(
        ValueError,
        match=r"needs about 0\.\d GiB of memory and 0\.1 GiB are free on cpu: lower recipe.batch_size or raise recipe.micro_batches",
    ):
        preflight.refuse_too_large(TINY, trains_tokenizer=False)


def test_processes_that_share_a_cpu_must_fit_into_its_memory_together(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = preflight.refuse_too_large(TINY, trains_tokenizer=False)
    monkeypatch.setattr(preflight, "free_memory", lambda: 3 * alone.memory)
    assert preflight.refuse_too_large(TINY, trains_tokenizer=False, processes=2).problem is None
    with pytest.raises(ValueError, match=r"GiB of memory in 4 processes and"):
        preflight.refuse_too_large(TINY, trains_tokenizer=False, processes=4)


# Free memory


def write_group(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({"memory.max": "1000\n", "memory.current": "700\n", "memory.stat": "anon 500\ninactive_file 50\n"}, 350),
        ({"memory.max": "1000\n", "memory.current": "1200\n"}, 0),
        ({"memory.max": "max\n", "memory.current": "700\n"}, None),
        (
            {"memory/memory.limit_in_bytes": "1000", "memory/memory.usage_in_bytes": "400", "memory/memory.stat": "total_inactive_file 7"},
            607,
        ),
        ({"memory/memory.limit_in_bytes": str(2**63 - 4096), "memory/memory.usage_in_bytes": "400"}, None),
        ({}, None),
    ],
)
def test_a_containers_limit_is_read_in_both_versions(files: dict[str, str], free: int | None, tmp_path: Path) -> None:
    assert container_free(write_group(tmp_path, files)) == free


@pytest.mark.skipif(sys.platform != "linux", reason="only there can the C library be asked")
def test_memory_that_may_be_held_beyond_what_is_needed_is_said() -> None:
    found = replace(preflight.preflight(preset("debug").replace({"run.device": "cpu"})), free=100 * 2**30)
    assert "it may hold twice that" in found.line
    assert "it may hold" not in replace(found, free=found.memory + 1).line
    short = preset("debug").replace({"recipe.gradient_checkpointing": True, "run.device": "cpu"})
    assert "it may hold" not in replace(preflight.preflight(short), free=100 * 2**30).line


def test_of_a_run_that_goes_on_the_line_tells_what_is_left() -> None:
    whole = replace(preflight.preflight(TINY), steps=18, clips=36, seconds=180.0)
    assert "18 steps over 36 clips, about 3 min" in whole.line
    assert "6 of 18 steps are left, over 12 clips, about 60 s" in replace(whole, done=12).line
    assert replace(whole, done=18).line == "nothing is left to do: all 18 steps are done"


@pytest.mark.parametrize(
    ("line", "root", "limit", "used"),
    [
        ("0::/user.slice/job", "", "memory.max", "memory.current"),
        ("4:memory:/job/step", "memory/", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ],
)
def test_the_tightest_of_the_groups_that_a_process_is_in_counts(line: str, root: str, limit: str, used: str, tmp_path: Path) -> None:
    outer, inner = line.rpartition(":")[2].strip("/").split("/")
    own = write_group(tmp_path, {"own": f"9:pids:/elsewhere\n{line}\n"}) / "own"
    write_group(tmp_path, {f"{root}{outer}/{limit}": "1000", f"{root}{outer}/{used}": "900"})
    assert container_free(tmp_path, own) == 100
    write_group(tmp_path, {f"{root}{outer}/{inner}/{limit}": "500", f"{root}{outer}/{inner}/{used}": "470"})
    assert container_free(tmp_path, own) == 30
    write_group(tmp_path, {f"{root}{limit}": "20", f"{root}{used}": "0"})
    assert container_free(tmp_path, own) == 20


@pytest.mark.parametrize("text", ["", "nonsense", "0::/../../etc", "0::"])
def test_a_group_that_cannot_be_told_is_the_root(text: str, tmp_path: Path) -> None:
    own = write_group(tmp_path, {"own": text, "memory.max": "1000", "memory.current": "1"}) / "own"
    assert container_free(tmp_path, own) == 999


def test_the_smaller_of_machine_and_container_counts(tmp_path: Path) -> None:
    assert free_memory(tmp_path) > 2**20
    assert free_memory(write_group(tmp_path, {"memory.max": "1000", "memory.current": "0"})) == 1000


def test_the_machine_itself_is_asked_where_nothing_limits_it() -> None:
    assert free_memory(memory.GROUPS) > 0


@pytest.mark.parametrize("steps", [1, 3, 20])
@pytest.mark.parametrize("curriculum", ["2,4", "2,3"])
def test_a_curriculum_that_is_short_or_ends_below_the_clip_is_looked_ahead_at(curriculum: str, steps: int) -> None:
    config = TINY.replace({"recipe.curriculum": curriculum, "run.steps": steps})
    whole = TINY.replace({"recipe.mask_schedule": "fixed", "recipe.mask_ratio": 1.0})
    assert 0 < transformer_step(config, "float32").flops <= transformer_step(whole, "float32").flops


# Memory that runs out all the same


def test_memory_that_runs_out_is_given_back_at_once_and_said_with_the_need(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    models: list[weakref.ref[Any]] = []

    def train_step(self: TransformerPhase, step: int, measure: bool) -> dict[str, float]:
        models.append(weakref.ref(self.model))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr(TransformerPhase, "train_step", train_step)
    given = write_tiny_checkpoint(tmp_path / "given.safetensors", TINY)

    def run_it() -> Iterator[dict[str, Any]]:
        with RunWriter.create("a", TINY) as run:
            yield from train(TINY, run, tokenizer=given)

    with pytest.raises(NotEnoughMemoryError) as caught:
        list(run_it())
    gc.collect()
    assert models[0]() is None, "the error is still held, the network is not"
    said = open_run("a").status().error or ""
    assert said == describe_failure(caught.value)
    for part in ("out of memory on the GPU", "it needs about", "recipe.batch_size", "recipe.micro_batches"):
        assert part in said


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_no_preset_is_too_slow_for_a_page_also_with_four_times_as_many_tokens(name: str) -> None:
    assert preflight.sampling_seconds(preset(name)) < 0.1 * preflight.LONGEST_PASS_S
    preflight.refuse_too_slow_to_sample(preset(name).replace({"tokenizer.downsampling": 4}), "mine")


@pytest.mark.parametrize("attention", ["full", "factorized", "framewise"])
def test_a_pass_over_more_tokens_layers_or_heads_takes_longer(attention: str) -> None:
    small = tiny(model__attention=attention)
    for changes in ({"data.size": 128}, {"model.layers": 9}, {"model.heads": 8}, {"tokenizer.channels": 64}):
        assert preflight.sampling_seconds(small.replace(changes)) > preflight.sampling_seconds(small), changes
