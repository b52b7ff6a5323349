"""The sampler's checks: they pass on the real sampler, and each names the bug that it is there for."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import vidapp.sampling
from vidapp.checks.sampler import sampler
from vidapp.sampling import DecodeStep, LogitsFn, decode, every_place


def failing(decoder: Callable[..., Iterator[DecodeStep]] = decode) -> set[str]:
    return {check.name for check in sampler(lambda share: None, decoder) if check.failed}


def test_the_real_sampler_passes() -> None:
    checks = sampler(lambda share: None)
    assert {check.status for check in checks} == {"pass"}, [check for check in checks if check.failed]


def test_temperature_on_probabilities_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    sharpen = vidapp.sampling.sharpen

    def on_probabilities(logits: Tensor, temperature: float, top_k: int, top_p: float) -> tuple[Tensor, Tensor]:
        return sharpen((logits.softmax(-1) / temperature).log(), 1.0, top_k, top_p)  # divided alike, so normalising undoes it

    monkeypatch.setattr(vidapp.sampling, "sharpen", on_probabilities)
    assert "temperature" in failing()


@pytest.mark.parametrize("ignored", ["top_k", "top_p"])
def test_an_ignored_truncation_is_named(monkeypatch: pytest.MonkeyPatch, ignored: str) -> None:
    sharpen = vidapp.sampling.sharpen

    def deaf(logits: Tensor, temperature: float, top_k: int, top_p: float) -> tuple[Tensor, Tensor]:
        return sharpen(logits, temperature, 0 if ignored == "top_k" else top_k, 1.0 if ignored == "top_p" else top_p)

    monkeypatch.setattr(vidapp.sampling, "sharpen", deaf)
    assert failing() == {"top_k_top_p"}


def test_inverted_confidence_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    order_scores = vidapp.sampling.order_scores
    monkeypatch.setattr(vidapp.sampling, "order_scores", lambda *arguments: -order_scores(*arguments))
    assert failing() == {"commits_most_confident"}


def test_resampled_committed_tokens_are_named() -> None:
    def resampling(logits_fn: LogitsFn, *arguments: Any) -> Iterator[DecodeStep]:
        for step in decode(logits_fn, *arguments):
            drawn = logits_fn(step.tokens, every_place(step.tokens)).argmax(-1).view_as(step.tokens)
            yield replace(step, tokens=torch.where(step.masked, step.tokens, drawn))

    assert "committed_stay" in failing(resampling)


def test_a_decode_that_leaves_masks_is_named() -> None:
    def unfinished(*arguments: Any) -> Iterator[DecodeStep]:
        steps = list(decode(*arguments))
        yield from steps[:-1] or steps

    assert "committed_stay" in failing(unfinished)


def test_draws_that_depend_on_the_batch_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def shared(tokens: Tensor, generators: Any, draws: int) -> Tensor:
        return torch.rand((draws, *tokens.shape), generator=generators[0])

    monkeypatch.setattr(vidapp.sampling, "random_like", shared)
    assert failing() == {"seed_decides"}
