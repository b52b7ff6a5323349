"""From given frames to future frames: the sampler, driven by a transformer frame by frame or all frames at once.

A causal model sees decided frames through cached keys and values: 10 frames in 8 steps cost 80 passes of about one
frame. Beyond the trained length the window moves: its first half is dropped and the cache is filled anew.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from .checkpoint import Checkpoint
from .config import Config, SamplingConfig
from .frame_pass import FramePass
from .randomness import torch_generator
from .sampling import DecodeStep, LogitsFn, at_places, decode, every_place
from .transformer import Cache, VideoTransformer, View, cached_view, clip_view


@dataclass(frozen=True)
class RolloutStep:
    """One decode step. tokens_BTHW: the given and the future frames so far, the mask id where not decided.

    frame: future frame being decoded, from 0; -1 where all are decoded at once. confidence_BTHW: of the frames being
    decoded. frame_done: these frames are decided.
    """

    tokens_BTHW: Tensor
    frame: int
    decode_step: int
    decode_steps: int
    frame_done: bool
    confidence_BTHW: Tensor


class CausalPast:
    """The decided frames of some clips, seen by one masked frame through the cache (or, to compare, recomputed)."""

    def __init__(self, transformer: VideoTransformer, tokens_BTHW: Tensor, cached: bool = True) -> None:
        self.transformer, self.cached = transformer, cached
        given = min(tokens_BTHW.shape[1], most_given(transformer.max_frames, 1, causal=True))
        self.window = tokens_BTHW[:, tokens_BTHW.shape[1] - given :]
        self.cache, self.pending = Cache(), self.window
        self.table = transformer.token_table()
        self.short = FramePass(transformer, len(tokens_BTHW), self.table) if cached and FramePass.fits(transformer) else None
        self.view: View | None = None  # of one frame after all that is cached: the same for all decode steps of a frame

    def append(self, frame_B1HW: Tensor) -> None:
        """Add a decided frame; where the window is full, keep its second half."""
        longest = most_given(self.transformer.max_frames, 1, causal=True)
        self.view = None
        self.window = torch.cat([self.window, frame_B1HW], dim=1)
        self.pending = torch.cat([self.pending, frame_B1HW], dim=1)
        if self.window.shape[1] > longest:
            kept = (longest + 1) // 2
            self.window = self.window[:, self.window.shape[1] - kept :]
            self.cache, self.pending = Cache(), self.window
            if self.short:
                self.short.restart()

    def logits(self, frame_B1HW: Tensor, places_BM: Tensor) -> Tensor:
        """Logits (B, M, V) at places of the frame that follows, masked where not decided. Decided frames not yet in the
        cache enter it in the same pass."""
        if self.short:
            logits, self.pending = self.short.logits(self.pending, frame_B1HW, places_BM), self.pending[:, :0]
            return logits
        if not self.cached:
            clip = torch.cat([self.window, frame_B1HW], dim=1)
            hidden = self.transformer(clip, clip_view(clip.shape[1], True, clip.device), skip=clip.shape[1] - 1, table=self.table)
        elif self.pending.shape[1]:
            waiting = self.pending.shape[1]
            view = cached_view(self.cache, waiting + 1, waiting, frame_B1HW.device)
            hidden = self.transformer(torch.cat([self.pending, frame_B1HW], dim=1), view, skip=waiting, table=self.table)
            self.pending = self.pending[:, :0]
        else:
            if self.view is None:
                self.view = self.transformer.prepared(cached_view(self.cache, 1, 0, frame_B1HW.device))
            hidden = self.transformer(frame_B1HW, self.view, table=self.table)
        return self.transformer.logits(at_places(hidden.flatten(1, 2), places_BM), self.table)

    def frame_logits(self, frame_B1HW: Tensor) -> Tensor:
        """Logits (B, 1, h, w, V) at all of them."""
        return self.logits(frame_B1HW, every_place(frame_B1HW)).unflatten(1, frame_B1HW.shape[1:])


def past_after(transformer: VideoTransformer, given_BTHW: Tensor, decided_BTHW: Tensor) -> CausalPast:
    """What a frame is decoded after: given frames, and then frames that were decided one by one."""
    past = CausalPast(transformer, given_BTHW)
    for frame in range(decided_BTHW.shape[1]):
        past.append(decided_BTHW[:, frame : frame + 1])
    return past


def frame_generators(seed: int, clips: Sequence[int], frame: int) -> list[torch.Generator]:
    return [torch_generator(seed, "sample", clip, frame) for clip in clips]


@torch.no_grad()
def rollout(
    transformer: VideoTransformer,
    context_tokens_BTHW: Tensor,
    frames: int,
    sampling: SamplingConfig,
    seed: int,
    *,
    clips: Sequence[int] | None = None,
    cached: bool = True,
) -> Iterator[RolloutStep]:
    """Decode `frames` future frames of token grids, yielding every decode step.

    clips: a number for each clip of the batch (0, 1, ... by default); noise is a function of (seed, clip, frame, step).
    Raises ValueError where there is nothing given or nothing asked for.
    """
    if frames < 1:
        raise ValueError(f"{frames} future frames were asked for: ask for at least 1")
    if context_tokens_BTHW.shape[1] < 1:
        raise ValueError("there are no given frames: give at least 1")
    numbers = range(context_tokens_BTHW.shape[0]) if clips is None else clips
    if transformer.config.is_causal:
        past = CausalPast(transformer, context_tokens_BTHW, cached)
        noise = partial(frame_generators, seed, numbers)
        yield from frame_by_frame(transformer, past, context_tokens_BTHW, range(frames), noise, sampling)
    else:
        yield from rollout_at_once(transformer, context_tokens_BTHW, frames, sampling, seed, numbers)


def frame_by_frame(
    transformer: VideoTransformer,
    past: CausalPast,
    tokens: Tensor,
    frames: range,
    noise: Callable[[int], Sequence[torch.Generator]],
    sampling: SamplingConfig,
    draws: Sequence[SamplingConfig] = (),
) -> Iterator[RolloutStep]:
    """The future frames of these numbers behind `tokens`, which `past` has seen. noise: the clips' generators for a frame. draws: see
    `decode`."""
    for frame in frames:
        for step in decode_hidden(transformer, past.logits, tokens[:, :1], sampling, noise(frame), draws):
            yield rollout_step(tokens, step, frame)
            new = step.tokens
        tokens = torch.cat([tokens, new], dim=1)
        if frame + 1 < frames.stop:
            past.append(new)


def decode_hidden(
    transformer: VideoTransformer,
    logits_fn: LogitsFn,
    like: Tensor,
    sampling: SamplingConfig,
    generators: Sequence[torch.Generator],
    draws: Sequence[SamplingConfig] = (),
) -> Iterator[DecodeStep]:
    """Decide frames of the shape of `like` of which nothing is known."""
    hidden, everything = torch.full_like(like, transformer.mask_id), torch.ones_like(like, dtype=torch.bool)
    yield from decode(logits_fn, hidden, everything, sampling, generators, transformer.mask_id, codes_VK=transformer.codes_VK, draws=draws)


def rollout_at_once(
    transformer: VideoTransformer, tokens: Tensor, frames: int, sampling: SamplingConfig, seed: int, clips: Sequence[int]
) -> Iterator[RolloutStep]:
    """All future frames together; more than the trained length holds are decoded in windows, at least half of it given."""
    longest = transformer.max_frames
    done = 0
    while done < frames:
        given = min(tokens.shape[1], most_given(longest, frames - done, causal=False))
        count = min(frames - done, longest - given)
        past = tokens[:, tokens.shape[1] - given :]

        def logits(masked: Tensor, places_BM: Tensor, past: Tensor = past) -> Tensor:
            clip = torch.cat([past, masked], dim=1)
            hidden = transformer(clip, clip_view(clip.shape[1], False, clip.device), skip=past.shape[1])
            return transformer.logits(at_places(hidden.flatten(1, 2), places_BM))

        like = tokens[:, :1].expand(-1, count, -1, -1)
        for step in decode_hidden(transformer, logits, like, sampling, frame_generators(seed, clips, done)):
            yield rollout_step(tokens, step, -1)
            new = step.tokens
        tokens = torch.cat([tokens, new], dim=1)
        done += count


def rollout_step(tokens: Tensor, step: DecodeStep, frame: int) -> RolloutStep:
    last = step.step + 1 == step.steps
    return RolloutStep(torch.cat([tokens, step.tokens], dim=1), frame, step.step, step.steps, last, step.confidence)


def most_given(longest: int, frames: int, *, causal: bool) -> int:
    """Given frames that a model of at most `longest` frames can see when it begins `frames` future ones: one after the other where it is
    causal, otherwise as many at once as leave half of its length given."""
    return longest - 1 if causal else max(longest // 2, longest - frames)


def unseen_past(config: Config, given: int, frames: int) -> str:
    """What is said where a model with this config does not see all of `given` frames when it begins `frames` future ones; else nothing."""
    longest = config.data.clip_frames
    if config.model.attention == "framewise":
        return ""  # no length was ever too long for it: it sees no other frame
    seen = most_given(longest, frames, causal=config.model.causal)
    if given <= seen:
        return ""
    part = f"the last {seen}" if seen else "none"
    return f"the model sees {part} of {given} given frames: it was trained on clips of {longest}"


def future_tokens(
    transformer: VideoTransformer, context_tokens_BTHW: Tensor, frames: int, sampling: SamplingConfig, seed: int, clips: Sequence[int]
) -> Tensor:
    """The future's token grid (B, frames, h, w), decided."""
    for step in rollout(transformer, context_tokens_BTHW, frames, sampling, seed, clips=clips):
        tokens = step.tokens_BTHW
    return tokens[:, context_tokens_BTHW.shape[1] :]


def predict(
    checkpoint: Checkpoint, context_u8: np.ndarray, frames: int, sampling: SamplingConfig, seed: int, first_clip: int = 0
) -> np.ndarray:
    """Future frames float32 (B, frames, C, H, W), in [0, 1], of given frames uint8 (B, T, C, H, W)."""
    context = checkpoint.encode(context_u8)
    clips = range(first_clip, first_clip + len(context))
    return checkpoint.decode(future_tokens(checkpoint.transformer, context, frames, sampling, seed, clips))
