"""Futures in one batch are those that each would have been alone, and a future goes on as if more had been asked for."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_checkpoint import tiny_config, write_tiny_checkpoint
from torch import Tensor

from vidapp import futures as futures_module
from vidapp.checkpoint import Checkpoint, load_checkpoint
from vidapp.futures import Future, futures_steps, goes_on
from vidapp.rollout import RolloutStep, rollout

CONTEXT, FRAMES = 3, 3


@pytest.fixture(params=["causal", "at once"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Checkpoint:
    changes = {} if request.param == "causal" else {"model__causal": False, "recipe__clean_past": False}
    return load_checkpoint(
        write_tiny_checkpoint(tmp_path / "tiny.safetensors", tiny_config(data__clip_frames=7, data__context_frames=3, **changes))
    )


def context(checkpoint: Checkpoint) -> Tensor:
    grid = checkpoint.config.grid
    return torch.arange(CONTEXT * grid * grid).reshape(1, CONTEXT, grid, grid) * 7 % checkpoint.config.tokenizer.codebook_size


def wanted(checkpoint: Checkpoint) -> list[Future]:
    sampling = checkpoint.config.sampling
    settings = [(0, 0.5, 5), (0, 2.0, 0), (7, 0.5, 5), (7, 1.0, 1)]
    return [Future(seed, dataclasses.replace(sampling, temperature=heat, top_k=k)) for seed, heat, k in settings]


def futures(checkpoint: Checkpoint, wanted: list[Future], **more: object) -> list[Tensor]:
    """The grids (B, n, h, w) that there are as frames are done."""
    steps = futures_steps(checkpoint.transformer, context(checkpoint), FRAMES, wanted, **more)  # type: ignore[arg-type]
    return [step.tokens for step in steps if step.tokens is not None]


def alone(checkpoint: Checkpoint, one: Future, frames: int = FRAMES) -> Tensor:
    for step in rollout(checkpoint.transformer, context(checkpoint), frames, one.sampling, one.seed):
        tokens = step.tokens_BTHW
    return tokens[:, CONTEXT:]


def test_a_batch_holds_what_each_future_is_alone(checkpoint: Checkpoint) -> None:
    together = futures(checkpoint, wanted(checkpoint))[-1]
    assert torch.equal(together, torch.cat([alone(checkpoint, one) for one in wanted(checkpoint)]))


def test_a_future_that_is_asked_for_alone_is_decoded_in_a_batch_of_its_own(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = []
    original = futures_module.decoded

    def decoded(transformer: object, context_BTHW: Tensor, *rest: object) -> Iterator[RolloutStep]:
        batches.append(len(context_BTHW))
        return original(transformer, context_BTHW, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(futures_module, "decoded", decoded)
    found = futures(checkpoint, wanted(checkpoint), alone=[2])
    assert torch.equal(found[-1], torch.cat([alone(checkpoint, one) for one in wanted(checkpoint)]))
    if checkpoint.config.model.causal:
        assert (sorted(batches), len(found)) == ([1, 3], FRAMES)


@pytest.mark.parametrize("choice", ["drawn", "expected"])
def test_a_future_goes_on_as_if_more_had_been_asked_for(checkpoint: Checkpoint, choice: str) -> None:
    """Also beyond the trained length, where the window has moved on the way."""
    one = wanted(checkpoint)[1]
    one = dataclasses.replace(one, sampling=dataclasses.replace(one.sampling, choice=choice))
    begun = alone(checkpoint, one)
    longer = list(goes_on(checkpoint.transformer, context(checkpoint), 9, one, begun[0]))[-1].tokens_BTHW[:, CONTEXT:]
    assert longer.shape[1] == 9
    assert torch.equal(longer[:, :FRAMES], begun)
    if checkpoint.config.model.causal:
        assert torch.equal(longer, alone(checkpoint, one, 9))


def test_nothing_more_than_there_is_already_is_refused(checkpoint: Checkpoint) -> None:
    one = wanted(checkpoint)[0]
    with pytest.raises(ValueError, match="ask for at least one more"):
        next(goes_on(checkpoint.transformer, context(checkpoint), FRAMES, one, alone(checkpoint, one)[0]))
    with pytest.raises(ValueError, match="at least one of one frame"):
        futures(checkpoint, [])
