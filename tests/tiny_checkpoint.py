"""A checkpoint small enough to make in a test: real format, real shapes, weights that have learnt nothing."""

from pathlib import Path

from vidapp.config import Config
from vidapp.presets import preset

SMALL = {
    "model.width": 32,
    "model.layers": 1,
    "model.heads": 2,
    "tokenizer.channels": 8,
    "tokenizer.levels": (4, 4, 4),
    "tokenizer.encoder_blocks": 0,
    "tokenizer.decoder_blocks": 0,
    "data.size": 32,
    "data.clip_frames": 12,
    "data.context_frames": 6,
    "sampling.steps": 2,
}


def tiny_config(**changes: object) -> Config:
    """A debug config of 4x4 tokens a frame; `changes` by dotted key with `__` for the dot."""
    return preset("debug").replace({**SMALL, **{key.replace("__", "."): value for key, value in changes.items()}})


def write_tiny_checkpoint(path: Path, config: Config | None = None, *, step: int = 7) -> Path:
    """Write one and return its path. Weights come from a fixed seed, so its samples are the same every time."""
    from vidapp.checkpoint import save_checkpoint
    from vidapp.randomness import torch_generator
    from vidapp.tokenizer import new_tokenizer
    from vidapp.transformer import VideoTransformer

    config = config or tiny_config()
    tokenizer = new_tokenizer(config.tokenizer, config.data.channels, torch_generator(0, "tokenizer"))
    transformer = VideoTransformer.new(config, torch_generator(0, "transformer"))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, config, tokenizer, transformer.state_dict(), step=step, metrics={"validation_loss_full": 4.2})
    return path
