"""Freed memory is kept for the next step where there is plenty, and given back in the end."""

import ctypes
import resource
from pathlib import Path

import pytest

from vidapp import heap
from vidapp.heap import FreedMemory, freed_memory

glibc = pytest.mark.skipif(not hasattr(FreedMemory(True).libc, "mallopt"), reason="this C library has no mallopt")
LIBC = ctypes.CDLL(None)
LIBC.malloc.restype, LIBC.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
LARGE = 64 * 2**20  # above what the library keeps by itself


def pages_taken() -> int:
    """Pages that one large block, taken, written and freed, had to be given by the system."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = ctypes.c_void_p(LIBC.malloc(LARGE))
    assert block
    ctypes.memset(block, 1, LARGE)
    LIBC.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@glibc
def test_kept_memory_is_not_taken_from_the_system_again_and_goes_back_in_the_end() -> None:
    many = LARGE // resource.getpagesize()
    with FreedMemory(True) as freed:
        assert pages_taken() > many / 2
        freed.look()
        assert freed.kept
        pages_taken()
        assert pages_taken() < many / 10
        held = resident()
    assert not freed.kept
    assert resident() < held - LARGE / 2
    assert pages_taken() > many / 2


def test_it_is_not_kept_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "peak_mib_of", lambda: 100.0)
    monkeypatch.setattr(heap, "free_memory", lambda: 150 * 2**20)
    with FreedMemory(True) as freed:
        freed.look()
        assert not freed.kept


@glibc
def test_it_goes_back_for_good_once_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "peak_mib_of", lambda: 100.0)
    seen = []
    with FreedMemory(True) as freed:
        for free_mib in (200, 101, 99, 1000):
            monkeypatch.setattr(heap, "free_memory", lambda free_mib=free_mib: free_mib * 2**20)
            freed.look()
            seen.append(freed.kept)
    assert seen == [True, True, False, False]


@pytest.mark.parametrize(
    ("device", "checkpointing", "grows"), [("cuda", False, False), ("cpu", True, False), ("cpu", False, True)]
)  # fmt: skip
def test_it_is_for_the_cpu_and_for_steps_of_one_size_that_need_not_save(
    device: str, checkpointing: bool, grows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heap, "peak_mib_of", lambda: 100.0)
    monkeypatch.setattr(heap, "free_memory", lambda: 2**40)  # there is plenty
    with freed_memory(device, checkpointing=checkpointing, grows=grows) as freed:
        freed.look()
        assert not freed.kept
