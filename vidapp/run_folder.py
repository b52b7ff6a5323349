"""Where everything lies in a run folder: the names that whoever trains and whoever watches agree on."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from .config import PHASES
from .files import FileLock

CONFIG, STATUS, CONTROL, METRICS, LOCK, ERROR_LOG = "config.json", "status.json", "control.json", "metrics.jsonl", ".lock", "error.log"
TOKENIZER = "tokenizer.json"  # which checkpoints the run took its tokenizer and its first weights from
LAUNCH, LAUNCH_LOG = "launch.json", "launch.log"  # by how many processes it was started from the page, and what they printed
KEEPER = "VIDAPP_KEEPER"  # environment of processes that were started for a run: who keeps its place until one of them takes it up
BEST_BY = "validation_loss_full"  # the figure by which a checkpoint is a run's best
QUEUED = "queued"  # waits for its turn; nobody need be alive for that
LIVE_STATES = ("starting", "running", "paused")
FINAL_STATES = ("finished", "stopped", "failed")
COMMANDS = ("stop", "pause", "resume", "save", "sample")
_PREFIX = {"transformer": "step", "tokenizer": "tokenizer-step"}
_STEP = re.compile(r"(?P<prefix>step|tokenizer-step)-(?P<step>\d{8,18})", re.ASCII)


def runs_folder() -> Path:
    """Where runs live: VIDAPP_RUNS, else `runs` in the working folder. It need not exist yet."""
    return Path(os.environ.get("VIDAPP_RUNS") or "runs").absolute()


@contextlib.contextmanager
def steering(folder: Path) -> Iterator[None]:
    """Alone with a run's control.json: two pages may press buttons at once."""
    lock = FileLock(folder / ".control.lock")
    lock.acquire(wait=True)
    try:
        yield
    finally:
        lock.release()


def refuse_links(folder: Path) -> None:
    """ValueError where a part of a run folder is a link, or neither file nor folder: whoever trains writes and deletes in it."""
    for place in (folder, folder / "checkpoints", folder / "samples"):
        with contextlib.suppress(FileNotFoundError), os.scandir(place) as entries:
            for entry in entries:
                if not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)):
                    name = Path(entry.path).relative_to(folder)
                    raise ValueError(f"{name} of run {folder.name!r} is a link or no ordinary file: put what it stands for in its place")


def step_stem(step: int, phase: str = "transformer") -> str:
    """`step-00000500`, or `tokenizer-step-00000500` in the tokenizer phase; ValueError for an unknown phase or a negative step."""
    if step < 0:
        raise ValueError(f"step {step} is negative: steps count from 0")
    return f"{_prefix(phase)}-{step:08d}"


def checkpoint_path(folder: Path, step: int, phase: str = "transformer") -> Path:
    return folder / "checkpoints" / f"{step_stem(step, phase)}.safetensors"


def resume_paths(folder: Path, step: int, phase: str = "transformer") -> tuple[Path, Path]:
    """The tensors and the JSON state that continue exactly from `step`."""
    stem = step_stem(step, phase)
    return folder / "checkpoints" / f"{stem}.resume.safetensors", folder / "checkpoints" / f"{stem}.resume.json"


def checkpoint_steps(folder: Path, phase: str = "transformer") -> list[int]:
    """Steps that have a checkpoint file, ascending. A checkpoint is renamed into place when whole, so each can be sampled from."""
    return _steps_with(folder, ".safetensors", phase)


def complete_steps(folder: Path, phase: str = "transformer") -> list[int]:
    """Steps whose checkpoint and resume part are both there, ascending: training can go on from any of them."""
    parts = [set(_steps_with(folder, ending, phase)) for ending in (".safetensors", ".resume.safetensors", ".resume.json")]
    return sorted(set.intersection(*parts))


def resume_steps(folder: Path, phase: str = "transformer") -> list[int]:
    """Steps with any part of a resume state, ascending."""
    return sorted({step for ending in (".resume.safetensors", ".resume.json") for step in _steps_with(folder, ending, phase)})


def moment_of(name: str) -> tuple[int, int] | None:
    """(index of the phase, step) in a file's name, None where there is none. Later is larger."""
    match = _STEP.match(name)
    if match is None:
        return None
    return next(PHASES.index(phase) for phase, prefix in _PREFIX.items() if prefix == match["prefix"]), int(match["step"])


def _prefix(phase: str) -> str:
    if phase not in _PREFIX:
        raise ValueError(f"unknown phase {phase!r}: use one of {', '.join(PHASES)}")
    return _PREFIX[phase]


def _steps_with(folder: Path, ending: str, phase: str) -> list[int]:
    try:
        names = os.listdir(folder / "checkpoints")
    except OSError:
        return []
    prefix, steps = _prefix(phase), []
    for name in names:
        match = _STEP.match(name)
        if match and match["prefix"] == prefix and name[match.end() :] == ending:
            steps.append(int(match["step"]))
    return sorted(steps)
