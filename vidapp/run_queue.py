"""Runs that wait for their turn: folders in the state `queued`, so that the queue outlives whoever looks after it."""

import contextlib
import time
from pathlib import Path

from .config import Config
from .files import read_json, write_json
from .run_folder import LAUNCH, QUEUED, TOKENIZER
from .run_reader import RunReader, list_runs, unix_time
from .run_writer import RunWriter
from .trackers import refuse_missing_tracker


def enqueue(
    config: Config | None, name: str | None = None, *, resume: bool = False, tokenizer: Path | None = None, processes: int = 1
) -> str:
    """Put a new run, or with `resume` one that has ended, at the end of the queue; returns its name.

    processes: how many are to train it. ValueError as by `open_writer`. `RunReader.send("stop")` takes it out again.
    """
    with contextlib.closing(open_writer(config, name, resume=resume)) as run:
        if not (run.path / TOKENIZER).exists():
            write_json(run.path / TOKENIZER, {"checkpoint": str(tokenizer.resolve()) if tokenizer else None})
        note_processes(run.path, processes)
        before = RunReader(run.path).status()
        run.status(QUEUED, before.step, before.total, queued_at=time.time())
    return run.name


def open_writer(config: Config | None, name: str | None, *, resume: bool) -> RunWriter:
    """The folder of a new run, or of one that is resumed (`config` None: with its own).

    ValueError, and no folder is made, where config or name is missing, the tracker is not installed, or as by RunWriter.create and .resume.
    """
    if config is not None:
        refuse_missing_tracker(config)
    if resume:
        if name is None:
            raise ValueError("which run is to be resumed? give its name")
        return RunWriter.resume(name, config)
    if config is None:
        raise ValueError("a new run needs a config: give one, or resume an existing run by its name")
    return RunWriter.create(name, config)


def queued() -> list[RunReader]:
    """The runs that wait, the next one first."""
    waiting = [(unix_time(status.extra.get("queued_at")), run.name, run) for run in list_runs() if (status := run.status()).state == QUEUED]
    return [run for _, _, run in sorted(waiting, key=lambda entry: entry[:2])]


def tokenizer_of(run: RunWriter) -> Path | None:
    """The checkpoint that a run was given its tokenizer from when it was put into the queue."""
    path = (read_json(run.path / TOKENIZER) or {}).get("checkpoint")
    return Path(str(path)) if path else None


def processes_of(path: Path) -> int:
    """How many processes a run is to be trained by when it is started here."""
    number = (read_json(path / LAUNCH) or {}).get("processes")
    return number if isinstance(number, int) and not isinstance(number, bool) and number > 1 else 1


def note_processes(path: Path, processes: int) -> None:
    """Remember in a run folder how many processes are to train it."""
    if processes > 1 or (path / LAUNCH).exists():
        write_json(path / LAUNCH, {"processes": processes})
