"""The first phase of a run, where no trained tokenizer is given: the autoencoder learns to draw single frames."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .baselines import counts, unigram
from .batches import training_clips
from .checkpoint import save_checkpoint
from .config import Config
from .data.augment import augment, augments
from .data.source import ClipSource
from .optimizer import Optimizers
from .randomness import numpy_generator, torch_generator
from .ranks import ALONE, Ranks
from .schedules import learning_rate
from .tokenizer import new_tokenizer
from .transformer import VideoTransformer
from .update import Update, advice, first_non_finite

WARMUP_STEPS = 100


class TokenizerPhase:
    """Trains the tokenizer of `config` on frames of `source`, by squared error and the quantizer's own loss.

    Of many ranks the first alone does so, and the others keep step with it: sums in another order would give slightly other weights,
    which can be other ids, and from then on another training; and dead codes are replaced by draws from the whole batch.
    """

    name = "tokenizer"
    compiled = False

    def __init__(self, config: Config, source: ClipSource, device: torch.device, ranks: Ranks = ALONE) -> None:
        self.config, self.source, self.device, self.ranks = config, source, device, ranks
        self.steps = config.recipe.tokenizer_steps
        self.tokenizer = new_tokenizer(config.tokenizer, config.data.channels, torch_generator(config.run.seed, "tokenizer")).to(device)
        recipe = config.recipe
        self.recipe = replace(
            recipe, optimizer="adamw", schedule="cosine", warmup_steps=WARMUP_STEPS, learning_rate=recipe.tokenizer_learning_rate
        )
        self.optimizers = Optimizers(self.tokenizer, self.recipe, self.steps)
        self.update = Update(
            self.tokenizer,
            self.optimizers,
            clip=recipe.gradient_clip,
            policy=config.run.on_nonfinite,
            advice=advice(recipe.tokenizer_learning_rate, "recipe.tokenizer_learning_rate"),
            ranks=ALONE,
            buffers=self.tokenizer.buffers(),
        )
        self.validation_NCHW = self.frames(source.fixed_clips("validation", config.run.validation_clips, config.data.clip_frames))
        self.mean_image_mse = mean_image_mse(self.validation_NCHW)

    def frames(self, clips_u8: np.ndarray) -> Tensor:
        """Frames float (N, C, H, W) in [0, 1] of clips uint8 (B, T, C, H, W)."""
        return torch.from_numpy(clips_u8).to(self.device).flatten(0, 1).float() / 255

    def batch(self, step: int) -> Tensor:
        """The frames (B, C, H, W) of a step."""
        samples = range(self.recipe.tokenizer_batch_size)
        frames = self.frames(self.clips(step, samples))
        return augment(frames[:, None], self.recipe, self.config.run.seed, step, samples)[:, 0] if augments(self.recipe) else frames

    def clips(self, step: int, samples: range) -> np.ndarray:
        """Clips uint8 (B, 1, C, H, W) of one frame each; where few clips are to be overfitted, any frame of these."""
        if not self.config.run.training_clips:
            return training_clips(self.config, self.source, step, samples, 1)
        clips = training_clips(self.config, self.source, step, samples, self.config.data.clip_frames)
        chosen = [int(numpy_generator(self.config.run.seed, "frame", step, sample).integers(clips.shape[1])) for sample in samples]
        return np.stack([clip[frame : frame + 1] for clip, frame in zip(clips, chosen, strict=True)])

    def grown(self, step: int) -> bool:
        """Whether no later step takes more memory."""
        return True

    def train_step(self, step: int, measure: bool) -> dict[str, Any]:
        """One update; with `measure` its figures, otherwise {} (reading them would wait for the device)."""
        if self.ranks.rank:
            return {}
        # A learned codebook replaces codes that died by draws from torch's process-wide generator.
        torch.manual_seed(int(numpy_generator(self.config.run.seed, "codes", step).integers(2**62)))
        self.tokenizer.train()
        self.update.begin()
        frames = self.batch(step)
        drawn, tokens, own_loss = self.tokenizer(frames)
        loss = F.mse_loss(drawn, frames) + own_loss
        loss.backward()
        loss, norm = self.update.apply(step, loss.detach())
        if measure or self.update.on_host:
            self.update.check(lambda: first_non_finite(self.tokenizer.eval(), lambda: self.tokenizer(frames)))
        if not measure:
            return {}
        return {
            "loss": float(loss),
            "grad_norm": float(norm),
            "learning_rate": learning_rate(step, self.steps, self.recipe),
            **reconstruction_figures(drawn.detach(), frames, tokens, self.tokenizer.codebook_size),
            **self.update.figures(),
        }

    def settle(self) -> None:
        """ValueError, or a notice, of what was held back since the last measured step."""
        self.update.check(lambda: None)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        self.tokenizer.eval()
        drawn, tokens = [], []
        for frames in self.validation_NCHW.split(64):
            tokens.append(self.tokenizer.encode(frames[:, None]))
            drawn.append(self.tokenizer.decode(tokens[-1])[:, 0])
        figures = reconstruction_figures(torch.cat(drawn), self.validation_NCHW, torch.cat(tokens), self.tokenizer.codebook_size)
        return {f"validation_{name}": value for name, value in {**figures, "mean_image_mse": self.mean_image_mse}.items()}

    @torch.no_grad()
    def sample(self) -> list[np.ndarray]:
        """Rows of a strip, each frames float (T, C, H, W): truth and reconstruction of the first validation frames."""
        self.tokenizer.eval()
        frames = self.validation_NCHW[:10]
        return [frames.cpu().numpy(), self.tokenizer.decode(self.tokenizer.encode(frames[:, None]))[:, 0].cpu().numpy()]

    def save(self, path: Path, step: int, metrics: dict[str, float]) -> None:
        """A checkpoint that can be sampled from; its transformer is still untrained."""
        transformer = VideoTransformer.new(self.config, torch_generator(self.config.run.seed, "transformer"))
        save_checkpoint(path, self.config, self.tokenizer, transformer.state_dict(), step=step, metrics=metrics, phase=self.name)

    def tensors(self) -> dict[str, Tensor]:
        return {
            **{f"tokenizer.{name}": tensor for name, tensor in self.tokenizer.state_dict().items()},
            **{f"optimizer.{name}": tensor for name, tensor in self.optimizers.tensors().items()},
            **{f"update.{name}": tensor for name, tensor in self.update.tensors().items()},
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        self.tokenizer.load_state_dict(under("tokenizer.", tensors))
        self.optimizers.load(under("optimizer.", tensors))
        self.update.load(under("update.", tensors))


def mean_image_mse(frames_NCHW: Tensor) -> float:
    """Squared error summed over a frame's pixels of the mean of all frames: what knowing nothing of a frame costs."""
    return float((frames_NCHW - frames_NCHW.mean(dim=0)).square().flatten(1).sum(dim=1).mean())


def reconstruction_figures(drawn: Tensor, frames: Tensor, tokens: Tensor, codebook_size: int) -> dict[str, float]:
    """Of frames cut to [0, 1], as they are shown. reconstruction_mse: squared error summed over a frame's pixels; psnr_db; codebook_use: share of codes seen; perplexity."""
    error = ((drawn.float().clamp(0, 1) - frames) ** 2).flatten(1)
    return {
        "reconstruction_mse": float(error.sum(dim=1).mean()),
        "psnr_db": float((-10 * error.mean(dim=1).clamp_min(1e-10).log10()).mean()),
        "codebook_use": float((counts(tokens, codebook_size) > 0).double().mean()),
        "perplexity": math.exp(unigram(tokens, codebook_size)["unigram_entropy"]),
    }


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
