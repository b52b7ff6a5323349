"""Future frames from given ones, the transformer alone: with cached keys and values, and with everything computed anew at each decode step.

What is computed anew is the whole clip, its frames to come masked, as samplers of this family do that know no cache; and, a
fairer rival, the clip so far with no more of the last layer and the head than is needed.
"""

import time

import numpy as np
import torch
from torch import Tensor

from ..batches import TokenBatch
from ..checkpoint import load_checkpoint
from ..config import Config, SamplingConfig
from ..data.source import open_source
from ..device import autocast, pick_device
from ..flops import Pass, pass_flops, table_flops
from ..masking import ClipMask
from ..objective import masked_logits
from ..randomness import torch_generator
from ..rollout import frame_generators, rollout
from ..sampling import at_places, still_masked
from ..sampling import decode as decode_frame
from ..tokenizer_choice import ASSETS
from ..transformer import VideoTransformer, clip_view
from .effort import Effort, typical
from .machine import MatrixRate, wait

TOGETHER = 8  # clips
EXACT_CLIPS = 4
WAYS = ("cached", "whole", "so_far")


def measure(effort: Effort) -> dict[str, object]:
    """The figures of the scope: `small`, factorized, float32 as the page and the command line sample."""
    device, config = pick_device("auto"), effort.config("small")
    transformer = VideoTransformer.new(config, torch_generator(0, "bench")).to(device).eval()
    rate = MatrixRate(device, "float32", effort.side)
    rate.measure()
    decode(transformer, config, 1, "cached")  # does not count
    taken: dict[str, list[float]] = {"cached": [], "whole": [], "so_far": []}
    tokens: dict[str, Tensor] = {}
    while not taken["so_far"] or sum(taken["whole"]) < effort.seconds:  # in turns: what else runs here is then in all
        for way in ("cached", "cached", "whole", "cached", "so_far"):
            seconds, tokens[way] = decode(transformer, config, 1, way)
            taken[way].append(seconds)
    rate.measure()
    seconds, whole, so_far = (typical(taken[way]) for way in WAYS)
    flops = {way: clip_flops(config, way) for way in WAYS}
    return {
        "seconds_per_clip": seconds,
        "speedup_vs_recompute": whole / seconds,
        "speedup_in_flops": flops["whole"] / flops["cached"],
        "speedup_vs_clip_so_far": so_far / seconds,
        "speedup_vs_clip_so_far_in_flops": flops["so_far"] / flops["cached"],
        "seconds_recomputed": whole,
        "seconds_at_matrix_rate": flops["cached"] / rate.typical,
        "matrix_flops_per_second": rate.typical,
        "tokens_alike": min(float((tokens["cached"] == tokens[way]).float().mean()) for way in WAYS),
        "seconds_per_clip_of_many": decode(transformer, config, TOGETHER, "cached")[0] / TOGETHER,
        "clips_of_many": TOGETHER,
        **half_precision(device),
        "frames": future_frames(config),
        "decode_steps": config.sampling.steps,
        "device": device.type,
    }


@torch.no_grad()
def half_precision(device: torch.device) -> dict[str, float]:
    """How far the bundled model's beliefs in bf16 are from those in float32, over wholly masked frames after their true past."""
    checkpoint = load_checkpoint(ASSETS / "moving-mnist.safetensors", device)
    data, transformer = checkpoint.config.data, checkpoint.transformer.eval()
    tokens = checkpoint.encode(open_source(data).fixed_clips("test", EXACT_CLIPS, data.clip_frames))
    mask = np.zeros(tokens.shape[1:], bool)
    mask[data.context_frames :] = True
    batch = TokenBatch(tokens, [ClipMask(mask, "future", data.context_frames, 1.0)] * len(tokens))
    exact = masked_logits(transformer, batch, clean_past=True).logits_PV
    with autocast(device, "bf16"):
        rough = masked_logits(transformer, batch, clean_past=True).logits_PV
    return {
        "bf16_logits_differ_by": float((rough - exact).abs().mean()),
        "bf16_total_variation": float(0.5 * (rough.softmax(-1) - exact.softmax(-1)).abs().sum(-1).mean()),
        "bf16_likeliest_alike": float((rough.argmax(-1) == exact.argmax(-1)).float().mean()),
    }


def future_frames(config: Config) -> int:
    return config.data.clip_frames - config.data.context_frames


def decode(transformer: VideoTransformer, config: Config, clips: int, way: str) -> tuple[float, Tensor]:
    """(seconds, the future's tokens) of one rollout from random given frames, in one of the WAYS."""
    shape = (clips, config.data.context_frames, config.grid, config.grid)
    context = torch.randint(config.tokenizer.codebook_size, shape, generator=torch_generator(0, "context"))
    context = context.to(transformer.place_embedding.device)
    wait(context.device)
    start = time.perf_counter()
    if way == "whole":
        tokens = whole_clip(transformer, context, future_frames(config), config.sampling)
    else:
        for step in rollout(transformer, context, future_frames(config), config.sampling, 0, cached=way == "cached"):
            tokens = step.tokens_BTHW
    wait(context.device)
    return time.perf_counter() - start, tokens[:, context.shape[1] :].cpu()


@torch.no_grad()
def whole_clip(transformer: VideoTransformer, tokens: Tensor, frames: int, sampling: SamplingConfig) -> Tensor:
    """The tokens that `rollout` gives, by passing all frames at each decode step, those to come masked."""
    given, clips = tokens.shape[1], range(tokens.shape[0])
    tokens = torch.cat([tokens, torch.full_like(tokens[:, :1], transformer.mask_id).repeat(1, frames, 1, 1)], dim=1)
    view = clip_view(tokens.shape[1], True, tokens.device)
    for frame in range(frames):
        now = slice(given + frame, given + frame + 1)

        def logits(new: Tensor, places_BM: Tensor, clip: Tensor = tokens, now: slice = now) -> Tensor:
            everything = transformer.logits(transformer(torch.cat([clip[:, : now.start], new, clip[:, now.stop :]], dim=1), view))
            return at_places(everything[:, now].flatten(1, 2), places_BM)

        hidden = torch.ones_like(tokens[:, now], dtype=torch.bool)
        for step in decode_frame(logits, tokens[:, now], hidden, sampling, frame_generators(0, clips, frame), transformer.mask_id):
            new = step.tokens
        tokens = torch.cat([tokens[:, : now.start], new, tokens[:, now.stop :]], dim=1)
    return tokens


def clip_flops(config: Config, way: str) -> int:
    """FLOPs of one clip's future, of a model without a stem: every frame in so many passes, as long as something is masked; of the cached
    ones the first takes in what was decided since."""
    given, places, frames, steps = config.data.context_frames, config.grid**2, future_frames(config), config.sampling.steps
    masked = [places, *(still_masked(places, step, steps) for step in range(steps - 1))]  # before each step
    asked, lean = [count for count in masked if count], config.model.attention == "factorized"
    if way == "whole":
        return frames * len(asked) * pass_flops(config, Pass(1, given + frames, (given + frames) * places))
    total = table_flops(config)
    for past in range(given, given + frames):
        if way == "so_far":
            total += sum(pass_flops(config, Pass(1, past + 1, count, skip=past, table=False)) for count in asked)
        else:
            waiting = given if past == given else 1
            total += pass_flops(config, Pass(1, waiting + 1, places, past - waiting, waiting, table=False, lean=lean))
            total += sum(pass_flops(config, Pass(1, 1, count, past, table=False, lean=lean)) for count in asked[1:])
    return total
