"""The trainer: a generator of step metrics. A thread, a process and a test all drive the same one.

    with RunWriter.create("my-run", config) as run:
        for line in train(config, run):
            print(line)

Once in a while: validate, sample, save; otherwise one step after the other. Stopping and pausing happen between two steps.
"""

import contextlib
import gc
import math
import time
import traceback
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from .checkpoint import checked_header, load_tensors, load_tokenizer
from .compiling import compile_choice
from .config import Config
from .data.source import ClipSource, open_source
from .data.token_ids import refuse_mismatch
from .device import cpu_threads, forget_memory, memory_mib, pick_device, pick_precision
from .failures import NotEnoughMemoryError, describe_failure, out_of_memory
from .feed import Feed, micro_batches, workers_for
from .heap import freed_memory
from .media import film_strip, to_u8
from .preflight import needed, of_a_rank
from .ranks import ALONE, Ranks
from .resume import Resume, environment, resume_from_first, starting_points, tokenizer_from_first
from .run_folder import BEST_BY
from .run_writer import RunWriter
from .schedules import moved, notices
from .scores import sample_figures
from .tokenizer import Tokenizer, new_tokenizer
from .tokenizer_phase import TokenizerPhase
from .trackers import Tracker, open_tracker
from .transformer_phase import TransformerPhase
from .update import Update

PAUSE_POLL_S = 0.2
SMALLEST_SHOWN = 32  # pixels of a side: grids of given ids are enlarged to about that
Lines = Generator[dict[str, Any], None, bool]  # yields lines of metrics; returns whether it came to its end


class Phase(Protocol):
    """What the loop needs of something that can be trained."""

    name: str
    steps: int
    compiled: bool
    update: Update

    def grown(self, step: int) -> bool: ...
    def train_step(self, step: int, measure: bool) -> dict[str, Any]: ...
    def settle(self) -> None: ...
    def validate(self) -> dict[str, float]: ...
    def sample(self) -> list[np.ndarray]: ...
    def save(self, path: Path, step: int, metrics: dict[str, Any]) -> None: ...
    def tensors(self) -> dict[str, Tensor]: ...
    def load(self, tensors: dict[str, Tensor]) -> None: ...


def train(
    config: Config, run: RunWriter, *, tokenizer: Path | None = None, init: Path | None = None, ranks: Ranks = ALONE
) -> Iterator[dict[str, Any]]:
    """Train `config` in the run folder of `run`, yielding each line of metrics.

    Trains the tokenizer first, unless the checkpoint `tokenizer` holds one, and begins with the weights of the checkpoint `init`,
    where one is given. Goes on from the newest whole checkpoint where `run` is a resumed one, with the tokenizer (and, before its
    first checkpoint of the transformer, the weights) that it began with. Raises ValueError for what the config or the data make
    impossible; NotEnoughMemoryError, with everything given back, where a step did not fit.
    """
    try:
        with cpu_threads(config.run.threads), Tracker() if ranks.rank else open_tracker(config, run) as tracker:
            for line in phases(config, run, tokenizer, init, ranks):
                if notice := tracker.log(line):
                    run.notify(notice)
                yield line
        return
    except Exception as error:
        if not out_of_memory(error):
            raise
        sentence = describe_failure(error)
        traceback.clear_frames(error.__traceback__)  # they hold the network, its optimiser and the batch
    gc.collect()
    need, trains_tokenizer = "", tokenizer is None and not run.complete_steps()
    with contextlib.suppress(MemoryError, RuntimeError):  # to look ahead takes some memory as well
        need = needed(of_a_rank(config, ranks.count), ranks.device or pick_device(config.run.device), trains_tokenizer=trains_tokenizer)
    raise NotEnoughMemoryError(f"{sentence}{need}")  # out here, where it holds nothing of the error before


def phases(config: Config, run: RunWriter, tokenizer: Path | None, init: Path | None, ranks: Ranks) -> Iterator[dict[str, Any]]:
    """The tokenizer's training, where it is still to be done, then the transformer's."""
    device = ranks.device or pick_device(config.run.device)
    forget_memory(device)  # of what this process did before
    refuse_mismatch(config)
    source = open_source(config.data)
    for notice in notices(config.recipe, config.run.steps, config.data):
        run.notify(notice)
    begun = ranks.from_first(lambda: starting_points(run, tokenizer, init))
    given, start = begun["checkpoint"], begun["init"]
    found = resume_from_first(ranks, run, "transformer")
    if found is not None:
        trained = found.tokenizer(config)
    elif config.tokenizer.quantizer == "ids":
        trained = new_tokenizer(config.tokenizer, config.data.channels)  # nothing in it is learnt
    elif given is not None:
        trained = tokenizer_from_first(ranks, config, lambda: load_tokenizer(given)[0])
    else:
        own = yield from trained_first(config, run, source, device, ranks)
        if own is None:
            return
        trained = own
    precision = found.precision if found else ranks.from_first(lambda: pick_precision(config, device))
    share, before = of_a_rank(config, ranks.count), found.state.get("compile") if found else None
    compiled, word = ranks.from_first(lambda: compile_choice(share, device, before))
    if word:
        run.notify(word)
    with Feed(config, micro_batches(config, ranks), workers_for(device, ranks.here)) as feed:
        phase = TransformerPhase(config, source, trained, device, precision, ranks, compiled=compiled, feed=feed)
        if found is None and (start is not None or ranks.count > 1):  # processors may draw initial weights that differ in a bit
            start_alike(phase, start, ranks)
        yield from run_phase(Loop(phase, config, run, device, ranks, precision), found)


def trained_first(
    config: Config, run: RunWriter, source: ClipSource, device: torch.device, ranks: Ranks
) -> Generator[dict[str, Any], None, Tokenizer | None]:
    """The tokenizer's training; returns the tokenizer, with nothing else of its training kept, or None where that was stopped."""
    phase = TokenizerPhase(config, source, device, ranks)
    ended = yield from run_phase(Loop(phase, config, run, device, ranks), resume_from_first(ranks, run, "tokenizer"))
    return tokenizer_from_first(ranks, config, lambda: phase.tokenizer) if ended else None


def start_alike(phase: TransformerPhase, init: str | None, ranks: Ranks) -> None:
    """Begin with the first rank's weights on every rank."""
    weights = ranks.tensors_from_first(lambda: first_weights(phase, init))
    ranks.together(lambda: phase.start_from(weights))


def first_weights(phase: TransformerPhase, init: str | None) -> dict[str, Tensor]:
    """Those of the checkpoint to begin with, else the phase's own."""
    if init is None:
        return phase.model.state_dict()
    checked_header(init)
    return load_tensors(Path(init), "transformer.")


def run_phase(loop: "Loop", found: Resume | None) -> Lines:
    """All steps of a phase that are still to do, then its last checkpoint. False where it was stopped before."""
    phase, run = loop.phase, loop.run
    step = loop.go_back(found)
    if step == 0:
        loop.save(0)
    with freed_memory(loop.device.type, checkpointing=loop.config.recipe.gradient_checkpointing) as freed:
        while step < phase.steps:
            if not loop.wait(step):
                loop.settle()
                loop.save(step)
                run.status("stopped", step, phase.steps)
                return False
            measure = (step + 1) % loop.config.run.log_every == 0 or step == 0
            figures = phase.train_step(step, measure)
            freed.look(phase.grown(step))
            step += 1
            yield from loop.after(step, figures)
    loop.save(step)
    if phase.name == "transformer":
        run.status("finished", step, phase.steps)
    return True


class Loop:
    """What happens around the steps of a phase: metrics, validation, samples, checkpoints, and the commands from outside.

    All of it is done by the first rank; the others wait for it where they need its word.
    """

    def __init__(
        self, phase: Phase, config: Config, run: RunWriter, device: torch.device, ranks: Ranks, precision: str = "float32"
    ) -> None:
        self.phase, self.config, self.run, self.device, self.ranks, self.precision = phase, config, run, device, ranks, precision
        self.last: dict[str, Any] = {}
        self.best: tuple[int, float] | None = None
        self.beaten: tuple[int, float] | None = None  # the best before that one, which it is again where the new one cannot be saved
        self.mark: tuple[float, int] | None = None
        self.asked = {"save": False, "sample": False}  # from outside, and not done yet

    def go_back(self, found: Resume | None) -> int:
        """Take a resumed run up where `found` left it; returns the steps that are done."""
        if self.run.resumed:
            self.run.cut_metrics(found.step if found else -1, self.phase.name)
        if found is None:
            return 0
        self.phase.load(found.tensors)
        found.tensors.clear()  # whoever resumes holds it to the last step
        self.last, self.best = dict(found.metrics), found.best
        if notice := found.changed(self.environment()):
            self.run.notify(notice)
        if self.phase.name == TransformerPhase.name and (notice := self.moved(found)):
            self.run.notify(notice)
        return found.step

    def moved(self, found: Resume) -> str:
        """What it means that the run has another number of steps now."""
        before, now = found.state.get("steps"), self.phase.steps
        return moved(self.config, found.step, before, now) if isinstance(before, int) and 0 < before != now else ""

    def environment(self) -> dict[str, Any]:
        return environment(self.device, self.ranks.count, compiled=self.phase.compiled)

    def wait(self, step: int) -> bool:
        """Obey what was asked from outside; False where the run is to stop. Returns after a pause has ended."""
        while True:
            word = self.ranks.from_first(lambda: self.obey(step))
            if word in ("go", "stop"):
                return word == "go"
            if word == "settle":
                self.settle()
                continue
            self.mark = None
            time.sleep(PAUSE_POLL_S)

    def obey(self, step: int) -> str:
        """Save and sample where that was asked for; then `go`, `pause` or `stop`; `settle` where all ranks must do that first."""
        control = self.run.poll_control()
        if control.stop:
            return "stop"
        place = {"device": self.device.type, "precision": self.precision}
        self.run.status("paused" if control.pause else "running", step, self.phase.steps, phase=self.phase.name, **place)
        self.asked = {"save": control.save or self.asked["save"], "sample": control.sample or self.asked["sample"]}
        if self.asked["save"] and self.phase.update.held_back:
            return "settle"
        with self.aside():
            if self.asked["save"]:
                self.save(step)
            if self.asked["sample"]:
                list(self.sample(step))
        self.asked = dict.fromkeys(self.asked, False)
        return "pause" if control.pause else "go"

    def after(self, step: int, figures: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """What is due after `step` steps are done."""
        settings, final = self.config.run, step == self.phase.steps
        due = step % settings.checkpoint_every == 0 or self.kept_for_good(step)
        if due or final or step % settings.validate_every == 0:  # by which a checkpoint may turn out to be the best
            self.settle()
        if self.ranks.rank:
            return
        self.tell()
        if figures:
            yield self.log(step, {**figures, **self.speed(step, figures), "memory_mib": memory_mib(self.device)})
            self.run.status("running", step, self.phase.steps, phase=self.phase.name, loss=figures["loss"], grad_norm=figures["grad_norm"])
        with self.aside():
            if step % settings.validate_every == 0 or final:
                line = self.log(step, self.phase.validate())
                due |= self.is_best(step, line)
                yield line
            if step % settings.sample_every == 0 or final:
                yield from self.sample(step)
            if due and not final:
                self.save(step)

    def settle(self) -> None:
        """Before a checkpoint, on all ranks alike: steps that were held back on the device end the training, or are told, before
        anything is saved behind them."""
        self.phase.settle()
        self.tell()

    def tell(self) -> None:
        for notice in self.phase.update.take_notices():
            self.run.notify(notice)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """What takes place within is no training: the speed leaves its time out."""
        begun = time.perf_counter()
        yield
        if self.mark is not None:
            self.mark = (self.mark[0] + time.perf_counter() - begun, self.mark[1])

    def log(self, step: int, figures: dict[str, Any]) -> dict[str, Any]:
        line = {"step": step, "phase": self.phase.name, **figures}
        self.run.log(line)
        self.last |= figures
        return line

    def is_best(self, step: int, figures: dict[str, Any]) -> bool:
        """Whether a validation is the best so far (of those that are kept)."""
        value = figures.get(BEST_BY)
        if not self.config.run.keep_best or value is None or not math.isfinite(value) or (self.best and value >= self.best[1]):
            return False
        self.beaten, self.best = self.best, (step, value)
        return True

    def kept_for_good(self, step: int) -> bool:
        every = self.config.run.keep_every
        return bool(every and step and step % every == 0)

    def speed(self, step: int, figures: dict[str, Any]) -> dict[str, float]:
        """Seconds a step and tokens (of the clips themselves, as long as this step's) a second since the last measured step."""
        now = time.perf_counter()
        before, self.mark = self.mark, (now, step)
        if before is None or step <= before[1]:
            return {}
        seconds = (now - before[0]) / (step - before[1])
        if self.phase.name == "tokenizer":
            return {"seconds_per_step": seconds, "frames_per_second": self.config.recipe.tokenizer_batch_size / seconds}
        frames = int(figures.get("clip_frames", self.config.data.clip_frames))
        tokens = self.config.recipe.batch_size * frames * self.config.grid**2
        return {"seconds_per_step": seconds, "tokens_per_second": tokens / seconds}

    def sample(self, step: int) -> Iterator[dict[str, Any]]:
        """Draw a strip; of predicted frames also log how they stand to the true ones. A notice where the model cannot be sampled."""
        try:
            drawn = self.phase.sample()
        except ValueError as error:
            self.run.notify(f"There is no sample of step {step}: {error}.")
            return
        rows = [to_u8(row) for row in drawn]
        strip = film_strip(rows, scale=max(1, SMALLEST_SHOWN // rows[0].shape[-1]))
        self.run.save_sample(step, "strip.png", lambda path: strip.save(path, format="PNG"), self.phase.name)
        drawn_ids = self.config.tokenizer.quantizer == "ids"  # colours that say nothing of how far off an id is
        if self.phase.name == TransformerPhase.name and len(drawn) > 1 and not drawn_ids:
            yield self.log(step, sample_figures(drawn, self.config.data.context_frames))

    def save(self, step: int) -> None:
        """A checkpoint with its resume part; then those that are not to be kept are deleted."""
        if self.ranks.rank:
            return
        phase = self.phase
        metrics = {name: value for name, value in self.last.items() if isinstance(value, (int, float))}
        state = {
            "step": step,
            "steps": phase.steps,
            "phase": phase.name,
            "precision": self.precision,
            "best": self.best,
            "metrics": metrics,
        }
        saved = self.run.commit(
            step,
            checkpoint=lambda path: phase.save(path, step, metrics),
            tensors=lambda path: save_file({name: tensor.detach().cpu().contiguous() for name, tensor in phase.tensors().items()}, path),
            state={**state, **self.environment()},
            phase=phase.name,
        )
        if not saved and self.best and self.best[0] == step:
            self.best = self.beaten
        if saved:
            kept = [done for done in self.run.complete_steps(phase.name) if self.kept_for_good(done)]
            self.run.prune(self.config.run.keep_checkpoints, [*kept, *([self.best[0]] if self.best else [])], phase.name)
            self.run.status(self.run.state, step, phase.steps, best_step=self.best[0] if self.best else None)
