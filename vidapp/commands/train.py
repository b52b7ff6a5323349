"""Train a model in a run folder that can be watched, steered and resumed."""

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..config import Config, load_config, parse_assignments
from ..presets import PRESETS, preset
from .common import open_data, positive, progress_bar, seed

if TYPE_CHECKING:
    from ..runs import RunReader, RunWriter

DEFAULT_PRESET = "small"
SHOWN = {"loss": "loss", "grad_norm": "gradient", "validation_loss_full": "validation", "psnr_db": "psnr"}  # metric -> word beside the bar


def add_arguments(parser: argparse.ArgumentParser) -> None:
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--preset", metavar="NAME", help=f"Settings to start from: {', '.join(PRESETS)}. Default: {DEFAULT_PRESET}.")
    start.add_argument("--config", metavar="FILE.json", help="Start from the settings in this file instead.")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="Change settings, e.g. recipe.learning_rate=1e-4."
    )
    parser.add_argument(
        "--data", metavar="moving-mnist|PATH", help="What to train on: moving-mnist, moving-mnist-full or a path of your own clips."
    )
    parser.add_argument("--steps", type=positive, metavar="N", help="Optimiser steps of the transformer phase.")
    parser.add_argument("--run", metavar="NAME", help="Name of the run folder. Default: a new, readable one.")
    parser.add_argument("--resume", action="store_true", help="Continue the run named by --run where it ended.")
    parser.add_argument("--seed", type=seed, metavar="N", help="Seed of everything random in the run.")
    parser.add_argument("--tokenizer", type=Path, metavar="CHECKPOINT", help="Use this checkpoint's tokenizer instead of training one.")
    parser.add_argument("--init", type=Path, metavar="CHECKPOINT", help="Start from this checkpoint's weights; give it as --tokenizer too.")


def execute(arguments: argparse.Namespace) -> int:
    if arguments.resume and not arguments.run:
        raise ValueError("--resume needs the name of the run to continue: --run NAME (see `python -m vidapp runs`)")
    config = starting_config(arguments).replace(changes(arguments))
    from ..preflight import refuse_too_large
    from ..runs import RunReader, RunWriter
    from ..tokenizer_choice import choose_tokenizer
    from ..train import train

    tokenizer = choose_tokenizer(config, arguments.tokenizer)
    open_data(config.data)  # what cannot be read, or does not fit, is refused before a run's name is taken
    ahead = refuse_too_large(config, trains_tokenizer=tokenizer is None)
    run = RunWriter.resume(arguments.run, config) if arguments.resume else RunWriter.create(arguments.run, config)
    print(f"run {run.name} in {run.path}\n{ahead.line}", file=sys.stderr)
    with run, stopping_on_signals(run) as received:
        show(train(config, run, tokenizer=tokenizer, init=arguments.init), config)
    return report(RunReader(run.path), received)


def starting_config(arguments: argparse.Namespace) -> Config:
    """What the other flags change: a preset, a file, or for a resume without either the run's own settings."""
    if arguments.config:
        return load_config(arguments.config)
    if arguments.preset or not arguments.resume:
        return preset(arguments.preset or DEFAULT_PRESET)
    from ..runs import open_run

    return open_run(arguments.run).config()


def changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """Dotted key -> value of everything the flags change; a flag of its own wins over --set."""
    flags = {"data.source": arguments.data, "run.steps": arguments.steps, "run.seed": arguments.seed}
    assigned: dict[str, Any] = parse_assignments(arguments.set)
    return assigned | {key: value for key, value in flags.items() if value is not None}


@contextlib.contextmanager
def stopping_on_signals(run: "RunWriter") -> Iterator[list[int]]:
    """While inside, the first Ctrl-C or SIGTERM asks the run to stop after its step; the next one does what it always does.

    Yields the list that the received signal's number is put into.
    """
    received: list[int] = []
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        restore()
        run.request_stop()
        with contextlib.suppress(RuntimeError):  # the signal may have come while the bar was being printed
            print("\nstopping after this step; once more ends it at once", file=sys.stderr)

    for number in previous:
        signal.signal(number, stop)
    try:
        yield received
    finally:
        restore()


def show(lines: Iterable[dict[str, Any]], config: Config) -> None:
    """Drive the training to its end, with a bar for each phase."""
    totals = {"tokenizer": config.recipe.tokenizer_steps, "transformer": config.run.steps}
    bar, phase = None, ""
    shown: dict[str, str] = {}
    try:
        for line in lines:
            if bar is None or line["phase"] != phase:
                if bar is not None:
                    bar.close()
                phase, shown = line["phase"], {}
                bar = progress_bar(totals[phase], phase, "step", initial=line["step"], delay_s=0)
            shown |= {word: f"{line[key]:.3g}" for key, word in SHOWN.items() if line.get(key) is not None}
            bar.set_postfix(shown, refresh=False)
            bar.update(line["step"] - bar.n)
    finally:
        if bar is not None:
            bar.close()


def report(run: "RunReader", received: list[int]) -> int:
    """Say how the training ended and return the exit code."""
    status = run.status()
    checkpoints = run.checkpoints()
    newest = f"; newest checkpoint {checkpoints[0][1]}" if checkpoints else "; no checkpoint yet"
    print(f"{status.state} at step {status.step} of {status.total}{newest}")
    if status.state == "finished":
        return 0
    print(f"continue with: python -m vidapp train --run {run.name} --resume", file=sys.stderr)
    return 128 + received[0] if received else 0
