"""Train a model in a run folder that can be watched, steered and resumed."""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..config import Config, load_config, parse_assignments
from ..failures import BrokenOffError, describe_failure, is_known
from ..files import printable
from ..presets import PRESETS, preset
from .common import given_path, not_empty, open_data, positive, progress_bar, progress_line, refuse_missing, replaced, seed, with_whole_path
from .unheeded import Unheeded

if TYPE_CHECKING:
    from ..data.source import ClipSource
    from ..launched import ManyRanks
    from ..ranks import Ranks
    from ..runs import RunReader, RunWriter

DEFAULT_PRESET = "small"
ONE_PROCESS = "accelerate has started one process only: on a CPU it starts several with --multi_gpu in place of --cpu, or with MPI"
COUNTS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")  # how many processes a launcher started
SHOWN = {"loss": "loss", "grad_norm": "gradient", "validation_loss_full": "validation", "psnr_db": "psnr"}  # metric -> word beside the bar

OWN_TOKENIZER = "the bundled one where data and settings are its own, elsewhere a new one; recipe.tokenizer_source=new always trains one"
BUNDLED_TAKEN = "takes the bundled tokenizer; --set recipe.tokenizer_source=new trains one first."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--preset", metavar="NAME", help=f"Settings to start from: {', '.join(PRESETS)}. Default: {DEFAULT_PRESET}.")
    start.add_argument("--config", type=not_empty, metavar="FILE.json", help="Start from the settings in this file instead.")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="Change settings, e.g. recipe.learning_rate=1e-4."
    )
    parser.add_argument(
        "--data",
        type=not_empty,
        metavar="moving-mnist|PATH",
        help="What to train on: moving-mnist, moving-mnist-full or a path of your own clips.",
    )
    parser.add_argument("--steps", type=positive, metavar="N", help="Optimiser steps of the transformer phase.")
    parser.add_argument("--run", metavar="NAME", help="Name of the run folder. Default: a new, readable one.")
    parser.add_argument("--resume", action="store_true", help="Continue the run named by --run where it ended.")
    parser.add_argument("--seed", type=seed, metavar="N", help="Seed of everything random in the run.")
    parser.add_argument(
        "--tokenizer", type=given_path, metavar="CHECKPOINT", help=f"Use this checkpoint's tokenizer. Default: {OWN_TOKENIZER}."
    )
    parser.add_argument(
        "--init", type=given_path, metavar="CHECKPOINT", help="Start from this checkpoint's weights; give it as --tokenizer too."
    )


def execute(arguments: argparse.Namespace) -> int:
    if arguments.resume and not arguments.run:
        raise ValueError("--resume needs the name of the run to continue: --run NAME (see `python -m vidapp runs`)")
    if processes() > 1:
        return execute_among_many(arguments)
    if one_of_several_asked_for():
        print(f"note: {ONE_PROCESS}", file=sys.stderr)
    config, tokenizer = settled(arguments)  # before torch, which takes seconds: what cannot be is refused at once
    from ..ranks import ALONE
    from ..runs import RunReader
    from ..train import train

    source = open_data(config.data)  # what cannot be read, or does not fit, is refused before a run's name is taken
    run = opened(arguments, config, tokenizer, source, ALONE)
    with broken_off(), run, stopping_on_signals(run) as received:
        show(train(config, run, tokenizer=tokenizer, init=arguments.init), config)
    return report(RunReader(run.path), received)


def settled(arguments: argparse.Namespace) -> tuple[Config, Path | None]:
    """The config that the flags come to, and the checkpoint whose tokenizer the run takes."""
    config = replaced(starting_config(arguments), changes(arguments))
    if arguments.resume:
        refuse_other_start(arguments)
    refuse_missing({"--data": arguments.data, "--tokenizer": arguments.tokenizer, "--init": arguments.init})
    if arguments.init:
        from ..checkpoint import refuse_other_model

        refuse_other_model(arguments.init, config)
    from ..tokenizer_choice import choose_tokenizer

    return config, choose_tokenizer(config, arguments.tokenizer)


def refuse_other_start(arguments: argparse.Namespace) -> None:
    """ValueError where a run that goes on is to begin with something else: it would be left out without a word."""
    from ..files import read_json
    from ..run_folder import TOKENIZER
    from ..runs import open_run

    if arguments.init:
        raise ValueError(f"--init is for a new run: {arguments.run} goes on with what it began with; leave it out, or name another run")
    known = read_json(open_run(arguments.run).path / TOKENIZER)
    if arguments.tokenizer and known is not None and known.get("checkpoint") != str(arguments.tokenizer.resolve()):
        began = known.get("checkpoint") or "that it trained itself"
        raise ValueError(f"run {arguments.run} goes on with the tokenizer {began}: leave --tokenizer out, or name another run")


def opened(arguments: argparse.Namespace, config: Config, tokenizer: Path | None, source: "ClipSource", ranks: "Ranks") -> "RunWriter":
    """The run's folder, after a look ahead; ValueError, and nothing taken, where the run cannot be."""
    from ..calibration import calibrated
    from ..data.glance import glance
    from ..device import cpu_threads
    from ..preflight import of_a_rank, refuse_too_large
    from ..run_folder import complete_steps
    from ..run_queue import open_writer
    from ..runs import open_run
    from ..tokenizer_choice import ALL_BUNDLED

    made = complete_steps(open_run(arguments.run).path) if arguments.resume else []
    own, trains_tokenizer = of_a_rank(config, ranks.count), tokenizer is None and not made
    with cpu_threads(config.run.threads):  # what is measured here is what the training will find
        ahead = refuse_too_large(own, trains_tokenizer=trains_tokenizer, processes=ranks.here, done=max(made, default=0))
        if ahead.left:
            ahead = calibrated(ahead, own, source, trains_tokenizer=trains_tokenizer)
    run = open_writer(config, arguments.run, resume=arguments.resume)
    print(f"run {run.name} in {run.path}", file=sys.stderr)
    if not ahead.left:
        print(f"nothing is left to do: give --steps more than {ahead.steps}", file=sys.stderr)
        return run
    each = f"{ranks.count} processes, each: " if ranks.count > 1 else ""
    print(f"{each}{ahead.line}", file=sys.stderr)
    taken = [BUNDLED_TAKEN] if tokenizer in ALL_BUNDLED and arguments.tokenizer is None and not arguments.resume else []
    tell(run, [*filter(None, [*taken, glance(config.data)]), *ahead.notices])
    return run


def tell(run: "RunWriter", known: Sequence[str]) -> None:
    """Print the notices of a run, those that are known before it begins and every other as it comes."""

    def say(notice: str) -> None:
        progress_line(f"note: {printable(notice)}")

    for notice in known:
        say(notice)
    run.heard = lambda notice: None if notice in known else say(notice)


@contextlib.contextmanager
def broken_off() -> Iterator[None]:
    """What ends a training that has begun is told from what is refused, by the exit code."""
    try:
        yield
    except Exception as error:
        if is_known(error):
            raise BrokenOffError(describe_failure(error)) from error
        raise


def processes() -> int:
    """How many processes a launcher has started for this training, this one included."""
    numbers = [int(text) for name in COUNTS if (text := os.environ.get(name, "")).isdigit()]
    return max(numbers, default=1) if os.environ.get("MASTER_ADDR") else 1


def one_of_several_asked_for() -> bool:
    """Whether `accelerate launch` was asked for several processes and started one: it says so in no other way."""
    return "ACCELERATE_USE_CPU" in os.environ and "MASTER_ADDR" in os.environ


def execute_among_many(arguments: argparse.Namespace) -> int:
    """As one of the processes of a launcher. The first speaks to the person, and the others only where they alone fail."""
    from ..failures import RankLostError, SharedError
    from ..launched import ManyRanks

    ranks = ManyRanks()
    try:
        code = train_among(arguments, ranks)
        ranks.leave()
        return code
    except Exception as error:
        if ranks.rank == 0:
            raise
        if not isinstance(error, (RankLostError, SharedError)):
            ranks.leave_word(error)
            print(f"vidapp: rank {ranks.rank}: {describe_failure(error)}", file=sys.stderr)
        return 1


def train_among(arguments: argparse.Namespace, ranks: "ManyRanks") -> int:
    """Train as one of many ranks; returns the exit code."""
    from ..runs import RunReader, RunWriter
    from ..silent_run import SilentRun
    from ..train import train

    chosen: list[tuple[Config, Path | None]] = []  # of the first rank

    def choose() -> dict[str, Any]:
        chosen.append(settled(arguments))
        return chosen[0][0].to_dict()

    config = Config.from_dict(ranks.from_first(choose))
    tokenizer = chosen[0][1] if chosen else None
    ranks.together(lambda: ranks.use(config))
    source = ranks.together(lambda: open_data(config.data, quiet=ranks.rank > 0))
    runs: list[RunWriter] = []
    ranks.from_first(lambda: runs.append(opened(arguments, config, tokenizer, source, ranks)))
    run = runs[0] if runs else SilentRun(config, resumed=arguments.resume)
    with contextlib.nullcontext() if ranks.rank else broken_off(), run, stopping_on_signals(run, of_many=True) as received:
        show(train(config, run, tokenizer=tokenizer, init=arguments.init, ranks=ranks), config)
    return 0 if ranks.rank else report(RunReader(run.path), received)


def starting_config(arguments: argparse.Namespace) -> Config:
    """What the other flags change: a preset, a file, or for a resume without either the run's own settings."""
    if arguments.config:
        config = load_config(arguments.config)
        return config.replace(with_whole_path({"data.source": config.data.source}))
    if arguments.preset or not arguments.resume:
        return preset(arguments.preset or DEFAULT_PRESET)
    from ..runs import open_run

    return open_run(arguments.run).config()


def changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """Dotted key -> value of everything the flags change; a flag of its own wins over --set."""
    flags = {"data.source": arguments.data, "run.steps": arguments.steps, "run.seed": arguments.seed}
    assigned: dict[str, Any] = parse_assignments(arguments.set)
    return with_whole_path(assigned | {key: value for key, value in flags.items() if value is not None})


@contextlib.contextmanager
def stopping_on_signals(run: "RunWriter", *, of_many: bool = False) -> Iterator[list[int]]:
    """While inside, the first Ctrl-C or SIGTERM asks the run to stop after its step; the next one does what it always does.

    As one `of_many` every further one is taken for the first: a launcher passes on what the shell has sent already, and kills in the end.
    Yields the list that the received signal's number is put into.
    """
    received: list[int] = []
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        run.request_stop()
        if of_many:
            return
        restore()
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
    print(f"{status.state} at step {status.step} of {status.total}{newest}", file=Unheeded(sys.stdout), flush=True)
    if status.state == "finished":
        if status.step in dict(checkpoints):
            return 0
        raise BrokenOffError(f"the weights of step {status.step} could not be saved: make room, then go on with --run {run.name} --resume")
    print(f"continue with: python -m vidapp train --run {run.name} --resume", file=sys.stderr)
    return 128 + received[0] if received else 0
