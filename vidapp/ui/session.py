"""What the tabs share: which checkpoints can be chosen, and the few that are kept loaded.

Nothing here belongs to one visitor. A choice is a short text (`bundled`, `run:NAME:STEP`, `dropped`) that is resolved
again at each use, so that a page that was opened yesterday, or a forged one, can name nothing else.
"""

import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import Config
from ..files import resolve_inside
from ..runs import list_runs, open_run

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint, Header

BUNDLED = Path(__file__).resolve().parents[2] / "assets" / "moving-mnist.safetensors"
BUNDLED_CONFIG = Config().replace({"sampling.steps": 2})  # as far as data and sampling go; a test compares it with the file
BUNDLED_CHOICE, DROPPED_CHOICE = "bundled", "dropped"
PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle")  # files of these may run code when they are read
RUNS_LISTED, STEPS_LISTED = 40, 3
HELD = 3
HELD_BYTES = 1 << 30  # of checkpoint files; a loaded one takes two to four times as much
NONE_YET = "There is no checkpoint yet: drop one into the box, or train one in the Train tab."


def checkpoint_choices(dropped: str | None = None) -> list[tuple[str, str]]:
    """(label, choice) of the checkpoints that there are: the dropped one, the bundled one, then those of runs, newest first, with the
    best of each."""
    choices = [(f"{Path(dropped).name} (dropped here)", DROPPED_CHOICE)] if dropped else []
    if BUNDLED.is_file():
        choices.append(("Moving MNIST (bundled)", BUNDLED_CHOICE))
    for run in list_runs()[:RUNS_LISTED]:
        best = run.status().extra.get("best_step")
        for place, (step, _) in enumerate(run.checkpoints()):
            if place < STEPS_LISTED or step == best:
                choices.append((f"{run.name}, step {step:,}{' (best)' if step == best else ''}", run_choice(run.name, step)))
    return choices


def offered(choice: str | None, dropped: str | None = None) -> tuple[list[tuple[str, str]], str | None, str]:
    """The checkpoints that there are now, which of them is chosen, and a sentence where that is another one than `choice`.

    A choice stays as long as its file is there, also where the list alone would not name it. Of a run whose file is gone the newest is
    chosen.
    """
    choices = checkpoint_choices(dropped)
    if choice in [value for _, value in choices]:
        return choices, choice, ""
    first = choices[0][1] if choices else None
    run, step = run_of(choice)
    if not run:
        return choices, first, ""
    own = (f"{run}, step {step:,}", str(choice))
    try:
        find_checkpoint(choice)
    except ValueError:
        newest = next((one for one in choices if run_of(one[1])[0] == run), None)
        why = "runs keep their newest checkpoints and the best" if newest else "its run has none any more, or is gone itself"
        label, value = newest or (choices[0] if choices else ("", None))
        return choices, value, f"{own[0]} is gone: {why}. {label} is chosen now." if label else ""
    return [*choices, own], choice, ""


def trusted(choice: str | None) -> bool:
    """Whether the data that a checkpoint names may be opened here: a file that a visitor brought can name any path."""
    return choice != DROPPED_CHOICE


def run_choice(run: str, step: int) -> str:
    return f"run:{run}:{step}"


def run_of(choice: str | None) -> tuple[str, int]:
    """The run and the step of a choice; an empty name where it is of no run."""
    kind, _, rest = (choice or "").partition(":")
    name, _, step = rest.rpartition(":")
    return (name, int(step)) if kind == "run" and step.isdecimal() else ("", 0)


def first_choice() -> str | None:
    choices = checkpoint_choices()
    return choices[0][1] if choices else None


def newest_of_run(name: str) -> str:
    """The choice of a run's newest checkpoint; ValueError where it has none yet."""
    checkpoints = open_run(name).checkpoints()
    if not checkpoints:
        raise ValueError(f"run {name!r} has no checkpoint to sample from yet: press Save now, or wait for the next one")
    return run_choice(name, checkpoints[0][0])


def find_checkpoint(choice: str | None, dropped: str | None = None) -> Path:
    """The file of a choice; `dropped` is the path of an uploaded file. ValueError where there is none (any more)."""
    if choice == DROPPED_CHOICE:
        if not dropped:
            raise ValueError("no checkpoint file was dropped yet: drop a .safetensors file into the box, or choose another checkpoint")
        return Path(dropped)
    if choice == BUNDLED_CHOICE:
        if not BUNDLED.is_file():
            raise ValueError(f"the bundled checkpoint {BUNDLED.name} is missing from {BUNDLED.parent}: train one, or drop one into the box")
        return BUNDLED
    name, step = run_of(choice)
    if not name:
        raise ValueError(f"unknown checkpoint {choice!r}: choose bundled, run:NAME:STEP, or one from the list" if choice else NONE_YET)
    run = open_run(name)
    for known, path in run.checkpoints():
        if known == step:
            return resolve_inside(run.path, path)
    raise ValueError(f"run {name!r} no longer has a checkpoint of step {step}: choose a newer one (runs keep only the newest)")


def config_of(choice: str | None, dropped: str | None = None) -> Config:
    """The config behind a choice. Only a dropped file has to be opened for it, which imports torch the first time."""
    if choice == DROPPED_CHOICE:
        return read_header(find_checkpoint(choice, dropped)).config
    name, _ = run_of(choice)
    return open_run(name).config() if name else BUNDLED_CONFIG


def read_header(path: Path) -> "Header":
    """What a checkpoint says of itself. The first call may take seconds: it imports torch."""
    from ..checkpoint import read_header

    return read_header(path)


def check(path: Path) -> None:
    """ValueError where a file is no checkpoint that could be loaded. Its weights are read one at a time, and none is kept."""
    if path.suffix.lower() in PICKLES:
        raise ValueError(
            f"{path.name} is a pickle, which is never opened: save the weights as .safetensors (a vidapp checkpoint, as training writes them)"
        )
    from ..checkpoint import check_checkpoint

    check_checkpoint(path)
    refuse_too_large(path)


def refuse_too_large(path: Path, clips: int = 1) -> None:
    """ValueError where sampling so many clips at once would take more memory than is free, or a single pass so long that the page stood
    still."""
    from ..preflight import refuse_too_large_to_sample, refuse_too_slow_to_sample

    config = read_header(path).config
    refuse_too_large_to_sample(config, path.name, clips)
    refuse_too_slow_to_sample(config, path.name)


class CheckpointCache:
    """The checkpoints that were used last, loaded; bounded in number and size. A file that changed is loaded again."""

    def __init__(self, held: int = HELD, held_bytes: int = HELD_BYTES) -> None:
        self.held, self.held_bytes = held, held_bytes
        self.lock = threading.Lock()
        self.kept: OrderedDict[tuple[Path, int, int], Checkpoint] = OrderedDict()

    def load(self, path: Path) -> "Checkpoint":
        """The checkpoint of a file; ValueError where it is damaged. Two callers never load the same file twice."""
        from ..checkpoint import load_checkpoint
        from ..device import pick_device

        try:
            facts = path.stat()
        except OSError as error:
            raise ValueError(f"cannot read the checkpoint {path.name}: {error.strerror or error}") from error
        key = (path.resolve(), facts.st_mtime_ns, facts.st_size)
        with self.lock:
            if key not in self.kept:
                refuse_too_large(path)
                self.make_room(facts.st_size)
                self.kept[key] = load_checkpoint(path, pick_device("auto"))
            self.kept.move_to_end(key)
            return self.kept[key]

    def make_room(self, size: int) -> None:
        while self.kept and (len(self.kept) >= self.held or size + sum(key[2] for key in self.kept) > self.held_bytes):
            self.kept.popitem(last=False)

    def clear(self) -> None:
        with self.lock:
            self.kept.clear()


CHECKPOINTS = CheckpointCache()
