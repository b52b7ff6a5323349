"""Freed memory is kept for the next step where there is plenty, and given back in the end."""

import resource
from pathlib import Path

import pytest
import torch

from vidapp import heap
from vidapp.heap import FreedMemory, freed_memory

glibc = pytest.mark.skipif(not hasattr(FreedMemory(True).libc, "mallopt"), reason="this C library has no mallopt")
LARGE = 64 * 2**20  # above what the library keeps by itself


def pages_taken() -> int:
    """Pages that one large block, taken, written and freed, had to be given by the system."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(LARGE, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@glibc
def test_kept_memory_is_not_taken_from_the_system_again_and_goes_back_in_the_end() -> None:
    many = LARGE // resource.getpagesize()
    with FreedMemory(True) as freed:
        assert pages_taken() > many / 2
        freed.keep_where_plenty()
        assert freed.kept
        assert min(pages_taken() for _ in range(8)) < many / 10  # the first may still find no place among what is kept
        held = resident()
    assert not freed.kept
    assert resident() < held - LARGE / 2
    assert pages_taken() > many / 2


def test_it_is_not_kept_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "free_memory", lambda: 2**20)
    with FreedMemory(True) as freed:
        freed.keep_where_plenty()
        assert not freed.kept


@pytest.mark.parametrize(
    ("device", "checkpointing", "grows"), [("cuda", False, False), ("cpu", True, False), ("cpu", False, True)]
)  # fmt: skip
def test_it_is_for_the_cpu_and_for_steps_of_one_size_that_need_not_save(device: str, checkpointing: bool, grows: bool) -> None:
    with freed_memory(device, checkpointing=checkpointing, grows=grows) as freed:
        freed.keep_where_plenty()
        assert not freed.kept
