"""Whole trainings, tiny ones, and what they leave behind: for tests of resuming, faults and many processes."""

from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from tiny import tiny
from torch import Tensor, equal

from vidapp import run_folder
from vidapp.config import Config
from vidapp.run_reader import RunReader
from vidapp.run_writer import RunWriter

# Between them: both optimisers and quantizers, dropout, augmentation, averaging, corruption, a curriculum, accumulation.
EVERYTHING = {
    "fsq, adamw": tiny(
        model__dropout=0.2,
        recipe__rotation=10,
        recipe__brightness=0.2,
        recipe__contrast=0.2,
        recipe__horizontal_flip=0.5,
        recipe__context_corruption=0.2,
        recipe__curriculum="2,4",
        recipe__micro_batches=2,
        recipe__gradient_clip=0.5,
        run__keep_checkpoints=2,
    ),
    "vq, muon": tiny(
        model__dropout=0.1,
        model__attention="full",
        model__positions="relative",
        tokenizer__quantizer="vq",
        recipe__optimizer="muon",
        recipe__random_context=True,
        recipe__rotation=5,
        recipe__gradient_checkpointing=True,
        run__keep_checkpoints=1,
    ),
}


def train_to_end(name: str, config: Config, folder: Path, resume: bool = False) -> None:
    """Train the run `name` in `folder`, from its start or from where it is, until it ends."""
    from vidapp.train import train

    with RunWriter.resume(name, config, folder) if resume else RunWriter.create(name, config, folder) as run:
        for _ in train(config, run):
            pass


def left_behind(path: Path, step: int) -> dict[str, Tensor]:
    """All weights of the checkpoint at `step` of the run in `path`, and everything beside it that a resume needs."""
    tensors, _ = run_folder.resume_paths(path, step)
    return load_file(run_folder.checkpoint_path(path, step)) | {f"resume.{name}": tensor for name, tensor in load_file(tensors).items()}


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """Names of tensors that are not the same to the last bit, NaN included."""
    return sorted(one.keys() ^ other.keys()) + sorted(name for name in one.keys() & other.keys() if not equal(one[name], other[name]))


def curve(path: Path) -> list[dict[str, Any]]:
    """The metrics but for what the clock and the machine decide."""
    clock = ("attempt", "time_s", "seconds_per_step", "tokens_per_second", "frames_per_second", "memory_mib")
    return [{key: value for key, value in line.items() if key not in clock} for line in RunReader(path).metrics()[0]]
