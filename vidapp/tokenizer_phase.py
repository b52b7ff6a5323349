"""The first phase of a run, where no trained tokenizer is given: the autoencoder learns to draw single frames."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .batches import training_clips
from .checkpoint import save_checkpoint
from .config import Config
from .data.augment import augment, augments
from .data.source import ClipSource
from .optimizer import Optimizers
from .randomness import torch_generator
from .schedules import learning_rate
from .tokenizer import new_tokenizer
from .transformer import VideoTransformer

WARMUP_STEPS = 100


class TokenizerPhase:
    """Trains the tokenizer of `config` on frames of `source`, by squared error and the quantizer's own loss."""

    name = "tokenizer"

    def __init__(self, config: Config, source: ClipSource, device: torch.device) -> None:
        self.config, self.source, self.device = config, source, device
        self.steps = config.recipe.tokenizer_steps
        self.tokenizer = new_tokenizer(config.tokenizer, config.data.channels, torch_generator(config.run.seed, "tokenizer")).to(device)
        recipe = config.recipe
        self.recipe = replace(
            recipe, optimizer="adamw", schedule="cosine", warmup_steps=WARMUP_STEPS, learning_rate=recipe.tokenizer_learning_rate
        )
        self.optimizers = Optimizers(self.tokenizer, self.recipe, self.steps)
        self.validation_NCHW = self.frames(source.fixed_clips("validation", config.run.validation_clips, config.data.clip_frames))

    def frames(self, clips_u8: np.ndarray) -> Tensor:
        """Frames float (N, C, H, W) in [0, 1] of clips uint8 (B, T, C, H, W)."""
        return torch.from_numpy(clips_u8).to(self.device).flatten(0, 1).float() / 255

    def batch(self, step: int) -> Tensor:
        samples = range(self.recipe.tokenizer_batch_size)
        frames = self.frames(training_clips(self.config, self.source, step, samples, 1))
        return augment(frames[:, None], self.recipe, self.config.run.seed, step, samples)[:, 0] if augments(self.recipe) else frames

    def train_step(self, step: int, measure: bool) -> dict[str, float]:
        """One update; with `measure` its figures, otherwise {} (reading them would wait for the device)."""
        self.tokenizer.train()
        frames = self.batch(step)
        drawn, tokens, own_loss = self.tokenizer(frames)
        loss = F.mse_loss(drawn, frames) + own_loss
        self.optimizers.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.tokenizer.parameters(), self.recipe.gradient_clip or float("inf"))
        refuse_non_finite(norm, step, self.recipe.tokenizer_learning_rate, "recipe.tokenizer_learning_rate")
        self.optimizers.step(step)
        if not measure:
            return {}
        return {
            "loss": float(loss.detach()),
            "grad_norm": float(norm),
            "learning_rate": learning_rate(step, self.steps, self.recipe),
            **reconstruction_figures(drawn.detach(), frames, tokens, self.tokenizer.codebook_size),
        }

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        self.tokenizer.eval()
        drawn, tokens = [], []
        for frames in self.validation_NCHW.split(64):
            tokens.append(self.tokenizer.encode(frames[:, None]))
            drawn.append(self.tokenizer.decode(tokens[-1])[:, 0])
        figures = reconstruction_figures(torch.cat(drawn), self.validation_NCHW, torch.cat(tokens), self.tokenizer.codebook_size)
        return {f"validation_{name}": value for name, value in figures.items()}

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
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        self.tokenizer.load_state_dict(under("tokenizer.", tensors))
        self.optimizers.load(under("optimizer.", tensors))


def reconstruction_figures(drawn: Tensor, frames: Tensor, tokens: Tensor, codebook_size: int) -> dict[str, float]:
    """reconstruction_mse: squared error summed over a frame's pixels; psnr_db; codebook_use: share of codes seen; perplexity."""
    error = ((drawn.float() - frames) ** 2).flatten(1)
    share = torch.bincount(tokens.flatten(), minlength=codebook_size).double()
    share = share / share.sum()
    return {
        "reconstruction_mse": float(error.sum(dim=1).mean()),
        "psnr_db": float((-10 * error.mean(dim=1).clamp_min(1e-10).log10()).mean()),
        "codebook_use": float((share > 0).double().mean()),
        "perplexity": float(torch.exp(-(share * share.clamp_min(1e-300).log()).sum())),
    }


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def refuse_non_finite(norm: Tensor, step: int, rate: float, setting: str) -> None:
    """Stop before the optimiser moves: the weights are still those of the step before."""
    if not torch.isfinite(norm):
        raise ValueError(
            f"the gradient of step {step + 1} is not finite, so the weights were left as they are: "
            f"lower {setting} (now {rate:g}), lengthen recipe.warmup_steps or set recipe.precision=float32"
        )
