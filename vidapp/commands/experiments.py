"""What the commands that train several runs share: a run taken to its end, from wherever it is, and the settings of all of them."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..config import Config, parse_assignments
from ..experiment import Planned
from .common import given_path, not_empty, open_data, refuse_missing, with_whole_path
from .train import broken_off, show, stopping_on_signals, tell


def add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=not_empty, metavar="moving-mnist|PATH", help="What to train on: moving-mnist, moving-mnist-full or your own clips."
    )
    parser.add_argument(
        "--tokenizer", type=given_path, metavar="CHECKPOINT", help="Use this checkpoint's tokenizer. Default: the bundled one."
    )
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="Change settings of every run, e.g. run.threads=2."
    )


def shared_changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """Dotted key -> value of what was asked for in every run."""
    assigned: dict[str, Any] = parse_assignments(arguments.set)
    refuse_missing({"--data": arguments.data, "--tokenizer": arguments.tokenizer})
    return with_whole_path(assigned | ({"data.source": arguments.data} if arguments.data else {}))


def refuse_clips(planned: Iterable[Planned]) -> None:
    """ValueError for clips that cannot be read or do not fit, before a run's name is taken: the corrected command could not have it."""
    from ..data.token_ids import refuse_mismatch

    configs = [one.config for one in planned]
    for config in configs:
        refuse_mismatch(config)
    for data in {config.data for config in configs}:
        open_data(data)


def chosen_tokenizer(config: Config, given: Path | None) -> Path | None:
    """The checkpoint whose tokenizer a run starts from; None where it trains its own. ValueError where `given` does not fit."""
    from ..tokenizer_choice import choose_tokenizer

    return choose_tokenizer(config, given)


def take_to_its_end(planned: Planned, tokenizer: Path | None) -> int:
    """Train a planned run from its beginning or from where it is; returns 0, or the exit code of the signal that stopped it.

    A run that exists goes on with its own settings. ValueError: it is trained by another process, or cannot fit into memory.
    BrokenOffError: it had begun and came to no good end.
    """
    from ..device import cpu_threads
    from ..preflight import refuse_too_large
    from ..run_folder import complete_steps
    from ..runs import RunReader, RunWriter, list_runs
    from ..train import train

    existing = next((run for run in list_runs() if run.name == planned.name), None)
    config = existing.config() if existing else planned.config
    made = complete_steps(existing.path) if existing else []
    with cpu_threads(config.run.threads):
        ahead = refuse_too_large(config, trains_tokenizer=tokenizer is None and not made, done=max(made, default=0))
    run = RunWriter.resume(planned.name) if existing else RunWriter.create(planned.name, config)
    print(f"run {run.name} ({planned.title}), {'continued' if existing else 'new'}\n{ahead.line}", file=sys.stderr)
    tell(run, ahead.notices)
    with broken_off(), run, stopping_on_signals(run) as received:
        show(train(config, run, tokenizer=tokenizer), config)
    if RunReader(run.path).status().state == "finished":
        return 0
    print(f"{run.name} is left where it is: the same command goes on from there", file=sys.stderr)
    return 128 + received[0] if received else 1
