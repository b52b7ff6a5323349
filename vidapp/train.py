"""The trainer: a generator of step metrics. A thread, a process and a test all drive the same one.

    with RunWriter.create("my-run", config) as run:
        for line in train(config, run):
            print(line)

Once in a while: validate, sample, save; otherwise one step after the other. Stopping and pausing happen between two steps.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .checkpoint import load_tokenizer
from .config import Config
from .data.source import ClipSource, open_source
from .device import memory_mib, pick_device, pick_precision
from .files import read_json, replacing
from .media import film_strip, to_u8
from .run_writer import RunWriter
from .schedules import notices
from .tokenizer import Tokenizer
from .tokenizer_phase import TokenizerPhase
from .transformer_phase import TransformerPhase

PAUSE_POLL_S = 0.2


class Phase(Protocol):
    """What the loop needs of something that can be trained."""

    name: str
    steps: int

    def train_step(self, step: int, measure: bool) -> dict[str, float]: ...
    def validate(self) -> dict[str, float]: ...
    def sample(self) -> list[np.ndarray]: ...
    def save(self, path: Path, step: int, metrics: dict[str, Any]) -> None: ...
    def tensors(self) -> dict[str, Tensor]: ...
    def load(self, tensors: dict[str, Tensor]) -> None: ...


def train(config: Config, run: RunWriter, *, tokenizer: Path | None = None) -> Iterator[dict[str, Any]]:
    """Train `config` in the run folder of `run`, yielding each line of metrics.

    Trains the tokenizer first, unless the checkpoint `tokenizer` holds one. Goes on from the newest whole checkpoint where
    `run` is a resumed one. Raises ValueError for what the config or the data make impossible.
    """
    device = pick_device(config.run.device)
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    source = open_source(config.data)
    for notice in notices(config.recipe, config.run.steps):
        run.notify(notice)
    found = find_resume(run, "transformer")
    if found is None and tokenizer is None:
        first = TokenizerPhase(config, source, device)
        yield from run_phase(first, config, run, find_resume(run, "tokenizer"), device)
        if run.state == "stopped":
            return
        trained = first.tokenizer
    else:
        trained = load_tokenizer(found.checkpoint if found else tokenizer)[0]  # type: ignore[arg-type]
    precision = found.precision if found else pick_precision(config, device)
    phase = main_phase(config, source, trained, device, precision)
    yield from run_phase(phase, config, run, found, device, precision)


def main_phase(config: Config, source: ClipSource, tokenizer: Tokenizer, device: torch.device, precision: str) -> TransformerPhase:
    if tokenizer.config != config.tokenizer:
        raise ValueError("the tokenizer given is not the one that the config describes: copy its tokenizer section, or train one")
    return TransformerPhase(config, source, tokenizer, device, precision)


class Resume:
    """Where a resumed run goes on: a complete checkpoint and the tensors beside it."""

    def __init__(self, step: int, checkpoint: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        self.step, self.checkpoint, self.tensors = step, checkpoint, tensors
        self.precision = str(state.get("precision", "float32"))


def find_resume(run: RunWriter, phase: str) -> Resume | None:
    """The newest complete checkpoint of a phase that can be read; damaged ones are passed over with a notice."""
    if not run.resumed:
        return None
    for step in reversed(run.complete_steps(phase)):
        tensors_path, state_path = run.resume_paths(step, phase)
        try:
            load_tokenizer(run.checkpoint_path(step, phase))
            return Resume(step, run.checkpoint_path(step, phase), load_file(tensors_path), read_json(state_path) or {})
        except (OSError, ValueError, SafetensorError) as error:
            run.notify(f"The checkpoint of step {step} cannot be used ({error}): going on from the one before.")
    return None


def run_phase(
    phase: Phase, config: Config, run: RunWriter, found: Resume | None, device: torch.device, precision: str = "float32"
) -> Iterator[dict[str, Any]]:
    """All steps of a phase that are still to do, then its last checkpoint."""
    step = 0
    if run.resumed:
        step = found.step if found else 0
        run.cut_metrics(found.step if found else -1, phase.name)
        if found:
            phase.load(found.tensors)
    loop = Loop(phase, config, run, device, precision)
    if step == 0:
        loop.save(0)
    while step < phase.steps:
        if not loop.wait(step):
            loop.save(step)
            run.status("stopped", step, phase.steps)
            return
        measure = (step + 1) % config.run.log_every == 0 or step == 0
        figures = phase.train_step(step, measure)
        step += 1
        yield from loop.after(step, figures)
    loop.save(step)
    if phase.name == "transformer":
        run.status("finished", step, phase.steps)


class Loop:
    """What happens around the steps of a phase: metrics, validation, samples, checkpoints, and the commands from outside."""

    def __init__(self, phase: Phase, config: Config, run: RunWriter, device: torch.device, precision: str) -> None:
        self.phase, self.config, self.run, self.device, self.precision = phase, config, run, device, precision
        self.last: dict[str, Any] = {}
        self.mark: tuple[float, int] | None = None
        self.asked_save = self.asked_sample = False

    def wait(self, step: int) -> bool:
        """Obey what was asked from outside; False where the run is to stop. Returns after a pause has ended."""
        while True:
            control = self.run.poll_control()
            self.asked_save |= control.save
            self.asked_sample |= control.sample
            if control.stop:
                return False
            self.run.status("paused" if control.pause else "running", step, self.phase.steps, phase=self.phase.name)
            if self.asked_save:
                self.save(step)
            if self.asked_sample:
                self.sample(step)
            self.asked_save = self.asked_sample = False
            if not control.pause:
                return True
            self.mark = None
            time.sleep(PAUSE_POLL_S)

    def after(self, step: int, figures: dict[str, float]) -> Iterator[dict[str, Any]]:
        """What is due after `step` steps are done."""
        settings, final = self.config.run, step == self.phase.steps
        if figures:
            yield self.log(step, {**figures, **self.speed(step), "memory_mib": memory_mib(self.device)})
            self.run.status("running", step, self.phase.steps, phase=self.phase.name, loss=figures["loss"], grad_norm=figures["grad_norm"])
        if step % settings.validate_every == 0 or final:
            yield self.log(step, self.phase.validate())
        if step % settings.sample_every == 0 or final:
            self.sample(step)
        if step % settings.checkpoint_every == 0 and not final:
            self.save(step)

    def log(self, step: int, figures: dict[str, Any]) -> dict[str, Any]:
        line = {"step": step, "phase": self.phase.name, **figures}
        self.run.log(line)
        self.last |= figures
        return line

    def speed(self, step: int) -> dict[str, float]:
        """Seconds a step and tokens (of the clips themselves) a second since the last measured step."""
        now = time.perf_counter()
        before, self.mark = self.mark, (now, step)
        if before is None or step <= before[1]:
            return {}
        seconds = (now - before[0]) / (step - before[1])
        if self.phase.name == "tokenizer":
            return {"seconds_per_step": seconds, "frames_per_second": self.config.recipe.tokenizer_batch_size / seconds}
        frames = int(self.last.get("clip_frames", self.config.data.clip_frames))
        tokens = self.config.recipe.batch_size * frames * self.config.grid**2
        return {"seconds_per_step": seconds, "tokens_per_second": tokens / seconds}

    def sample(self, step: int) -> None:
        strip = film_strip([to_u8(row) for row in self.phase.sample()])
        with replacing(self.run.sample_path(step, f"{self.phase.name}-strip.png")) as temporary:
            strip.save(temporary, format="PNG")

    def save(self, step: int) -> None:
        phase = self.phase
        metrics = {name: value for name, value in self.last.items() if isinstance(value, (int, float))}
        state = {"step": step, "phase": phase.name, "precision": self.precision, **environment()}
        saved = self.run.commit(
            step,
            checkpoint=lambda path: phase.save(path, step, metrics),
            tensors=lambda path: save_file({name: tensor.detach().cpu().contiguous() for name, tensor in phase.tensors().items()}, path),
            state=state,
            phase=phase.name,
        )
        if saved:
            self.run.prune(self.config.run.keep_checkpoints, phase=phase.name)


def environment() -> dict[str, Any]:
    """What bit-identity of a resume depends on."""
    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "compile": False}
