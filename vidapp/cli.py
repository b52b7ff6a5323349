"""The command line: one parser over the commands, and the one place where an error becomes a line and an exit code."""

import argparse
import contextlib
import io
import os
import sys
from typing import NoReturn, TextIO, cast

from . import __version__
from .commands import ablate, bench, check, compact, evaluate, ladder, runs, sample, train
from .commands.unheeded import Unheeded, silence
from .failures import BrokenOffError, RankLostError, describe_failure, is_known
from .files import printable

COMMANDS = {
    "train": train,
    "sample": sample,
    "evaluate": evaluate,
    "compact": compact,
    "check": check,
    "ladder": ladder,
    "ablate": ablate,
    "bench": bench,
    "runs": runs,
}
FAILED, REFUSED, INTERRUPTED = 1, 2, 130  # exit codes: our mistake, the person's, Ctrl-C


class Parser(argparse.ArgumentParser):
    """argparse that raises ValueError instead of printing its usage, so that every error looks the same."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m vidapp", description="Train, debug and sample discrete-token video prediction models.")
    parser.add_argument("--version", action="version", version=f"vidapp {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        summary = (command.__doc__ or "").splitlines()[0]
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        command.add_arguments(subparser)
        subparser.set_defaults(execute=command.execute)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 after a mistake of ours, 2 after a person's, 128 + signal when ended by one."""
    prepare_outputs()
    with contextlib.redirect_stderr(cast(TextIO, Unheeded(sys.stderr))):
        return run(argv)


def run(argv: list[str] | None) -> int:
    """The command, and of what it raises a line and a code."""
    try:
        arguments = build_parser().parse_args(argv)
        code: int = arguments.execute(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return complain("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has left, e.g. `head`
        silence(sys.stdout)
        return FAILED
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        return complain_of(error)


def prepare_outputs() -> None:
    """What would be said to a closed stdout or stderr (`>&-`) goes nowhere, and letters that one of another encoding lacks are escaped: no error."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  as long as the process lasts
    if isinstance(sys.stdout, io.TextIOWrapper):  # a notebook's is none
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr's are


def complain_of(error: Exception) -> int:
    """Say in one line what went wrong: what a person or the disk did, or what nobody is known to cause."""
    if is_known(error):
        return complain(describe_failure(error), REFUSED)
    if isinstance(error, (RankLostError, BrokenOffError)):
        return complain(describe_failure(error), FAILED)
    return complain(f"{describe_failure(error)} (python -X dev -m vidapp ... shows where)", FAILED)


def complain(message: str, code: int) -> int:
    print(f"vidapp: {printable(' '.join(message.split()))}", file=sys.stderr)
    return code
