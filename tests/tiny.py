"""The smallest config that still has everything in it, and models made from it: what most tests of the core start from."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from vidapp.checks.subject import Subject
from vidapp.config import Config
from vidapp.data.moving_mnist import MovingMnist
from vidapp.randomness import torch_generator
from vidapp.tokenizer import Tokenizer, new_tokenizer
from vidapp.transformer import VideoTransformer

TINY = Config().replace(
    {
        "model.width": 16,
        "model.layers": 1,
        "model.heads": 2,
        "model.attention": "factorized",
        "tokenizer.levels": "4,4",
        "tokenizer.vq_codebook_size": 16,
        "tokenizer.vq_code_dim": 4,
        "tokenizer.downsampling": 8,
        "tokenizer.channels": 8,
        "data.size": 32,
        "data.clip_frames": 4,
        "data.context_frames": 2,
        "recipe.batch_size": 4,
        "recipe.precision": "float32",
        "recipe.tokenizer_steps": 4,
        "recipe.tokenizer_batch_size": 4,
        "sampling.steps": 2,
        "run.steps": 6,
        "run.log_every": 1,
        "run.validate_every": 3,
        "run.sample_every": 3,
        "run.checkpoint_every": 2,
        "run.keep_checkpoints": 10,
        "run.validation_clips": 2,
        "run.device": "cpu",
    }
)


def tiny(**changes: Any) -> Config:
    """TINY with changes, written with a double underscore for the dot: tiny(model__width=32)."""
    return TINY.replace({key.replace("__", "."): value for key, value in changes.items()})


def tiny_tokenizer(config: Config = TINY, seed: int = 0) -> Tokenizer:
    return new_tokenizer(config.tokenizer, config.data.channels, torch_generator(seed, "test")).eval()


def lively(config: Config) -> Tokenizer:
    """Untrained, but with weights so large that different patches get different ids."""
    tokenizer = tiny_tokenizer(config)
    roughen(tokenizer.encoder, torch_generator(0, "lively"))
    return tokenizer


def subject(config: Config = TINY, **changes: Any) -> Subject:
    return replace(Subject(config, MovingMnist(config.data), lively(config)), **changes)


def tiny_transformer(config: Config = TINY, seed: int = 0, dtype: torch.dtype = torch.float64) -> VideoTransformer:
    """In float64, with weights so large that everything which can have an influence has a visible one."""
    generator = torch_generator(seed, "test")
    model = VideoTransformer.new(config, generator)
    roughen(model, generator)
    model.features_VK.copy_(torch.randn(model.features_VK.shape, generator=generator))
    model.codes_VK = torch.randn(model.codebook_size, 3, generator=generator)
    return model.to(dtype).eval()


def roughen(module: nn.Module, generator: torch.Generator, std: float = 0.3) -> None:
    for parameter in module.parameters():
        parameter.data += std * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


def random_tokens(config: Config = TINY, clips: int = 2, frames: int | None = None, seed: int = 0) -> Tensor:
    """Token grids int64 (B, T, h, w)."""
    shape = (clips, config.data.clip_frames if frames is None else frames, config.grid, config.grid)
    return torch.randint(config.tokenizer.codebook_size, shape, generator=torch_generator(seed, "tokens"))
