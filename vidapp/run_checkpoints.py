"""What happens to the checkpoints and metrics of a run folder: commit, prune, cut back to a checkpoint."""

import contextlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from . import run_folder
from .config import PHASES
from .files import plain, replacing, write_bytes, write_json
from .run_reader import parse_lines

Save = Callable[[Path], object]  # writes a file at the path it is given


def commit(folder: Path, step: int, phase: str, *, checkpoint: Save, tensors: Save, state: dict[str, Any]) -> None:
    """Write the resume part, then the checkpoint, whose rename is the commit mark. A failure leaves neither behind and is raised."""
    resume_tensors, resume_state = run_folder.resume_paths(folder, step, phase)
    final = run_folder.checkpoint_path(folder, step, phase)
    final.parent.mkdir(exist_ok=True)
    plain(state)  # what cannot be written is a bug to hear of before anything is
    try:
        with replacing(resume_tensors) as temporary:
            tensors(temporary)
        write_json(resume_state, state)
        with replacing(final) as temporary:
            checkpoint(temporary)
    except BaseException:
        for path in () if final.exists() else (resume_state, resume_tensors):
            _delete(path)  # on a full disk the room is needed
        raise


def prune(folder: Path, keep: int, protect: Collection[int] = (), phase: str = "transformer") -> list[int]:
    """Delete all but the `keep` newest checkpoints, those in `protect` and the newest complete pair; returns the deleted steps."""
    complete = run_folder.complete_steps(folder, phase)
    if not complete:
        return []
    steps = run_folder.checkpoint_steps(folder, phase)
    spared = {*steps[max(0, len(steps) - keep) :], *protect, complete[-1]}
    gone = [step for step in steps if step not in spared and step < complete[-1]]
    for step in gone:
        _delete(run_folder.checkpoint_path(folder, step, phase))  # first: a checkpoint without its resume part would count as kept
    for step in run_folder.resume_steps(folder, phase):
        if step < complete[-1] and not run_folder.checkpoint_path(folder, step, phase).exists():
            for path in run_folder.resume_paths(folder, step, phase):
                _delete(path)
    return gone


def cut_metrics(folder: Path, step: int, phase: str, attempt: int) -> int:
    """Move the lines beyond `step` of `phase` from metrics.jsonl to `metrics.cut-<attempt>.jsonl`; returns how many.

    Torn lines go with them. The cut lines are safe on disk before the file is replaced.
    """
    path = folder / run_folder.METRICS
    try:
        lines = [line for line in path.read_bytes().split(b"\n") if line]
    except FileNotFoundError:
        return 0
    kept: list[bytes] = []
    cut: list[bytes] = []
    for line in lines:
        (kept if _kept(line, step, phase) else cut).append(line)
    if cut:
        aside = folder / f"metrics.cut-{attempt}.jsonl"
        before = aside.read_bytes() if aside.exists() else b""  # an attempt that goes back in two phases cuts twice
        write_bytes(aside, before + b"\n".join(cut) + b"\n")
        write_bytes(path, b"".join(line + b"\n" for line in kept))
    return len(cut)


def set_aside(folder: Path, step: int, phase: str, attempt: int) -> None:
    """Move checkpoints beyond `step` of `phase` to `checkpoints/aside-<attempt>/`, and delete resume parts there without one.

    Training goes on from `step`, so that a later one, damaged or of another schedule, must not be taken for its result.
    """
    aside = folder / "checkpoints" / f"aside-{attempt}"
    for other in PHASES[PHASES.index(phase) :]:
        first = step + 1 if other == phase else 0
        for later in run_folder.checkpoint_steps(folder, other):
            if later >= first:
                aside.mkdir(exist_ok=True)
                paths = (run_folder.checkpoint_path(folder, later, other), *run_folder.resume_paths(folder, later, other))
                for path in filter(Path.exists, paths):
                    path.replace(aside / path.name)
        for later in run_folder.resume_steps(folder, other):
            if later >= first:
                for path in run_folder.resume_paths(folder, later, other):
                    _delete(path)


def _kept(line: bytes, step: int, phase: str) -> bool:
    parsed = parse_lines(line)
    if not parsed:
        return False
    at, its_phase = parsed[0].get("step"), parsed[0].get("phase", PHASES[-1])
    if not isinstance(at, int) or its_phase not in PHASES:
        return True
    return (PHASES.index(its_phase), at) <= (PHASES.index(phase), step)


def _delete(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
