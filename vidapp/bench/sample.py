"""Future frames from given ones, the transformer alone: with cached keys and values, and with the clip so far computed anew at each decode step."""

import time

import torch
from torch import Tensor

from ..config import Config
from ..device import pick_device
from ..flops import Pass, pass_flops
from ..randomness import torch_generator
from ..rollout import rollout
from ..transformer import VideoTransformer
from .effort import Effort, typical
from .machine import MatrixRate, wait

TOGETHER = 8  # clips


def measure(effort: Effort) -> dict[str, object]:
    """The figures of the scope: `small`, factorized, float32 as the page and the command line sample."""
    device, config = pick_device("auto"), effort.config("small")
    transformer = VideoTransformer.new(config, torch_generator(0, "bench")).to(device).eval()
    rate = MatrixRate(device, "float32", effort.side)
    rate.measure()
    decode(transformer, config, 1, cached=True)  # does not count
    taken: dict[bool, list[float]] = {True: [], False: []}
    tokens: dict[bool, Tensor] = {}
    while not taken[False] or sum(taken[False]) < effort.seconds:  # in turns: what else runs here is then in both
        for cached in (True, True, True, False):
            seconds, tokens[cached] = decode(transformer, config, 1, cached=cached)
            taken[cached].append(seconds)
    rate.measure()
    seconds, anew = typical(taken[True]), typical(taken[False])
    flops = [clip_flops(config, cached) for cached in (True, False)]
    return {
        "seconds_per_clip": seconds,
        "speedup_vs_recompute": anew / seconds,
        "speedup_in_flops": flops[1] / flops[0],
        "seconds_recomputed": anew,
        "seconds_at_matrix_rate": flops[0] / rate.typical,
        "matrix_flops_per_second": rate.typical,
        "tokens_alike": float((tokens[True] == tokens[False]).float().mean()),
        "seconds_per_clip_of_many": decode(transformer, config, TOGETHER, cached=True)[0] / TOGETHER,
        "clips_of_many": TOGETHER,
        "frames": future_frames(config),
        "decode_steps": config.sampling.steps,
        "device": device.type,
    }


def future_frames(config: Config) -> int:
    return config.data.clip_frames - config.data.context_frames


def decode(transformer: VideoTransformer, config: Config, clips: int, *, cached: bool) -> tuple[float, Tensor]:
    """(seconds, the future's tokens) of one rollout from random given frames."""
    shape = (clips, config.data.context_frames, config.grid, config.grid)
    context = torch.randint(config.tokenizer.codebook_size, shape, generator=torch_generator(0, "context"))
    context = context.to(transformer.place_embedding.device)
    wait(context.device)
    start = time.perf_counter()
    for step in rollout(transformer, context, future_frames(config), config.sampling, 0, cached=cached):
        tokens = step.tokens_BTHW
    wait(context.device)
    return time.perf_counter() - start, tokens[:, context.shape[1] :].cpu()


def clip_flops(config: Config, cached: bool) -> int:
    """FLOPs of one clip's future: every frame in so many passes, the first of which takes in what was decided since."""
    total, given, places = 0, config.data.context_frames, config.grid**2
    for frame in range(future_frames(config)):
        past, waiting = given + frame, given if frame == 0 else 1
        if cached:
            first = Pass(1, waiting + 1, places, cached=past - waiting, skip=waiting)
            total += pass_flops(config, first) + (config.sampling.steps - 1) * pass_flops(config, Pass(1, 1, places, cached=past))
        else:
            total += config.sampling.steps * pass_flops(config, Pass(1, past + 1, places, skip=past))
    return total
