"""What is checked: a config on its data with a trained tokenizer, made small enough to be trained within a minute."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..batches import TokenBatch
from ..config import Config, as_argument
from ..data.source import ClipSource
from ..masking import ClipMask
from ..randomness import torch_generator
from ..tokenizer import Tokenizer
from ..transformer import VideoTransformer
from ..transformer_phase import TransformerPhase

CLIPS = 8
FRAMES = 4
LARGEST_CLIP = 1280  # tokens of a short clip; fewer frames where a frame has many
ROUGHNESS = 0.3  # std of what is added to fresh weights, so that whatever can have an influence has a visible one

CALM: dict[str, Any] = {  # what would only blur an answer
    "model.dropout": 0.0,
    "recipe.batch_size": CLIPS,
    "recipe.micro_batches": 1,
    "recipe.horizontal_flip": 0.0,
    "recipe.rotation": 0.0,
    "recipe.brightness": 0.0,
    "recipe.contrast": 0.0,
    "recipe.context_corruption": 0.0,
    "recipe.own_past": 0.0,
    "recipe.curriculum": (),
    "recipe.random_context": False,
    "recipe.ema_decay": 0.0,
    "recipe.gradient_checkpointing": False,
    "recipe.objective_schedule": "fixed",
    "run.on_nonfinite": "stop",
    "run.validation_clips": 2,
    "run.training_clips": CLIPS,
}
ONLY: dict[str, dict[str, Any]] = {
    one: {f"recipe.objective_{other}": float(one == other) for other in ("future", "joint", "individual")}
    for one in ("future", "joint", "individual")
}


@dataclass(frozen=True)
class Subject:
    """A config, its data and its tokenizer, on a device. `make_phase` makes what is trained; tests put bugs in there."""

    config: Config
    source: ClipSource
    tokenizer: Tokenizer
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "float32"
    make_phase: Callable[..., TransformerPhase] = TransformerPhase

    @property
    def frames(self) -> int:
        """Frames of the short clips: as many as are needed for a past and a future, fewer where frames hold many tokens."""
        fitting = max(2, LARGEST_CLIP // self.config.grid**2)
        return min(FRAMES, fitting, self.config.data.clip_frames)

    @property
    def sees_time(self) -> bool:
        """Whether there is a past to predict from, and a model that looks at it."""
        return self.frames > 1 and self.config.model.attention != "framewise"

    @cached_property
    def short(self) -> Config:
        """The config on short clips, without what would blur an answer."""
        frames = self.frames
        context = max(1, frames // 2)
        return self.config.replace({**CALM, "data.clip_frames": frames, "data.context_frames": context})

    def overrides(self, config: Config) -> tuple[str, ...]:
        """What a check changed, as `key=value`."""
        return tuple(f"{key}={as_argument(new)}" for key, (_, new) in self.config.differences(config).items())

    @cached_property
    def clips_u8(self) -> np.ndarray:
        """The short training clips uint8 (CLIPS, T, C, H, W) that the phase trains on."""
        seed = self.config.run.seed
        return np.stack([self.source.training_clip(seed, 0, clip, self.frames) for clip in range(CLIPS)])

    @cached_property
    @torch.no_grad()
    def tokens_BTHW(self) -> Tensor:
        """Token grids of `clips_u8`."""
        return self.tokenizer.eval().encode(torch.from_numpy(self.clips_u8).to(self.device).float() / 255)

    def phase(self, config: Config) -> TransformerPhase:
        """A training of `config` at its start. Torch's process-wide generator, which only dropout needs, stays untouched: another
        training may be running in this process."""
        phase = self.make_phase(config, self.source, self.tokenizer, self.device, self.precision)
        phase.seed_dropout = lambda step: None  # type: ignore[method-assign]
        return phase

    def rough_model(self) -> VideoTransformer:
        """The phase's own model in float64, with weights so large that everything which can have an influence shows it."""
        model = self.phase(self.short).model
        generator = torch_generator(0, "rough")
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(ROUGHNESS * torch.randn(parameter.shape, generator=generator).to(parameter))
        precision = torch.float32 if self.device.type == "mps" else torch.float64
        return model.to(precision).eval().requires_grad_(False)


def masks_of(objective: str, clips: int, frames: int, grid: int, context: int, ratio: float) -> list[ClipMask]:
    """Masks of one kind: `ratio` of each frame after the context hidden, at random places."""
    rng = np.random.Generator(np.random.Philox(0))
    masks = []
    for _ in range(clips):
        mask = np.zeros((frames, grid * grid), bool)
        count = max(1, round(ratio * grid * grid))
        for frame in mask[context:]:
            frame[rng.permutation(grid * grid)[:count]] = True
        masks.append(ClipMask(mask.reshape(frames, grid, grid), objective, context, ratio))
    return masks


def future_batch(subject: Subject) -> TokenBatch:
    """Two clips with half of every future frame masked."""
    config = subject.short
    tokens = subject.tokens_BTHW[:2]
    context = config.data.context_frames if subject.frames > 1 else 0
    return TokenBatch(tokens, masks_of("future", len(tokens), subject.frames, config.grid, context, 0.5))


def other_ids(tokens: Tensor, codebook_size: int) -> Tensor:
    """Ids that differ from `tokens` at every place."""
    return (tokens + max(1, codebook_size // 3)) % codebook_size
