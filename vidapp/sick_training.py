"""Trains the bundled example runs anew: `python -m vidapp.sick_training [NAME ...] [--steps N]`.

One healthy run, and four of the same seed, data and number of steps that have one defect each. Two of the defects are no setting: the loss that
counts visible tokens, and the codebook that collapses. They are made here, by phases of their own; the trainer itself knows nothing of them.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from .batches import TokenBatch
from .checkpoint import load_tokenizer
from .config import Config
from .data.source import open_source
from .device import autocast
from .files import read_json, write_json
from .objective import MaskedLogits
from .presets import preset
from .ranks import ALONE
from .run_folder import CONFIG, METRICS, STATUS
from .run_writer import RunWriter
from .sick_runs import COLLAPSED, HEALTHY, SICK_RUNS, VISIBLE, Example, folder_of
from .tokenizer_choice import BUNDLED
from .tokenizer_phase import TokenizerPhase
from .train import Loop, run_phase
from .transformer import clean_past_view
from .transformer_phase import TransformerPhase

STEPS, TOKENIZER_STEPS = 250, 240
KEPT = ("state", "step", "total", "created", "attempt", "phase", "best_step")  # of the status: not where it was trained
CPU = torch.device("cpu")
COLOURS = 16  # of a stored strip: grey pictures lose nothing that can be seen
FAR = 2.0  # how far off the codes of the collapsing codebook begin, in times of their ordinary size


def base_config(steps: int = STEPS) -> Config:
    """What all five share: the `debug` preset with Muon, clips of ten frames, the bundled tokenizer."""
    return preset("debug").replace(
        {
            "data.clip_frames": 10,
            "data.context_frames": 5,
            "recipe.optimizer": "muon",
            "recipe.batch_size": 4,
            "recipe.warmup_steps": 20,
            "recipe.precision": "float32",
            "recipe.tokenizer_steps": TOKENIZER_STEPS,
            "recipe.tokenizer_batch_size": 16,
            "run.steps": steps,
            "run.log_every": 5,
            "run.validate_every": 25,
            "run.sample_every": 125,
            "run.checkpoint_every": steps,
            "run.device": "cpu",
        }
    )


class VisibleLossPhase(TransformerPhase):
    """Defect: the loss counts every token of the frames to be predicted, also those that the model is shown."""

    def predict(self, step: int, samples: range) -> tuple[TokenBatch, MaskedLogits]:
        batch = self.batch(step, samples)
        tokens, first = batch.tokens_BTHW, batch.first
        clean = tokens.shape[1] - 1
        shown = torch.where(torch.from_numpy(batch.masked_BTHW), self.model.mask_id, tokens)
        view = clean_past_view(clean, first, clean + 1, self.device, batch.cut_B(self.device))
        with autocast(self.device, self.precision):
            states = self.model(torch.cat([tokens[:, :clean], shown[:, first:]], dim=1), view, skip=clean).flatten(0, -2)
            everywhere = torch.zeros(tokens.shape, dtype=torch.bool)
            everywhere[:, first:] = True
            positions = everywhere.flatten().nonzero()[:, 0]
            return batch, MaskedLogits(self.model.logits(states).float(), tokens.flatten()[positions], positions.numpy())

    def backward(self, step: int, samples: range, masked: int, measure: bool) -> tuple[Tensor, Tensor | None]:
        frames, context = self.config.data.clip_frames, self.config.data.context_frames
        return super().backward(step, samples, len(samples) * (frames - context) * self.config.grid**2, measure)


class CollapsingPhase(TokenizerPhase):
    """Defect: codes begin far from what the encoder says, and those that are never chosen are not restarted."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        codebook: Any = self.tokenizer.quantizer._codebook
        codebook.threshold_ema_dead_code = 0
        for name in ("embed", "embed_avg"):
            getattr(codebook, name).mul_(FAR)
        self.update.before = [buffer.clone() for buffer in self.update.buffers]


def trained(example: Example, config: Config, run: RunWriter) -> Iterator[dict[str, Any]]:
    """The training of one example."""
    source = open_source(config.data)
    if example is COLLAPSED:
        first = CollapsingPhase(config, source, CPU, ALONE)
        yield from run_phase(Loop(first, config, run, CPU, ALONE), None)
        tokenizer = first.tokenizer
    else:
        tokenizer, _ = load_tokenizer(BUNDLED)
    kind = VisibleLossPhase if example is VISIBLE else TransformerPhase
    phase = kind(config, source, tokenizer, CPU, config.recipe.precision, ALONE)
    yield from run_phase(Loop(phase, config, run, CPU, ALONE), None)


def make(example: Example, steps: int, place: Path) -> None:
    """Train an example and put what can be looked at into its folder below `place`: settings, metrics, status and strips."""
    config = base_config(steps).replace(dict(example.change))
    with tempfile.TemporaryDirectory() as folder:
        with RunWriter.create(example.name, config, Path(folder)) as run, tqdm(total=steps, desc=example.name, file=sys.stderr) as bar:
            for line in trained(example, config, run):
                if line["phase"] == "transformer":
                    bar.update(line["step"] - bar.n)
        target = folder_of(example.name, place)
        shutil.rmtree(target, ignore_errors=True)
        (target / "samples").mkdir(parents=True)
        for name in (CONFIG, METRICS):
            shutil.copyfile(run.path / name, target / name)
        status = read_json(run.path / STATUS) or {}
        write_json(target / STATUS, {key: status[key] for key in KEPT if key in status})
        for strip in (run.path / "samples").glob("*.png"):
            with Image.open(strip) as image:
                image.convert("L").quantize(COLOURS).save(target / "samples" / strip.name, format="PNG", optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m vidapp.sick_training", description="Train the bundled example runs anew.")
    parser.add_argument("names", nargs="*", default=[], help=f"which, of {', '.join(SICK_RUNS)}; default all")
    parser.add_argument("--steps", type=int, default=STEPS, help="optimiser steps of each")
    parser.add_argument("--out", type=Path, default=folder_of(HEALTHY.name).parent, help="where their folders go")
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in SICK_RUNS]
    if unknown:
        parser.error(f"there is no example {unknown[0]!r}: use {', '.join(SICK_RUNS)}")
    for name in asked.names or SICK_RUNS:
        make(SICK_RUNS[name], asked.steps, asked.out)


if __name__ == "__main__":
    main()
