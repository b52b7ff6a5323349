"""Each future frame decoded from the true frames before it: what a model does where nothing of its own has gone wrong yet.

The true frames enter the cache one by one, so a clip costs what free running costs, and not a new context for every frame.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .checkpoint import Checkpoint
from .config import SamplingConfig
from .rollout import CausalPast, decode_hidden, frame_generators, future_tokens
from .transformer import VideoTransformer


def predict_with_true_past(
    checkpoint: Checkpoint, clips_u8: np.ndarray, context: int, sampling: SamplingConfig, seeds: Sequence[int], first_clip: int = 0
) -> np.ndarray:
    """The frames after the first `context` of clips uint8 (B, T, C, H, W): float32 (B, T - context, C, H, W), in [0, 1].

    seeds: one a predicted frame. Each frame is what `rollout.predict` makes of all true frames before it with its seed.
    """
    tokens = checkpoint.encode(clips_u8)
    clips = range(first_clip, first_clip + len(tokens))
    return checkpoint.decode(tokens_with_true_past(checkpoint.transformer, tokens, context, sampling, seeds, clips))


@torch.no_grad()
def tokens_with_true_past(
    transformer: VideoTransformer, tokens_BTHW: Tensor, context: int, sampling: SamplingConfig, seeds: Sequence[int], clips: Sequence[int]
) -> Tensor:
    """Token grids (B, T - context, h, w) of the frames after the first `context`, each from the true ones before it."""
    frames = tokens_BTHW.shape[1]
    assert len(seeds) == frames - context, "a seed for each predicted frame"
    if (
        not transformer.config.is_causal or frames > transformer.max_frames
    ):  # a moving window is filled anew for each frame, as sampling does
        drawn = [
            future_tokens(transformer, tokens_BTHW[:, :at], 1, sampling, seed, clips)
            for at, seed in zip(range(context, frames), seeds, strict=True)
        ]
        return torch.cat(drawn, dim=1)
    past, drawn = CausalPast(transformer, tokens_BTHW[:, :context]), []
    for at, seed in zip(range(context, frames), seeds, strict=True):
        for step in decode_hidden(transformer, past.logits, tokens_BTHW[:, :1], sampling, frame_generators(seed, clips, 0)):
            decided = step.tokens
        drawn.append(decided)
        if at + 1 < frames:
            past.append(tokens_BTHW[:, at : at + 1])
    return torch.cat(drawn, dim=1)
