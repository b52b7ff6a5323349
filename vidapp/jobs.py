"""The one place with a thread: trains one run at a time in the background of this process, then the next of the queue.

A run is trained by this process, or on several GPUs by processes that `launching` starts: those outlive this one.
"""

import atexit
import contextlib
import gc
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from . import launching
from .config import Config
from .failures import describe_failure
from .launching import Launch
from .run_queue import enqueue, note_processes, open_writer, processes_of, queued, tokenizer_of
from .run_reader import RunStatus
from .run_tokenizers import tokenizer_in, trained_before
from .runs import RunReader, RunWriter, list_runs

EXIT_WAIT_S = 30.0  # how long the process stays at its end for a training to save itself
LOOK_S = 0.5  # between two looks at processes that train

log = logging.getLogger("vidapp")


class Job:
    """One training in its thread."""

    def __init__(self, run: RunWriter, tokenizer: Path | None) -> None:
        self.run = run
        self.tokenizer = tokenizer
        self.over = threading.Event()  # its memory is given back
        self.thread = threading.Thread(target=self._main, name=f"train {run.name}", daemon=True)

    @property
    def alive(self) -> bool:
        return not self.run.closed and self.thread.is_alive()

    def _main(self) -> None:
        try:
            self._drive()
            _release_memory()
        except Exception:  # what broke the GPU may be raised again here
            log.exception("what run %s left behind could not be cleared", self.run.name)
        finally:
            self.over.set()  # whatever happens: the next run waits for it
        start_queued()

    def _drive(self) -> None:
        """Drive the trainer to its end. Whatever ends it becomes one sentence in status.json and a traceback in error.log."""
        run = self.run
        try:
            from .preflight import refuse_too_large  # here: torch takes seconds to import, and the page must not wait for it
            from .train import train

            _hook_exit()  # hooks run last come, first served: the training must end before torch tears anything down
            self._look_ahead(refuse_too_large)
            for _ in train(run.config, run, tokenizer=self.tokenizer):
                pass
            run.settle()
        except BaseException as error:
            with contextlib.suppress(Exception):
                run.fail(error)
            if not run.path.exists():  # nobody can read there how it ended
                log.error("run %s: %s", run.name, describe_failure(error))
            _forget(error)
        finally:
            run.close()

    def _look_ahead(self, refuse_too_large: Callable[..., Any]) -> None:
        """Say what the run will take, or refuse it (ValueError), before it takes anything."""
        made = self.run.complete_steps()
        found = refuse_too_large(self.run.config, trains_tokenizer=self.tokenizer is None and not made, done=max(made, default=0))
        self.run.status("starting", RunReader(self.run.path).status().step, self.run.config.run.steps, preflight=found.line)


class LaunchedJob:
    """One training by several processes, watched from a thread: started here, or by an app before this one."""

    def __init__(self, run: RunWriter | RunReader, tokenizer: Path | None = None, launch: Launch | None = None) -> None:
        self.run, self.tokenizer, self.launch = run, tokenizer, launch
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._main, name=f"watch {run.name}", daemon=True)

    @property
    def alive(self) -> bool:
        return not self.over.is_set() and self.thread.is_alive()

    def _main(self) -> None:
        run = self.run
        try:
            if isinstance(run, RunReader):
                assert self.launch is not None, "a run of ours needs its writer"
                launching.wait(None, self.launch, LOOK_S)
            else:
                self._launch(run)
        except BaseException as error:
            if isinstance(run, RunWriter) and run.take_back():
                run.fail(error)
        finally:
            if isinstance(run, RunWriter):
                run.close()
            self.over.set()
        start_queued()

    def _launch(self, run: RunWriter) -> None:
        """Start the processes and wait for their end; where none took the run up, say why."""
        run.hand_over()
        launch, process = Launch.start(run.path, processes_of(run.path), self.tokenizer)
        code = launching.wait(process, launch, LOOK_S)
        if run.take_back():
            run.status("failed", RunReader(run.path).status().step, run.config.run.steps, error=launch.last_words(code))


_lock = threading.Lock()
_job: Job | LaunchedJob | None = None
_ending = False  # the process is: nothing new begins


def start_training(
    config: Config | None, name: str | None = None, resume: bool = False, tokenizer: Path | None = None, processes: int = 1
) -> str:
    """Train in the background; returns the run's name. Follow it with `open_run(name)`.

    With `resume`, `name` is taken up from its newest checkpoint (`config` None: its own). processes: more than one are started
    by `accelerate launch`, one for each GPU. ValueError: a training runs in this process already, or as by `open_writer`.
    """
    with _lock:
        if _job is not None and _job.alive:
            raise ValueError(f"run {_job.run.name!r} is training in this app: stop it first, or let this one wait in the queue")
        run = open_writer(config, name, resume=resume)
        note_processes(run.path, processes)
        return _start(run, tokenizer)


def start_or_enqueue(
    config: Config | None, name: str | None = None, resume: bool = False, tokenizer: Path | None = None, processes: int = 1
) -> str:
    """As `start_training`; where a training runs in this process the new one is put at the end of the queue instead."""
    name = enqueue(config, name, resume=resume, tokenizer=tokenizer, processes=processes)
    start_queued()
    return name


def start_queued() -> str | None:
    """Start the next run of the queue, unless one trains in this process; returns its name. To be called when the app starts, too."""
    with _lock:
        if _ending or (_job is not None and _job.alive) or _adopted():
            return None
        for reader in queued():
            with contextlib.suppress(ValueError, OSError):  # somebody else has just taken it, or out of the queue, or it has been damaged
                run = RunWriter.resume(reader.name, waiting=True)
                return _start(run, tokenizer_of(run) or _trained_meanwhile(run))
    return None


def _trained_meanwhile(run: RunWriter) -> Path | None:
    """The tokenizer that an earlier run on the same clips has trained while this one waited."""
    begun = any(run.complete_steps(phase) for phase in ("tokenizer", "transformer"))
    found = None if begun else trained_before(run.config)
    return tokenizer_in(found) if found else None


def _adopted() -> bool:
    """Whether processes that an app before this one has launched still train: this one watches them, and queues behind them."""
    for reader in list_runs():
        launch = Launch.known(reader.path)
        if launch is not None and launch.alive and reader.status().live:
            _begin(LaunchedJob(reader, launch=launch))
            return True
    return False


def queue() -> list[str]:
    """Names of the runs that wait, the next one first. A `stop` sent to one takes it out."""
    return [reader.name for reader in queued()]


def _start(run: RunWriter, tokenizer: Path | None) -> str:
    if _job is not None:
        _job.over.wait()  # it has ended, and is giving back its memory
    try:
        _begin(LaunchedJob(run, tokenizer) if processes_of(run.path) > 1 else Job(run, tokenizer))
    except BaseException as error:  # the system gives no more threads
        run.fail(error)
        run.close()
        raise
    return run.name


def _begin(job: Job | LaunchedJob) -> None:
    global _job
    job.thread.start()
    _job = job


def running() -> str | None:
    """The name of the run that trains in this process, or that it has launched; None where none does."""
    job = _job
    return job.run.name if job is not None and job.alive else None


def training(known: Iterable[RunStatus] | None = None) -> str | None:
    """The name of the run that trains here, else of the newest that trains elsewhere; None where none does. known: the runs' states."""
    return running() or next((status.name for status in known or map(RunReader.status, list_runs()) if status.live), None)


def stop() -> str | None:
    """Ask the training in this process to stop after the step it is at; returns its run's name, None where there is none."""
    job = _job
    if not isinstance(job, Job) or not job.alive:
        return None
    job.run.request_stop()
    return job.run.name


def wait(timeout_s: float | None = None) -> bool:
    """Wait until nothing that was started here trains (True), or until the time is up (False). The queue's runs are waited for too."""
    until = None if timeout_s is None else time.monotonic() + timeout_s
    while (job := _job) is not None:
        job.thread.join(None if until is None else max(0.0, until - time.monotonic()))
        if job is _job or (until is not None and time.monotonic() >= until):
            break
    return running() is None


def _forget(error: BaseException) -> None:
    """Drop what the frames of an error hold on to: the network, its optimiser and the batch that did not fit."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        traceback.clear_frames(current.__traceback__)
        current = current.__cause__ or current.__context__


def _release_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _stop_at_exit() -> None:
    """Let a training save itself and say `stopped` before the process ends; one that takes longer reads `interrupted`."""
    global _ending
    _ending = True
    if stop() is not None:
        wait(EXIT_WAIT_S)


def _hook_exit() -> None:
    atexit.unregister(_stop_at_exit)
    atexit.register(_stop_at_exit)


_hook_exit()
