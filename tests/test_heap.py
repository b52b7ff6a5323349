"""Freed memory is kept for the next step where there is plenty, and given back in the end."""

import ctypes
import resource
from pathlib import Path

import pytest
import torch
from tiny import tiny

from vidapp import heap
from vidapp.data.source import open_source
from vidapp.heap import FreedMemory, freed_memory
from vidapp.schedules import frames_at
from vidapp.tokenizer_phase import TokenizerPhase
from vidapp.transformer_phase import TransformerPhase

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


@glibc
def test_gaps_are_closed_when_twice_a_step_is_held_and_not_in_every_step_where_others_hold_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def take(blocks: int) -> None:
        taken = [ctypes.c_void_p(LIBC.malloc(LARGE)) for _ in range(blocks)]
        for block in taken:
            ctypes.memset(block, 1, LARGE)
        for block in taken:
            LIBC.free(block)

    with FreedMemory(True) as freed:
        monkeypatch.setattr(heap, "peak_mib_of", lambda: (freed.before + 2 * LARGE) / 2**20)  # a step takes two blocks
        freed.look()
        take(2)
        freed.look()
        assert resident() > freed.before + LARGE  # kept
        take(6)
        assert resident() > freed.before + 5 * LARGE
        freed.look()
        assert resident() < freed.before + LARGE
        assert freed.kept
        others = bytearray(b"1") * (8 * LARGE)
        freed.look()
        take(1)
        held = resident()
        freed.look()
        assert resident() >= held - LARGE / 2, "what a step has freed is kept beside what others hold"
        del others


@pytest.fixture
def plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "peak_mib_of", lambda: 100.0)
    monkeypatch.setattr(heap, "free_memory", lambda: 2**40)


@pytest.mark.usefixtures("plenty")
@pytest.mark.parametrize(("device", "checkpointing"), [("cuda", False), ("cpu", True)])
def test_it_is_for_the_cpu_and_for_trainings_that_need_not_save(device: str, checkpointing: bool) -> None:
    with freed_memory(device, checkpointing=checkpointing) as freed:
        freed.look()
        assert not freed.kept


@glibc
@pytest.mark.usefixtures("plenty")
def test_it_waits_for_steps_that_have_grown_as_large_as_any_later_one() -> None:
    seen = []
    with freed_memory("cpu", checkpointing=False) as freed:
        for grown in (False, True, False):  # once kept it stays so
            freed.look(grown)
            seen.append(freed.kept)
    assert seen == [False, True, True]


def test_a_curriculum_has_grown_with_its_last_length_and_a_tokenizer_at_once() -> None:
    config = tiny(run__steps=4, recipe__curriculum="2,4")
    tokenizer = TokenizerPhase(config, open_source(config.data), torch.device("cpu"))
    transformer = TransformerPhase(config, tokenizer.source, tokenizer.tokenizer, torch.device("cpu"), "float32")
    assert (
        [transformer.grown(step) for step in range(4)] == [frames_at(config, step) == 4 for step in range(4)] == [False, False, True, True]
    )
    assert tokenizer.grown(0)
