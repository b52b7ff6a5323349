"""A past of the model's own making, to train on: sampling goes on from its own frames, so training must too.

Scheduled sampling (Bengio et al., 2015) for frames. They are drawn one after the other, each behind those drawn before it, so that
training meets what adds up over many frames; one pass a frame, through cached keys and values, costs what a single parallel pass would.
"""

import torch
from torch import Tensor

from .config import SamplingConfig
from .rollout import CausalPast
from .sampling import draw
from .transformer import VideoTransformer

ALL_IDS = SamplingConfig(top_k=0)


@torch.no_grad()
def with_own_past(model: VideoTransformer, tokens_BTHW: Tensor, starts_B: list[int], generators: list[torch.Generator]) -> Tensor:
    """Tokens (B, T, h, w) with the frames from starts_B on replaced by what the model draws for them, all of a frame at once.

    The last frame, which is nobody's past, stays. Each clip draws its temperature from 0 to 1, with its own generator; starts of at
    least T leave it as it is, and cost nothing. For models that are causal or know no time.
    """
    last = tokens_BTHW.shape[1] - 1
    wanted = [clip for clip, start in enumerate(starts_B) if max(1, start) < last]
    if not wanted:
        return tokens_BTHW
    starts, generators = [max(1, starts_B[clip]) for clip in wanted], [generators[clip] for clip in wanted]
    chosen = torch.tensor(wanted).to(tokens_BTHW.device, non_blocking=True)
    own = tokens_BTHW[chosen]
    temperatures = [float(torch.rand((), generator=one, device=one.device)) for one in generators]
    past = CausalPast(model, own[:, : min(starts)])
    for frame in range(min(starts), last):
        logits_BHWV = past.logits(torch.full_like(own[:, :1], model.mask_id))[:, 0].float()
        for row, start in enumerate(starts):
            if frame >= start:
                uniform = torch.rand(own.shape[2:], generator=generators[row], device=generators[row].device)
                own[row, frame] = draw(logits_BHWV[row], ALL_IDS, temperatures[row], uniform.to(own.device))
        if frame + 1 < last:
            past.append(own[:, frame : frame + 1])
    return tokens_BTHW.index_copy(0, chosen, own)
