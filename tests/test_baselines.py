"""What is known without a model."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vidapp.baselines import copying, unigram
from vidapp.randomness import torch_generator

CODES = 5


def test_the_unigram_knows_frequencies_only() -> None:
    known = unigram(torch.arange(8).repeat(3), 8)
    assert known == pytest.approx({"unigram_entropy": math.log(8), "most_frequent_accuracy": 1 / 8})
    known = unigram(torch.full((5,), 2), 8)
    assert known == pytest.approx({"unigram_entropy": 0.0, "most_frequent_accuracy": 1.0})


def moving(stays: float, seed: int, frames: int = 8) -> Tensor:
    """Tokens (2, frames, 3, 3) of which so many stay as they are from frame to frame; the others are drawn anew, some codes more often."""
    generator = torch_generator(seed, "moving")
    drawn = (torch.rand(2, frames, 3, 3, generator=generator) ** 2 * CODES).long()
    for frame in range(1, frames):
        kept = torch.rand(2, 3, 3, generator=generator) < stays
        drawn[:, frame] = torch.where(kept, drawn[:, frame - 1], drawn[:, frame])
    return drawn


def mixture(tokens: Tensor, m: float) -> float:
    """Nats a token of copying with probability 1 - m, token by token."""
    share = torch.bincount(tokens.flatten(), minlength=CODES).double() / tokens.numel()
    now, before = tokens[:, 1:].flatten(), tokens[:, :-1].flatten()
    return float(-((1 - m) * (now == before).double() + m * share[now]).log().mean())


@given(st.sampled_from((0.0, 0.3, 0.9)), st.integers(0, 99))
def test_copying_is_the_best_mixture_of_the_token_before_and_of_frequencies(stays: float, seed: int) -> None:
    tokens = moving(stays, seed)
    found = copying(tokens, CODES)["copy_entropy"]
    best = min(mixture(tokens, step / 500) for step in range(1, 501))
    assert found <= best + 1e-6
    assert found == pytest.approx(best, abs=1e-3)


def test_a_still_picture_is_copied_for_nothing_and_codes_that_never_occur_count_nothing() -> None:
    still = torch.full((2, 3, 2, 2), 4)
    assert copying(still, CODES) == pytest.approx({"copy_entropy": 0.0})
    tokens = moving(0.5, 0)
    assert copying(tokens, 1000) == pytest.approx(copying(tokens, CODES))


def test_where_nothing_stays_copying_is_not_worse_than_frequencies() -> None:
    turning = torch.arange(4).repeat(3)[None, :, None, None].expand(1, 12, 2, 2)
    assert copying(turning, 4) == pytest.approx({"copy_entropy": math.log(4)}, rel=1e-3)


def test_a_single_frame_has_none_before_it() -> None:
    assert copying(torch.zeros(2, 1, 2, 2, dtype=torch.long), CODES) == {}
