"""Keeps freed memory for the next step where there is plenty: on a CPU, taking it anew costs up to two fifths of a training step.

The C library gives large blocks back to the system when they are freed, and takes them anew in every step; each time the system clears
them page by page. Blocks that are kept lie less densely, and where sizes change from step to step the gaps between them grow and grow
(a run of 0.3 GiB came to 5.7 in 1,300 steps): what is free is given back each time that twice a step's memory is held.
"""

import ctypes
import sys
from types import TracebackType

from .memory import free_memory, held_memory
from .peak import peak_mib_of

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h
PLENTY = 2  # times the memory that a step takes
NEVER, DEFAULT_TRIM, DEFAULT_MMAPS = -1, 128 * 1024, 65536


class FreedMemory:
    """A context that gives everything back to the system when it is left. Does nothing where it is not allowed, and without glibc."""

    def __init__(self, may_keep: bool) -> None:
        self.libc = ctypes.CDLL(None) if may_keep and sys.platform == "linux" else None
        self.may_keep = hasattr(self.libc, "mallopt")
        self.kept = False
        self.peak = float("inf")  # bytes that were taken before anything was kept
        self.before = self.taken = self.most = 0  # bytes: held when the training began; by its steps; to be held at most

    def __enter__(self) -> "FreedMemory":
        self.before = held_memory()
        return self

    def look(self, grown: bool = True) -> None:
        """After each step: keep what is freed from the first `grown` one on, where twice as much as it took is free; give back what lies
        unused when twice a step's memory is held, and all, for good, when less than it once is free. grown: no later step is larger."""
        if not self.may_keep or not (self.kept or grown):
            return
        if not self.kept:
            self.peak = (peak_mib_of() or float("inf")) * 2**20
            self.may_keep = free_memory() >= PLENTY * self.peak
            if self.may_keep:
                self.keep()
        elif free_memory() < self.peak:
            self.may_keep = False
            self.give_back()
        elif held_memory() > self.most:
            self.close_gaps()

    def keep(self) -> None:
        assert self.libc is not None
        self.taken = max(0, int(self.peak) - self.before)
        self.most = self.before + PLENTY * self.taken
        self.kept = bool(self.libc.mallopt(M_MMAP_MAX, 0) and self.libc.mallopt(M_TRIM_THRESHOLD, NEVER))

    def close_gaps(self) -> None:
        """Give back what lies unused. Where more is held even then, another part of the process has taken it: no reason to do so in every step."""
        assert self.libc is not None
        self.libc.malloc_trim(0)
        self.most = max(self.most, held_memory() + self.taken)

    def give_back(self) -> None:
        if self.kept and self.libc is not None:
            self.libc.mallopt(M_MMAP_MAX, DEFAULT_MMAPS)
            self.libc.mallopt(M_TRIM_THRESHOLD, DEFAULT_TRIM)
            self.libc.malloc_trim(0)
            self.kept = False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.give_back()


def freed_memory(device: str, *, checkpointing: bool) -> FreedMemory:
    """For a training: allowed on a CPU, but not with gradient checkpointing, which is chosen where memory is short."""
    return FreedMemory(device == "cpu" and not checkpointing)
