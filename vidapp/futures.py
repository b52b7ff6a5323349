"""Several futures of one context in one batch, and a future that goes on from where it ended.

Each future is what `rollout` makes with its own seed and settings: noise depends on (seed, frame, decode step), never on the batch.
What depends on it is how a device rounds sums, so the same ids to the last one are promised only for futures that are decoded alone.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .config import SamplingConfig
from .rollout import RolloutStep, frame_by_frame, frame_generators, past_after, rollout
from .transformer import VideoTransformer


@dataclass(frozen=True)
class Future:
    """One future that is asked for. Of a batch, only seed, temperature, top-k and top-p may differ."""

    seed: int
    sampling: SamplingConfig


@dataclass(frozen=True)
class FuturesStep:
    """One decode step of futures. share: of all the work that is done by now, 0 to 1. tokens: their grids (B, n, h, w), all that there are
    so far, where a frame of all of them is done by this step."""

    share: float
    tokens: Tensor | None


@torch.no_grad()
def futures_steps(
    transformer: VideoTransformer, context_1THW: Tensor, frames: int, wanted: Sequence[Future], *, alone: Collection[int] = ()
) -> Iterator[FuturesStep]:
    """The decode steps of the futures of one context, so that whoever asked can look on, or turn away, at any of them.

    alone: places in `wanted` whose futures are to be those of `rollout` to the last bit: they are decoded beside the batch, in which
    sums may be rounded differently and a token turn where two were nearly tied. The futures of models that are not causal are all decoded
    alone, one after the other. ValueError where nothing is asked for.
    """
    if not wanted or frames < 1:
        raise ValueError(f"{len(wanted)} futures of {frames} frames: ask for at least one of one frame")
    if transformer.config.is_causal:
        together = [place for place in range(len(wanted)) if place not in alone]
        groups = [[place] for place in sorted(alone)] + [together] * bool(together)
        order = torch.tensor([place for group in groups for place in group]).argsort()
        each = [batch_steps(transformer, context_1THW, frames, [wanted[place] for place in group]) for group in groups]
        for steps in zip(*each, strict=True):
            grids = [step.tokens for step in steps if step.tokens is not None]
            yield FuturesStep(steps[0].share, torch.cat(grids)[order] if grids else None)
    else:
        yield from steps_in_turn(transformer, context_1THW, frames, wanted)


def batch_steps(transformer: VideoTransformer, context_1THW: Tensor, frames: int, wanted: Sequence[Future]) -> Iterator[FuturesStep]:
    """The futures of one batch, decoded together."""
    context_BTHW = context_1THW.repeat(len(wanted), 1, 1, 1)
    for step in decoded(transformer, context_BTHW, frames, wanted, context_BTHW[:, :0]):
        share = (step.frame + (step.decode_step + 1) / step.decode_steps) / frames
        yield FuturesStep(share, step.tokens_BTHW[:, context_1THW.shape[1] :] if step.frame_done else None)


def steps_in_turn(transformer: VideoTransformer, context_1THW: Tensor, frames: int, wanted: Sequence[Future]) -> Iterator[FuturesStep]:
    """One future after the other, each with all of its frames at once."""
    ends: list[Tensor] = []
    for one in wanted:
        for step in rollout(transformer, context_1THW, frames, one.sampling, one.seed):
            made = step.tokens_BTHW[:, context_1THW.shape[1] :]
            yield FuturesStep(len(ends) / len(wanted), None)
        ends.append(made)
    yield FuturesStep(1.0, torch.cat(ends))


@torch.no_grad()
def goes_on(
    transformer: VideoTransformer, context_1THW: Tensor, frames: int, wanted: Future, made_THW: Tensor | np.ndarray
) -> Iterator[RolloutStep]:
    """The steps that were left out when only the first frames of a future of `frames` were made: those as they would have been.

    made_THW: ids of these first frames. A model that is not causal goes on from its last frames instead. ValueError where nothing is left.
    """
    made = torch.as_tensor(made_THW, dtype=context_1THW.dtype, device=context_1THW.device)[None]
    if frames <= made.shape[1]:
        raise ValueError(f"{frames} future frames, {made.shape[1]} of them known: ask for at least one more")
    if transformer.config.is_causal:
        yield from decoded(transformer, context_1THW, frames, [wanted], made)
    else:
        past = torch.cat([context_1THW, made], dim=1)
        yield from rollout(transformer, past, frames - made.shape[1], wanted.sampling, wanted.seed)


def decoded(
    transformer: VideoTransformer, context_BTHW: Tensor, frames: int, wanted: Sequence[Future], made: Tensor
) -> Iterator[RolloutStep]:
    """Frame by frame, as `rollout` does it, after the frames `made` (B, n, h, w)."""
    past, tokens = past_after(transformer, context_BTHW, made), torch.cat([context_BTHW, made], dim=1)
    draws = [one.sampling for one in wanted]

    def noise(frame: int) -> list[torch.Generator]:
        return [frame_generators(one.seed, [0], frame)[0] for one in wanted]

    yield from frame_by_frame(transformer, past, tokens, range(made.shape[1], frames), noise, draws[0], draws)
