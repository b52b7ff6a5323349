"""What the host makes of a step before a device computes it: clips, masks, and what of a clean past is corrupted.

A GPU would wait for the host: worker processes then make the steps to come. All of a step is a function of (seed, step), so that nothing
depends on who made it, or when.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from types import TracebackType

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .batches import corruption, draw_masks, training_clips
from .config import Config
from .data.source import ClipSource, open_source
from .failures import describe_failure, out_of_memory
from .masking import ClipMask
from .ranks import Ranks, split
from .schedules import frames_at

MOST_WORKERS = 4
REMEDY = "memory may be short, or in a container its shared memory, which docker run --shm-size=2g makes larger"
Part = tuple[Tensor, tuple[Tensor, Tensor] | None]
"""Of some samples: clips uint8 (B, T, C, H, W), and what `batches.corruption` draws for them."""


@dataclass(frozen=True)
class Made:
    """masks: of all clips of the step. parts: for the samples of each micro-batch; none where they are made when they are needed."""

    step: int
    masks: list[ClipMask]
    parts: list[Part]


def made(config: Config, source: ClipSource, step: int, parts: list[range]) -> Made:
    """All that the host makes of a step."""
    return Made(step, draw_masks(config, step, range(config.recipe.batch_size)), [made_part(config, source, step, part) for part in parts])


def made_part(config: Config, source: ClipSource, step: int, samples: range) -> Part:
    return clips_of(config, source, step, samples), corruption(config, step, samples)


def clips_of(config: Config, source: ClipSource, step: int, samples: range) -> Tensor:
    """Clips uint8 (B, T, C, H, W), as long as they are at that step."""
    frames = frames_at(config, step)
    return torch.from_numpy(training_clips(config, source, step, samples, frames))


@dataclass(frozen=True)
class Failure:
    """Why there is no step, as a sentence; memory: that is what was missing."""

    sentence: str
    memory: bool


class Steps(Dataset[tuple[list[ClipMask], list[Part]] | Failure]):
    """By step, in a worker: (masks, parts), or why there are none."""

    def __init__(self, config: Config, parts: list[range]) -> None:
        self.config, self.parts = config, parts
        self.source: ClipSource | None = None

    def __getitem__(self, step: int) -> tuple[list[ClipMask], list[Part]] | Failure:
        try:
            self.source = self.source or open_source(self.config.data)
            found = made(self.config, self.source, step, self.parts)
        except Exception as error:  # a loader would wrap it into its own traceback
            return Failure(describe_failure(error), out_of_memory(error))
        return found.masks, found.parts


class Feed:
    """The steps of a training in a row, made ahead by worker processes from the first that is asked for; of one out of the row the masks.

    with Feed(config, parts, workers) as feed:
        feed.get(step)
    """

    def __init__(self, config: Config, parts: list[range], workers: int) -> None:
        self.config, self.parts, self.workers = config, parts, workers
        self.row: Iterator[tuple[list[ClipMask], list[Part]] | Failure] | None = None
        self.next = 0

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.row = None  # which ends the workers

    def get(self, step: int) -> Made:
        """ValueError where its clips cannot be read or a worker was ended, MemoryError where one had too little of it."""
        if self.workers and self.row is None:
            self.row, self.next = self.begin(step), step
        found = self.next_of(self.row) if self.row and step == self.next else None
        if found is None:  # the parts one after the other: a step in many of them is to take little memory
            return Made(step, draw_masks(self.config, step, range(self.config.recipe.batch_size)), [])
        self.next = step + 1
        if isinstance(found, Failure):
            raise (MemoryError if found.memory else ValueError)(found.sentence)
        return Made(step, *found)

    def next_of(self, row: Iterator[tuple[list[ClipMask], list[Part]] | Failure]) -> tuple[list[ClipMask], list[Part]] | Failure | None:
        try:
            return next(row, None)
        except (RuntimeError, ConnectionError, EOFError) as error:  # the latter two where it is ended while it hands a step over
            if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"a process that makes the clips of the steps to come was ended ({reason}): {REMEDY}") from error

    def begin(self, step: int) -> Iterator[tuple[list[ClipMask], list[Part]] | Failure]:
        loader = DataLoader(
            Steps(self.config, self.parts),
            batch_size=None,
            sampler=range(step, max(step + 1, self.config.run.steps)),
            num_workers=self.workers,
            multiprocessing_context="spawn",  # a fork would copy threads in the middle of their work
            pin_memory=torch.cuda.is_available(),
        )
        with signals_left_to_us():
            return iter(loader)


@contextlib.contextmanager
def signals_left_to_us() -> Iterator[None]:
    """Processes started within do not hear Ctrl-C and SIGTERM, which shells, launchers and systems send to a whole group: the training then
    ends after its step, for which it needs them, and ends them itself."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # starting it later would undo what follows
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def workers_for(device: torch.device, processes: int) -> int:
    """How many workers a training on `device` gets, of `processes` that share the machine: none on a CPU, which has better to do."""
    return min(MOST_WORKERS, cores() // (2 * processes)) if device.type == "cuda" else 0


def cores() -> int:
    """Of this machine, those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def micro_batches(config: Config, ranks: Ranks) -> list[range]:
    """The samples of each micro-batch of a rank."""
    return [part for part in split(ranks.share(range(config.recipe.batch_size)), config.recipe.micro_batches) if part]
