"""What one optimiser step trains on: token grids of clips with their masks, a function of (seed, step, sample)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .config import Config
from .data.augment import augment, augments
from .data.source import ClipSource
from .device import to_device
from .masking import ClipMask, draw_context, draw_mask
from .randomness import numpy_generator, torch_generator
from .schedules import frames_at, progress_of
from .tokenizer import Tokenizer


@dataclass(frozen=True)
class TokenBatch:
    """tokens_BTHW: int64 ids. masks: one for each clip. All clips have as many frames."""

    tokens_BTHW: Tensor
    masks: list[ClipMask]

    @property
    def masked_BTHW(self) -> np.ndarray:
        return np.stack([mask.mask_THW for mask in self.masks])

    @property
    def first(self) -> int:
        """First frame in which any clip may have a mask."""
        return min(mask.context for mask in self.masks)

    def of(self, clips: list[int]) -> "TokenBatch":
        """Some of the clips, in the order given."""
        return TokenBatch(chosen(self.tokens_BTHW, clips), [self.masks[clip] for clip in clips])

    def cut_B(self, device: torch.device) -> Tensor | None:
        """True for clips whose frames must not see each other; None where there are none."""
        cuts = [mask.objective == "individual" for mask in self.masks]
        return to_device(torch.tensor(cuts), device) if any(cuts) else None


def chosen(tokens_BTHW: Tensor, clips: list[int]) -> Tensor:
    """The token grids of some clips."""
    return tokens_BTHW[to_device(torch.tensor(clips), tokens_BTHW.device)]


def training_clips(config: Config, source: ClipSource, step: int, samples: range, frames: int) -> np.ndarray:
    """Clips uint8 (B, T, C, H, W) of a step: fresh ones, or drawn from the fixed few that are to be overfitted."""
    seed, fixed = config.run.seed, config.run.training_clips
    if not fixed:
        return np.stack([source.training_clip(seed, step, sample, frames) for sample in samples])
    drawn = [int(numpy_generator(seed, "fixed", step, sample).integers(fixed)) for sample in samples]
    return np.stack([source.training_clip(seed, 0, index, config.data.clip_frames)[:frames] for index in drawn])  # the same at every length


@torch.no_grad()
def encode_clips(
    config: Config, tokenizer: Tokenizer, clips_u8: np.ndarray | Tensor, step: int, samples: range, device: torch.device
) -> Tensor:
    """Augment and tokenize: int64 (B, T, h, w). Always in float32, the recorded precision of encoding."""
    frames = to_device(clips_u8, device).float() / 255
    if augments(config.recipe):
        frames = augment(frames, config.recipe, config.run.seed, step, samples)
    return tokenizer.encode(frames)


def draw_masks(config: Config, step: int, samples: range) -> list[ClipMask]:
    progress, frames = progress_of(step, config.run.steps), frames_at(config, step)
    context = draw_context(numpy_generator(config.run.seed, "context", step), config.recipe, config.data, frames)
    return [
        draw_mask(
            numpy_generator(config.run.seed, "mask", step, sample),
            config.recipe,
            frames=frames,
            grid=config.grid,
            context=context,
            progress=progress,
        )
        for sample in samples
    ]


def corruption(config: Config, step: int, samples: range) -> tuple[Tensor, Tensor] | None:
    """What a step corrupts of these clips: where (bool) and to which ids (int64), both (B, T, h, w); None where the recipe corrupts nothing.
    Each clip draws its share from 0 to twice the recipe's."""
    share = config.recipe.context_corruption
    if not share:
        return None
    hits, ids = [], []
    shape = (frames_at(config, step), config.grid, config.grid)
    for sample in samples:
        generator = torch_generator(config.run.seed, "corrupt", step, sample)
        amount = 2 * share * torch.rand((), generator=generator)
        hits.append(torch.rand(shape, generator=generator) < amount)
        ids.append(torch.randint(config.tokenizer.codebook_size, shape, generator=generator))
    return torch.stack(hits), torch.stack(ids)


def corrupted(tokens_BTHW: Tensor, drawn: tuple[Tensor, Tensor] | None) -> Tensor:
    """Tokens with what `corruption` has drawn."""
    if drawn is None:
        return tokens_BTHW
    hit_BTHW, ids_BTHW = (to_device(part, tokens_BTHW.device) for part in drawn)
    return torch.where(hit_BTHW, ids_BTHW, tokens_BTHW)
