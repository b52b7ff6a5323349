"""Randomness is a function of its keys, and nothing draws from the process-wide generators."""

import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from vidapp.randomness import number_of, numpy_generator, torch_generator

SEEDS = st.integers(0, 2**31 - 1)
COUNTERS = st.integers(0, 10**9)


@given(SEEDS, COUNTERS, COUNTERS)
def test_the_same_keys_give_the_same_numbers_whatever_was_drawn_before(seed: int, step: int, sample: int) -> None:
    first = numpy_generator(seed, "mask", step, sample).random(3)
    numpy_generator(seed, "mask", step + 1, sample).random(5)
    assert np.array_equal(first, numpy_generator(seed, "mask", step, sample).random(3))
    drawn = torch.rand(3, generator=torch_generator(seed, "mask", step, sample))
    torch.rand(5, generator=torch_generator(seed, "mask", step + 1, sample))
    assert torch.equal(drawn, torch.rand(3, generator=torch_generator(seed, "mask", step, sample)))


@given(st.tuples(SEEDS, COUNTERS, COUNTERS), st.tuples(SEEDS, COUNTERS, COUNTERS))
def test_other_keys_give_other_numbers(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    assume(one != other)
    raw = [numpy_generator(seed, "clip", step, sample).bit_generator.random_raw(4).tolist() for seed, step, sample in (one, other)]
    assert raw[0] != raw[1]
    seeds = [torch_generator(seed, "clip", step, sample).initial_seed() for seed, step, sample in (one, other)]
    assert seeds[0] != seeds[1]


def test_the_order_of_counters_and_the_purpose_matter() -> None:
    streams = [("clip", 1, 2), ("clip", 2, 1), ("mask", 1, 2), ("dropout", 1, 2)]
    assert len({numpy_generator(0, *keys).random() for keys in streams}) == len(streams)


@given(st.text(), COUNTERS)
def test_a_name_is_never_a_counter(name: str, counter: int) -> None:
    assert number_of(name) != number_of(counter)
    assert number_of(counter) == counter


def test_a_seed_means_the_same_in_every_version() -> None:
    """Tables name the fixed clips that they were measured on: these numbers are what those clips are made of."""
    assert numpy_generator(0, "fixed", "test", 0).bit_generator.random_raw(2).tolist() == [16428657165657912535, 17292137975139703815]
    assert torch_generator(0, "sample", 0, 0).initial_seed() == 2599471808429283456


def test_the_process_wide_generators_are_left_alone() -> None:
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    torch.rand(3, generator=torch_generator(0, "clip", 1))
    numpy_generator(0, "clip", 1).random(3)
    assert torch.equal(torch_before, torch.get_rng_state())
    assert numpy_before == np.random.get_state()[1].tolist()
