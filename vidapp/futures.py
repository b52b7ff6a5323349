"""Several futures of one context in one batch, and a future that goes on from where it ended.

Each future is what `rollout` makes with its own seed and settings: noise depends on (seed, frame, decode step), never on the batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .config import SamplingConfig
from .rollout import CausalPast, frame_generators, rollout
from .sampling import decode
from .transformer import VideoTransformer


@dataclass(frozen=True)
class Future:
    """One future that is asked for. Of a batch, only seed, temperature, top-k and top-p may differ."""

    seed: int
    sampling: SamplingConfig


@torch.no_grad()
def futures(
    transformer: VideoTransformer, context_1THW: Tensor, frames: int, wanted: Sequence[Future], made_BTHW: Tensor | None = None
) -> Iterator[Tensor]:
    """Token grids (B, n, h, w) of the futures of one context, all that there are so far, until n is `frames`.

    made_BTHW: the first frames of these very futures where they are known already; what follows is what would have followed (a model
    that is not causal goes on from its last frames instead). Causal models yield after each frame, others once. ValueError where
    nothing is asked for.
    """
    made = context_1THW[:, :0].repeat(len(wanted), 1, 1, 1) if made_BTHW is None else made_BTHW
    if not wanted or frames <= made.shape[1]:
        raise ValueError(f"{len(wanted)} futures of {frames} frames, {made.shape[1]} of them known: ask for at least one more")
    if transformer.config.causal or transformer.config.attention == "framewise":
        yield from futures_causal(transformer, context_1THW.repeat(len(wanted), 1, 1, 1), frames, wanted, made)
        return
    ends = []
    for one, own in zip(wanted, made, strict=True):
        past = torch.cat([context_1THW, own[None]], dim=1)
        for step in rollout(transformer, past, frames - len(own), one.sampling, one.seed):
            tokens = step.tokens_BTHW
        ends.append(tokens[:, context_1THW.shape[1] :])
    yield torch.cat(ends)


def futures_causal(
    transformer: VideoTransformer, context_BTHW: Tensor, frames: int, wanted: Sequence[Future], made: Tensor
) -> Iterator[Tensor]:
    past = CausalPast(transformer, context_BTHW)
    for frame in range(made.shape[1]):
        past.append(made[:, frame : frame + 1])
    draws = [one.sampling for one in wanted]
    for frame in range(made.shape[1], frames):
        new = torch.full_like(context_BTHW[:, :1], transformer.mask_id)
        generators = [frame_generators(one.seed, [0], frame)[0] for one in wanted]
        everything = torch.ones_like(new, dtype=torch.bool)
        for step in decode(past.logits, new, everything, draws[0], generators, transformer.mask_id, draws=draws):
            new = step.tokens
        made = torch.cat([made, new], dim=1)
        yield made
        if frame + 1 < frames:
            past.append(new)
