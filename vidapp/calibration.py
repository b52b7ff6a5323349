"""How long a run will take, from steps of it that are really made here and then thrown away."""

import time
from dataclasses import replace

import torch

from .config import Config
from .data.source import ClipSource
from .device import pick_device
from .preflight import Preflight
from .randomness import torch_generator
from .tokenizer import new_tokenizer
from .tokenizer_phase import TokenizerPhase
from .transformer_phase import TransformerPhase

PLACES = (0.875, 0.125, 0.375, 0.625, 0.875)  # of the run, since clips may grow over it; the first step only warms up
MOST_S = 4.0  # that measuring may take, by the estimate
MOST_SHARE = 0.02  # of what is left of the run


def calibrated(found: Preflight, config: Config, source: ClipSource, *, trains_tokenizer: bool) -> Preflight:
    """`found` with its time from measured steps; `found` itself where they would be dear, would not fit or fail as the run will.

    Validation, samples and checkpoints are not part of it. Sets torch's process-wide generator, as each step of a training does.
    """
    trains_tokenizer &= config.tokenizer.quantizer != "ids"
    phases = 1 + trains_tokenizer
    all_steps = config.run.steps + trains_tokenizer * config.recipe.tokenizer_steps
    expected = phases * len(PLACES) * found.seconds / all_steps
    if found.problem or expected > min(MOST_S, MOST_SHARE * found.seconds_left):
        return found
    try:
        return replace(found, seconds=measured_seconds(found, config, source, trains_tokenizer=trains_tokenizer), measured=True)
    except (ValueError, MemoryError, RuntimeError):  # the training itself will say what
        return found


def measured_seconds(found: Preflight, config: Config, source: ClipSource, *, trains_tokenizer: bool) -> float:
    device, config = pick_device(config.run.device), config.replace({"run.validation_clips": 1})
    tokenizer = new_tokenizer(config.tokenizer, config.data.channels, torch_generator(config.run.seed, "calibration"))
    seconds = seconds_of(TransformerPhase(config, source, tokenizer, device, found.precision), device)
    if trains_tokenizer:
        seconds += seconds_of(TokenizerPhase(config, source, device), device)
    return seconds


def seconds_of(phase: TransformerPhase | TokenizerPhase, device: torch.device) -> float:
    """All steps of a phase, by a few of them."""
    marks = []
    for place in PLACES:
        phase.train_step(int(place * phase.steps), measure=False)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        marks.append(time.perf_counter())
    return phase.steps * (marks[-1] - marks[0]) / (len(marks) - 1)
