"""The one place with a thread: trains one run at a time in the background of this process."""

import atexit
import contextlib
import gc
import sys
import threading
import traceback
from pathlib import Path

from .config import Config
from .runs import RunWriter

EXIT_WAIT_S = 30.0  # how long the process stays at its end for a training to save itself


class Job:
    """One training in its thread."""

    def __init__(self, run: RunWriter, tokenizer: Path | None) -> None:
        self.run = run
        self.tokenizer = tokenizer
        self.thread = threading.Thread(target=self._main, name=f"train {run.name}", daemon=True)

    @property
    def alive(self) -> bool:
        return not self.run.closed and self.thread.is_alive()

    def _main(self) -> None:
        """Drive the trainer to its end. Whatever ends it becomes one sentence in status.json and a traceback in error.log."""
        run = self.run
        try:
            from .train import train  # here: torch takes seconds to import, and the page must not wait for it

            _hook_exit()  # hooks run last come, first served: the training must end before torch tears anything down

            for _ in train(run.config, run, tokenizer=self.tokenizer):
                pass
            run.settle()
        except BaseException as error:
            with contextlib.suppress(Exception):
                run.fail(error)
            _forget(error)
        finally:
            run.close()
        _release_memory()


_lock = threading.Lock()
_job: Job | None = None


def start_training(config: Config | None, name: str | None = None, resume: bool = False, tokenizer: Path | None = None) -> str:
    """Train in the background; returns the run's name. Follow it with `open_run(name)`.

    With `resume`, `name` is taken up from its newest checkpoint (`config` None: its own). ValueError: a training runs in
    this process already, or RunWriter.create / .resume refuses the name, the config or the folder.
    """
    global _job
    with _lock:
        if _job is not None:
            if _job.alive:
                raise ValueError(f"run {_job.run.name!r} is training in this app: stop it first, or wait until it has finished")
            _job.thread.join()  # it has ended, and is giving back its memory
        job = Job(_open(config, name, resume), tokenizer)
        try:
            job.thread.start()
        except BaseException as error:  # the system gives no more threads
            job.run.fail(error)
            job.run.close()
            raise
        _job = job
        return job.run.name


def running() -> str | None:
    """The name of the run that trains in this process, None where none does."""
    job = _job
    return job.run.name if job is not None and job.alive else None


def stop() -> str | None:
    """Ask the training in this process to stop after the step it is at; returns its run's name, None where there is none."""
    job = _job
    if job is None or not job.alive:
        return None
    job.run.request_stop()
    return job.run.name


def wait(timeout_s: float | None = None) -> bool:
    """Wait until no training runs in this process (True), or until the time is up (False)."""
    job = _job
    if job is not None:
        job.thread.join(timeout_s)
    return running() is None


def _open(config: Config | None, name: str | None, resume: bool) -> RunWriter:
    if not resume:
        if config is None:
            raise ValueError("a new run needs a config: give one, or resume an existing run by its name")
        return RunWriter.create(name, config)
    if name is None:
        raise ValueError("which run is to be resumed? give its name")
    return RunWriter.resume(name, config)


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
    if stop() is not None:
        wait(EXIT_WAIT_S)


def _hook_exit() -> None:
    atexit.unregister(_stop_at_exit)
    atexit.register(_stop_at_exit)


_hook_exit()
