"""What Debug can look at: the run that is yet to be started, a run, the bundled checkpoint, a preset. A choice is a short text that is
resolved anew at each use, so a page can name nothing else."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import Config
from ..presets import PRESETS, preset
from ..runs import RunReader, list_runs
from ..sick_runs import choices as example_choices
from ..sick_runs import example_of, is_example, open_any
from . import session, sources
from .drafts import Draft

DRAFT, BUNDLED = "draft", "bundled"
RUNS_LISTED = 60
NO_CHECKPOINT = "there is no checkpoint to look at: choose a run that has saved one, or the bundled checkpoint"


@dataclass(frozen=True)
class Case:
    """check: arguments of `python -m vidapp check` that name it; `{folder}` holds config.json."""

    choice: str
    title: str
    config: Config
    check: tuple[str, ...]
    checkpoint: Path | None = None
    run: RunReader | None = None

    def key(self, *question: object) -> str:
        """The same for the same question about the same thing: the settings and the checkpoint count, too."""
        parts = [self.choice, self.config.to_dict(), str(self.checkpoint or ""), *map(str, question)]
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()

    @property
    def trained(self) -> Path:
        """Its checkpoint; ValueError where it has none."""
        if self.checkpoint is None:
            raise ValueError(NO_CHECKPOINT)
        return self.checkpoint


def choices(*, readonly: bool = False) -> list[tuple[str, str]]:
    """(label, choice) of what there is, the likeliest first."""
    found = [] if readonly else [("The new run, as it is configured", DRAFT)]
    found += [(f"Run {run.name}", f"run:{run.name}") for run in list_runs()[:RUNS_LISTED]]
    found += [(label, f"run:{name}") for label, name in example_choices()]
    if session.BUNDLED.is_file():
        found.append(("The bundled checkpoint", BUNDLED))
    return found + [(f"Preset {name}", f"preset:{name}") for name in PRESETS]


def case_of(choice: str | None, draft: Any) -> Case:
    """What a choice stands for; `draft` is what the page holds of the new run. ValueError where it is none (any more)."""
    kind, _, name = (choice or "").partition(":")
    written = ("--config", "{folder}/config.json")
    if choice == DRAFT:
        return Case(DRAFT, "the new run", sources.resolved(Draft.of_value(draft).sound().config), written)
    if kind == "preset":
        return Case(f"preset:{name}", f"preset {name}", preset(name), written)
    if choice == BUNDLED:
        path = session.find_checkpoint(session.BUNDLED_CHOICE)
        return Case(BUNDLED, "the bundled checkpoint", session.read_header(path).config, ("--checkpoint", str(path)), path)
    if kind == "run":
        run = open_any(name)
        checkpoints = run.checkpoints()
        called = name if is_example(name) else run.name
        title = f"bundled example: {example_of(name).title}" if is_example(name) else f"run {run.name}"
        return Case(f"run:{called}", title, run.config(), (f"--run={called}",), checkpoints[0][1] if checkpoints else None, run)
    raise ValueError(f"unknown choice {choice!r}: choose from the list" if choice else "nothing is chosen to look at: choose from the list")


def run_of(choice: str | None) -> RunReader | None:
    """The run or example that a choice names; None where it names none (any more)."""
    kind, _, name = (choice or "").partition(":")
    try:
        return open_any(name) if kind == "run" and name else None
    except ValueError:
        return None
