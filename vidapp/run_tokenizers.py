"""The tokenizers that runs on somebody's own clips have trained, for the runs that follow: minutes saved each time, and losses that can be
compared. Knows configs and files alone: torch is not needed to choose one."""

import contextlib
from pathlib import Path

from . import run_folder
from .config import MOVING_MNIST, Config
from .run_reader import RunReader, list_runs

SAME = ("data.source", "data.channels", "data.size")  # besides the tokenizer's own settings
LOOKED_THROUGH = 200  # runs, the newest first


def trained_before(config: Config, folder: Path | None = None) -> RunReader | None:
    """The newest run that has trained a tokenizer to its end on the same clips with the same settings, for at least as many steps; None
    where there is none, or the config asks for a new one. Moving MNIST has bundled ones, and ids have none."""
    recipe = config.recipe
    if recipe.tokenizer_source == "new" or config.tokenizer.quantizer == "ids" or config.data.source in MOVING_MNIST:
        return None
    for run in list_runs(folder)[:LOOKED_THROUGH]:
        with contextlib.suppress(ValueError):
            theirs = run.config()
            differences = config.differences(theirs)
            alike = not any(key in SAME or key.startswith("tokenizer.") for key in differences)
            if alike and theirs.recipe.tokenizer_steps >= recipe.tokenizer_steps and tokenizer_in(run).is_file():
                return run
    return None


def tokenizer_in(run: RunReader) -> Path:
    """Where the tokenizer lies that a run has trained to its end."""
    return run_folder.checkpoint_path(run.path, run.config().recipe.tokenizer_steps, "tokenizer")


def tokenizer_for(config: Config) -> Path | None:
    """What a run that is started on the page takes its tokenizer from: what fits of those that are bundled, or of an earlier run; None where
    it trains its own first."""
    from .tokenizer_choice import choose_tokenizer

    chosen = choose_tokenizer(config)
    if chosen is None and (run := trained_before(config)):
        return tokenizer_in(run)
    return chosen
