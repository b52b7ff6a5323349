"""A subject for the checklist from a config: its device, and a tokenizer, trained for a moment where there is none yet."""

from pathlib import Path

from ..checkpoint import load_tokenizer
from ..config import Config
from ..data.source import ClipSource
from ..device import pick_device, pick_precision
from ..tokenizer import Tokenizer, new_tokenizer
from ..tokenizer_choice import called
from ..tokenizer_phase import TokenizerPhase
from .subject import Subject
from .verdict import Progress

TOKENIZER_STEPS = 300


def open_subject(config: Config, source: ClipSource, tokenizer: Path | None, progress: Progress) -> tuple[Subject, list[str]]:
    """The subject, and notes for a person. tokenizer: a checkpoint that fits (see `choose_tokenizer`), None to train one briefly.

    Raises ValueError where the device is missing or the checkpoint cannot be used.
    """
    device = pick_device(config.run.device)
    if tokenizer is not None:
        trained, notes = load_tokenizer(tokenizer)[0], [called(tokenizer)]
    elif config.tokenizer.quantizer == "ids":
        trained, notes = new_tokenizer(config.tokenizer, config.data.channels), ["the data are token ids: there is no tokenizer"]
    else:
        steps = min(TOKENIZER_STEPS, config.recipe.tokenizer_steps)
        notes = [f"tokenizer trained for {steps} steps just now (recipe.tokenizer_steps is {config.recipe.tokenizer_steps})"]
        trained = brief_tokenizer(config, source, steps, progress)
    subject = Subject(config, source, trained.to(device).eval().requires_grad_(False), device, pick_precision(config, device))
    return subject, notes


def brief_tokenizer(config: Config, source: ClipSource, steps: int, progress: Progress) -> Tokenizer:
    brief = config.replace({"recipe.tokenizer_steps": steps, "run.validation_clips": 2})
    phase = TokenizerPhase(brief, source, pick_device(config.run.device))
    for step in range(steps):
        phase.train_step(step, False)
        progress((step + 1) / steps)
    return phase.tokenizer
