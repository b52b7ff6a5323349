"""A run folder as written by whoever trains: status with heartbeat, metrics, checkpoints, and the commands left for it.

Any training loop can write one, and the app shows it live:

    with RunWriter.create("my-run", None) as run:
        for step in range(1, 1001):
            run.log({"step": step, "loss": train_one_step()})
            run.status("running", step, 1000)
            if run.poll_control().stop:
                break
"""

import contextlib
import errno
import operator
import os
import shutil
import time
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

from . import run_checkpoints, run_folder
from .config import Config
from .failures import describe_failure, reason, write_failure
from .files import (
    FileLock,
    plain,
    read_json,
    remove_temporaries,
    replacing,
    resolve_inside,
    safe_name,
    write_json,
    write_text,
)
from .liveness import SLOWEST, Process, this_process
from .run_checkpoints import Save
from .run_folder import FINAL_STATES, LIVE_STATES, QUEUED, runs_folder
from .run_names import new_folder, new_unnamed
from .run_reader import OPEN_HERE, RunReader, RunStatus, json_line

HEARTBEAT_EVERY_S = 2.0
_NOTICES = 20  # the newest are kept


@dataclass(frozen=True)
class Control:
    """What was asked of the trainer. `stop` and `pause` hold until taken back; `save` and `sample` are true once for each request."""

    stop: bool = False
    pause: bool = False
    save: bool = False
    sample: bool = False


class RunWriter:
    """The one writer of a run folder; made by `create` or `resume`. Used from one thread, except `request_stop`.

    A disk that cannot be written does not end the training: `log`, `status` and `commit` keep a notice (shown in the status
    as soon as it can be written again) and go on; a run folder that was deleted does, by `poll_control`. Leaving it as a context manager records finished, stopped or failed.
    """

    path: Path
    resumed: bool  # whether training goes on from what is there
    attempt: int  # 1 for the first, one more at each resume
    state: str

    def __init__(self, path: Path, config: Config | None, lock: FileLock, status: dict[str, Any]) -> None:
        """For `create` and `resume` only."""
        self.path, self.attempt, self.resumed = path, status["attempt"], status["attempt"] > 1
        self.notices: list[str] = []
        self._config, self._lock, self._values = config, lock, status
        self._metrics: FileIO | None = None
        self._torn = self.resumed  # the attempt before may have died within a line
        self._lost_lines = 0
        self.heard: Callable[[str], None] = lambda text: None  # is told every notice
        self._written_at = -HEARTBEAT_EVERY_S
        self._beaten_at, self._slowest_s = time.monotonic(), 0.0
        self._control_seen: tuple[int, ...] = ()
        self._control: dict[str, Any] = {}
        self._taken: dict[str, Any] = {}
        self._stop_requested = self._stop_seen = self.closed = False
        OPEN_HERE.add(path)
        self.status("starting", status["step"], status["total"])

    @classmethod
    def create(cls, name: str | None, config: Config | None, folder: Path | None = None) -> "RunWriter":
        """Make a new run folder below `folder` (default: the runs folder). Without a name it gets a readable unique one.

        `config` is None for training loops with settings of their own. ValueError: the name is unsafe or exists, or the
        folder cannot be written.
        """
        root = (folder or runs_folder()).absolute()
        path = new_folder(root, name) if name is not None else new_unnamed(root, config)
        lock = FileLock(path / run_folder.LOCK)
        lock.acquire()
        try:
            (path / "checkpoints").mkdir()
            (path / "samples").mkdir()
            write_json(path / run_folder.CONTROL, {})  # takes its room on the disk while there is some
            if config is not None:
                write_text(path / run_folder.CONFIG, config.to_json() + "\n")
        except OSError as error:
            lock.release()
            shutil.rmtree(path, ignore_errors=True)  # made a moment ago, by us alone
            raise ValueError(f"cannot write the run folder {path}: {reason(error)}") from error
        return cls(path, config, lock, {"created": time.time(), "attempt": 1, "step": 0, "total": config.run.steps if config else 0})

    @classmethod
    def resume(cls, name: str, config: Config | None = None, folder: Path | None = None, *, waiting: bool = False) -> "RunWriter":
        """Take up a run that nobody trains; where it should be `waiting`, only while it does.

        ValueError: there is none, it runs, `config` differs in more than run.steps, or it waits no longer.
        """
        path = resolve_inside(folder or runs_folder(), safe_name(name))
        reader = RunReader(path)
        before = reader.config()
        used = _resumed_config(name, before, config)
        lock = FileLock(path / run_folder.LOCK)
        _refuse_live(reader)
        run_folder.refuse_links(path)
        if not lock.acquire():
            raise ValueError(f"run {name!r} is being written by another process: stop that one first")
        try:
            _refuse_live(reader)
            with run_folder.steering(path):  # nobody takes it out of the queue between the look and the start
                status = reader.status()
                if waiting and status.state != QUEUED:
                    raise ValueError(f"run {name!r} waits no longer: it was taken out of the queue")
                kept = _kept_for_us(status)
                _refuse_fewer_steps(name, path, used, before)
                if not kept:
                    write_json(path / run_folder.CONTROL, {}, even_full=True)  # a stop that was meant for the attempt before
            if used != before:
                write_text(path / run_folder.CONFIG, used.to_json() + "\n")
            remove_temporaries(path)
        except OSError as error:
            lock.release()
            raise ValueError(f"cannot write the run folder {path}: {reason(error)}") from error
        except BaseException:
            lock.release()
            raise
        values = {
            "created": status.created or time.time(),
            "attempt": status.attempt if kept or status.state == QUEUED else _last_attempt(reader) + 1,  # one in the queue has its number
            "step": status.step,
            "total": used.run.steps,
        }
        return cls(path, used, lock, values)

    def hand_over(self) -> None:
        """Let a process that this one has started (run_folder.KEEPER) take the run up; until it does the run reads `starting`."""
        self._lock.release()

    def take_back(self) -> bool:
        """After `hand_over`, when those processes have ended: whether none of them took the run up, so that its end is ours to tell."""
        return Process.from_dict(read_json(self.path / run_folder.STATUS) or {}) == this_process() and self._lock.acquire()

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def config(self) -> Config:
        """The run's config; ValueError where it was created without one."""
        if self._config is None:
            raise ValueError(f"run {self.name!r} was created without a config")
        return self._config

    def log(self, line: dict[str, Any]) -> None:
        """Append one line of metrics. `line` holds at least `step`; attempt and time_s (unix seconds) are added.

        Tensors and numpy scalars of one element become numbers, NaN and infinities null.
        """
        assert not self.closed, "log after close"
        try:
            step = operator.index(line["step"])
        except (KeyError, TypeError):
            raise ValueError(f"a metrics line needs a whole step, not {line.get('step')!r}") from None
        record = json_line({**line, "step": step, "attempt": self.attempt, "time_s": line.get("time_s", time.time())})
        try:
            self._append(record)
        except OSError as error:
            self._lost_lines += 1
            if self._lost_lines == 1:
                self.notify(f"metrics cannot be written since step {line['step']}: {reason(error)}")
            return
        if self._lost_lines:
            self.notify(f"metrics are written again from step {line['step']}; {self._lost_lines} lines are lost")
            self._lost_lines = 0

    def status(self, state: str, step: int, total: int, **extra: Any) -> None:
        """Say how far the run is; call it between any two steps. Written at once when the state changes, else every 2 s.

        `state`: starting, running, paused, finished, stopped or failed. `extra` (phase, loss, error, ...) stays until given anew.
        """
        known = (*LIVE_STATES, *FINAL_STATES, QUEUED)
        if state not in known:
            raise ValueError(f"unknown state {state!r}: use one of {', '.join(known)}")
        changed = state != self._values.get("state")
        self.state = state
        self._values |= plain({"state": state, "step": step, "total": total, **extra})
        if changed or "error" in extra:
            self._written_at = -float("inf")
        self.beat()

    def beat(self) -> None:
        """Renew the heartbeat; for use within long work between two steps. Costs nothing when called often."""
        now = time.monotonic()
        self._beaten_at, self._slowest_s = now, max(self._slowest_s, now - self._beaten_at)
        if now - self._written_at < HEARTBEAT_EVERY_S:
            return
        self._written_at = now
        life = {"heartbeat": time.time(), SLOWEST: self._slowest_s, **this_process().to_dict()}
        values = {**self._values, "attempt": self.attempt, "notices": self.notices, **life}
        with contextlib.suppress(OSError):  # a full disk must not make a living run look dead, nor an ended one alive
            write_json(self.path / run_folder.STATUS, values, even_full=True)

    def notify(self, text: str) -> None:
        """Keep a sentence for whoever watches, e.g. that a damaged checkpoint was passed over."""
        self.notices = [*self.notices, text][-_NOTICES:]
        self._written_at = -float("inf")
        self.beat()
        self.heard(text)

    def poll_control(self) -> Control:
        """What was asked since the last call; one file look-up, made to be called between any two steps.

        FileNotFoundError where the run folder has been deleted: nobody could see the training any more, nor stop it.
        """
        values = self._read_control()
        stop = self._stop_requested or bool(values.get("stop"))
        self._stop_seen = self._stop_seen or stop
        return Control(stop, bool(values.get("pause")) and not stop, self._take(values, "save"), self._take(values, "sample"))

    def request_stop(self) -> None:
        """Ask this very process's training to stop, from any thread or signal handler."""
        self._stop_requested = True

    def checkpoint_path(self, step: int, phase: str = "transformer") -> Path:
        return run_folder.checkpoint_path(self.path, step, phase)

    def resume_paths(self, step: int, phase: str = "transformer") -> tuple[Path, Path]:
        """(tensors .safetensors, state .json) that continue exactly from `step`."""
        return run_folder.resume_paths(self.path, step, phase)

    def sample_path(self, step: int, name: str, phase: str = "transformer") -> Path:
        """Where a sample of `step` goes, e.g. `samples/step-00000500-strip.png`."""
        return self.path / "samples" / f"{run_folder.step_stem(step, phase)}-{safe_name(name, 'sample name')}"

    def save_sample(self, step: int, name: str, write: Save, phase: str = "transformer") -> bool:
        """Have `write` make the sample file at the path it is given. False, with a notice, when the disk refused it."""
        path = self.sample_path(step, name, phase)
        try:
            path.parent.mkdir(exist_ok=True)
            with replacing(path) as temporary:
                write(temporary)
        except OSError as error:
            self.notify(f"the sample of step {step} could not be saved: {reason(error)}; training goes on")
            return False
        return True

    def complete_steps(self, phase: str = "transformer") -> list[int]:
        """All steps that training can go on from, ascending: where the newest turns out damaged, take the one before."""
        return run_folder.complete_steps(self.path, phase)

    def commit(self, step: int, *, checkpoint: Save, tensors: Save, state: dict[str, Any], phase: str = "transformer") -> bool:
        """Save a checkpoint with its resume part; `checkpoint` and `tensors` write the safetensors file at the path they are given.

        True when it is safe on disk (also when this step was saved before). False when the disk refused: a notice says so, the
        checkpoints from before are untouched and training can go on.
        """
        if step in run_folder.complete_steps(self.path, phase):
            return True
        try:
            if self._metrics is not None:
                os.fsync(self._metrics.fileno())  # the curve up to a checkpoint must not be younger than the checkpoint
            run_checkpoints.commit(self.path, step, phase, checkpoint=checkpoint, tensors=tensors, state=state)
        except Exception as error:
            if not write_failure(error):
                raise
            self.notify(f"the checkpoint of step {step} could not be saved: {reason(error)}; training goes on")
            return False
        return True

    def prune(self, keep: int, protect: Collection[int] = (), phase: str = "transformer") -> list[int]:
        """Delete all but the `keep` newest checkpoints and those in `protect`, never the newest complete pair; returns the deleted steps."""
        return run_checkpoints.prune(self.path, keep, protect, phase)

    def cut_metrics(self, step: int, phase: str = "transformer") -> int:
        """Go back to `step` of `phase` (-1 for before the first): what lies beyond, lines and checkpoints, is put aside.

        Returns how many lines were cut. To be called once at a resume, with the step of the checkpoint that was really loaded.
        """
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None
        try:
            run_checkpoints.set_aside(self.path, step, phase, self.attempt)
            return run_checkpoints.cut_metrics(self.path, step, phase, self.attempt)
        except OSError as error:
            raise ValueError(f"cannot write the run folder {self.path}: {reason(error)}") from error

    def fail(self, error: BaseException) -> str:
        """Record that training ended with `error`: one sentence in the status, the traceback in error.log. Returns the sentence."""
        sentence = describe_failure(error)
        if self.state == "failed" and self._values.get("error"):
            sentence = str(self._values["error"])  # the trainer knows better what it was doing
        with contextlib.suppress(OSError):
            write_text(self.path / run_folder.ERROR_LOG, "".join(traceback.format_exception(error)))
        self.status("failed", self._values["step"], self._values["total"], error=sentence)
        return sentence

    def close(self) -> None:
        """Give the run up; what is not in a final state by now reads `interrupted`."""
        if self.closed:
            return
        self.closed = True
        if self._metrics is not None:
            with contextlib.suppress(OSError):
                os.fsync(self._metrics.fileno())
                self._metrics.close()
            self._metrics = None
        OPEN_HERE.discard(self.path)
        self._lock.release()

    def settle(self) -> None:
        """After training ended without an error: record `stopped` or `finished` where the trainer has not."""
        if self.state not in FINAL_STATES:
            self.status("stopped" if self._stop_seen else "finished", self._values["step"], self._values["total"])

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                self.settle()
            elif isinstance(error, Exception):
                if self.state != "failed":
                    self.fail(error)
            elif self.state not in FINAL_STATES:  # Ctrl-C, SystemExit
                self.status("stopped", self._values["step"], self._values["total"])
        finally:
            self.close()

    def _append(self, record: bytes) -> None:
        if self._metrics is not None and not os.fstat(self._metrics.fileno()).st_nlink:
            self.notify(f"{run_folder.METRICS} was deleted while the run trains: it begins anew here, and what was in it is lost")
            self._metrics.close()
            self._metrics = None
        if self._metrics is None:
            self._metrics = FileIO(self.path / run_folder.METRICS, "a")
        size = self._metrics.seek(0, os.SEEK_END)
        if self._torn and size and not self._ends_whole():
            record = b"\n" + record
        try:
            if self._metrics.write(record) != len(record):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self._torn = True
            with contextlib.suppress(OSError):
                self._metrics.truncate(size)
            raise
        self._torn = False

    def _ends_whole(self) -> bool:
        """Whether the newest line of the metrics has its end."""
        with open(self.path / run_folder.METRICS, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _read_control(self) -> dict[str, Any]:
        path = self.path / run_folder.CONTROL
        try:
            facts = os.stat(path)
        except OSError:
            if self.path.parent.is_dir() and not self.path.exists():  # and not a disk that is away for a while
                raise FileNotFoundError(
                    errno.ENOENT, "the run folder was deleted while it was trained; the training has ended", str(self.path)
                ) from None
            self._control_seen, self._control = (), {}
            return {}
        seen = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
        if seen != self._control_seen and (values := read_json(path)) is not None:  # damaged ones are looked at again
            self._control_seen, self._control = seen, values
            self._taken = {key: value for key, value in self._taken.items() if value is not True}  # `true` written by hand asks once a file
        return self._control

    def _take(self, values: dict[str, Any], key: str) -> bool:
        value = values.get(key)
        if not value or self._taken.get(key) == value:
            return False
        self._taken[key] = value
        return True


def _resumed_config(name: str, before: Config, config: Config | None) -> Config:
    if config is None:
        return before
    others = {key: values for key, values in before.differences(config).items() if key != "run.steps"}
    if others:
        listed = ", ".join(f"{key} ({old!r}, not {new!r})" for key, (old, new) in sorted(others.items()))
        raise ValueError(
            f"run {name!r} was trained with another config: {listed}; resume it with its own, or start a run with another name"
        )
    return config


def _refuse_fewer_steps(name: str, path: Path, config: Config, before: Config) -> None:
    """ValueError where the run is to end before the step that it stands at."""
    done = max(run_folder.complete_steps(path), default=0)
    if config.run.steps != before.run.steps and config.run.steps < done:
        raise ValueError(f"run {name!r} stands at step {done}: give at least as many steps, not {config.run.steps}")


def _refuse_live(reader: RunReader) -> None:
    status = reader.status()
    if status.live and not _kept_for_us(status):
        raise ValueError(f"run {reader.name!r} is {status.state} on {status.host} (process {status.pid}): stop it first")


def _kept_for_us(status: RunStatus) -> bool:
    """Whether whoever started this process keeps the run's place for it."""
    return status.state == "starting" and os.environ.get(run_folder.KEEPER) == str(status.pid)


def _last_attempt(reader: RunReader) -> int:
    lines, _ = reader.metrics()
    logged: list[int] = [line["attempt"] for line in lines[-1:] if isinstance(line.get("attempt"), int)]
    return max(reader.status().attempt, *logged, 1)
