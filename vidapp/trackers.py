"""Metrics sent elsewhere as well: TensorBoard, Weights & Biases or Trackio, by one setting. None of them is required.

A tracker that fails while a training runs is given up with a notice; the run folder has every line in any case.
"""

import importlib
import sys
from collections.abc import Callable
from importlib.util import find_spec
from types import TracebackType
from typing import Any

from .config import Config
from .run_writer import RunWriter

PROJECT = "vidapp"
Send = Callable[[dict[str, float], str, int], object]  # figures, phase, step
NOT_FIGURES = ("step", "attempt", "time_s")


class Tracker:
    """Sends each line of metrics with `send`, until that fails; `finish` is called once at the end."""

    def __init__(self, name: str = "none", send: Send | None = None, finish: Callable[[], object] | None = None) -> None:
        self.name, self.send, self.finish = name, send, finish

    def log(self, line: dict[str, Any]) -> str | None:
        """Send a line; a notice where that failed, after which no more are sent."""
        if self.send is None:
            return None
        figures = {key: float(value) for key, value in line.items() if isinstance(value, (int, float)) and key not in NOT_FIGURES}
        try:
            self.send(figures, str(line["phase"]), int(line["step"]))
        except Exception as error:
            self.send = None
            return f"{self.name} failed at step {line['step']} and gets no more metrics ({error}); the run folder has them all"
        return None

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if self.finish is not None:
                self.finish()
        except Exception:
            self.send = None  # nobody is left to tell, and the training itself has ended well


def refuse_missing_tracker(config: Config) -> None:
    """ValueError where `run.tracker` names one that is not installed. Imports nothing."""
    name = config.run.tracker
    if name != "none" and sys.modules.get(name) is None and find_spec(name) is None:
        raise ValueError(missing(name, name))


def missing(name: str, package: str) -> str:
    return f"run.tracker is {name!r} but {package} is not installed: pip install {name}, or run.tracker=none"


def open_tracker(config: Config, run: RunWriter) -> Tracker:
    """The tracker of `run.tracker`; ValueError where it is not installed or does not start."""
    name = config.run.tracker
    if name == "none":
        return Tracker()
    try:
        return OPENERS[name](config, run)
    except ImportError as error:
        raise ValueError(missing(name, error.name or name)) from error
    except Exception as error:
        raise ValueError(f"run.tracker={name} does not start: {error}; set run.tracker=none to train without it") from error


def tensorboard(config: Config, run: RunWriter) -> Tracker:
    """Event files below the run folder, for `tensorboard --logdir runs`."""
    writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter(log_dir=str(run.path / "tensorboard"))

    def send(figures: dict[str, float], phase: str, step: int) -> None:
        for key, value in figures.items():
            writer.add_scalar(f"{phase}/{key}", value, step)

    return Tracker("tensorboard", send, writer.close)


def wandb(config: Config, run: RunWriter) -> Tracker:
    """A run of the same name; a resume goes on in it."""
    module = importlib.import_module("wandb")
    remote = module.init(project=PROJECT, id=run.name, name=run.name, resume="allow", dir=str(run.path), config=config.to_dict())
    return Tracker("wandb", by_name(remote.log), remote.finish)


def trackio(config: Config, run: RunWriter) -> Tracker:
    """A run of the same name; a resume goes on in it."""
    module = importlib.import_module("trackio")
    module.init(project=PROJECT, name=run.name, resume="allow", config=config.to_dict())
    return Tracker("trackio", by_name(module.log), module.finish)


def by_name(log: Callable[[dict[str, float]], object]) -> Send:
    """Each phase counts its steps from 0, so that the step is a figure of its own there."""
    return lambda figures, phase, step: log({f"{phase}/{key}": value for key, value in {**figures, "step": step}.items()})


OPENERS: dict[str, Callable[[Config, RunWriter], Tracker]] = {"tensorboard": tensorboard, "wandb": wandb, "trackio": trackio}
