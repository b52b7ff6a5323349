"""What several commands share: flags derived from config fields, one JSON object on stdout, progress on stderr."""

import argparse
import json
import os
import sys
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from ..config import MOVING_MNIST, SECTIONS, Config, DataConfig, as_argument, field_of
from ..failures import told_to_strangers
from ..files import expanded, plain, printable
from ..markdown import put_between

MOST_NAMED = 10  # of what is left out

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint
    from ..data.clips import Skipped
    from ..data.source import ClipSource


MOMENT_S = 0.5
SLOW_REFRESH_S = 5.0  # a log file wants a line now and then, a terminal a bar that moves


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """A flag for each of the config fields that say how to sample, with the field's own help; not given means None."""
    for name in ("temperature", "top_k", "steps", "choice"):
        key = f"sampling.{name}"
        help_text = f"{field_of(key).metadata['help']} Default: the checkpoint's."
        parser.add_argument(f"--{name.replace('_', '-')}", dest=key, metavar=metavar_of(key), help=help_text.replace("%", "%%"))


def metavar_of(key: str) -> str:
    section, _, name = key.partition(".")
    kind = typing.get_type_hints(SECTIONS[section])[name]
    return {int: "N", float: "X"}.get(kind, "VALUE")


def given_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The config fields that were given as flags: dotted key -> text, for `Config.replace`."""
    return {key: value for key, value in vars(arguments).items() if "." in key and value is not None}


def add_json(parser: argparse.ArgumentParser) -> None:
    # SUPPRESS lets `runs --json list` and `runs list --json` both work: a subcommand's default would overwrite the flag.
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="Print one JSON object and nothing else.")


def wants_json(arguments: argparse.Namespace) -> bool:
    return getattr(arguments, "json", False)


def print_json(value: Mapping[str, Any]) -> None:
    print(json.dumps(plain(value), indent=2, allow_nan=False))


def progress_bar(total: int | None, what: str, unit: str, initial: int = 0, delay_s: float = MOMENT_S) -> "tqdm[Any]":
    """A bar on stderr for what takes longer than a moment; where that is a file, a line every few seconds."""
    refresh = 0.2 if sys.stderr.isatty() else SLOW_REFRESH_S
    return tqdm(
        total=total, initial=initial, desc=what, unit=f" {unit}", mininterval=refresh, delay=delay_s, file=sys.stderr, dynamic_ncols=True
    )


def share_bar(what: str, delay_s: float = MOMENT_S) -> "tqdm[Any]":
    """A bar from 0 to 1, for work whose parts take how long nobody knows: it tells no speed, nor the time that is left."""
    bar = progress_bar(1, what, "", delay_s=delay_s)
    bar.bar_format = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}"
    return bar


def progress_line(text: str) -> None:
    """A line on stderr, above the bar where there is one."""
    tqdm.write(text, file=sys.stderr)


def check_output(flag: str, path: Path, endings: tuple[str, ...]) -> None:
    """Refuse an output that could not be written before any work is done for it."""
    if path.suffix.lower() not in endings:
        known = f"one of {', '.join(endings)}" if len(endings) > 1 else endings[0]
        raise ValueError(f"{flag} {path} has no known ending: use {known}")
    check_folder(flag, path)


def check_folder(flag: str, path: Path) -> None:
    """Refuse an output in a folder that does not exist, or in the place of one."""
    if not path.absolute().parent.is_dir():
        raise ValueError(f"{flag} {path} lies in a folder that does not exist: make {path.absolute().parent} first")
    if path.is_dir():
        raise ValueError(f"{flag} {path} is a folder: give a file in it")


def page_text(path: Path, table_name: str) -> str:
    """The page that --readme names; ValueError where it cannot be read, or has no place for the table of that name."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot read --readme {path}: it is not a text file") from error
    except OSError as error:
        raise ValueError(f"cannot read --readme {path}: {error.strerror or error}") from error
    try:
        put_between(text, table_name, "")
    except ValueError as error:
        raise ValueError(f"--readme {path} has no place for the table: {error}") from error
    return text


def refuse_missing(given: Mapping[str, str | Path | None]) -> None:
    """ValueError where nothing lies at a path that a person gave (by its flag), with the path as it was written.

    Whoever reads the files names the last part alone, since a page may show that to strangers; so here nothing is said to a page.
    """
    if told_to_strangers():
        return
    for flag, path in given.items():
        if path is not None and path not in MOVING_MNIST and not os.path.exists(expanded(str(path))):
            raise ValueError(f"{flag} {path} is not there: check the path")


def with_whole_path(changed: dict[str, Any]) -> dict[str, Any]:
    """Settings by dotted key, clips named by their whole path: a resume, the page or an evaluation may have another working folder."""
    source = changed.get("data.source")
    if source is None or source in MOVING_MNIST:
        return changed
    if not source:
        raise ValueError("data.source is empty: give moving-mnist or the path of your clips")
    return changed | {"data.source": str(expanded(source).absolute())}


def not_empty(text: str) -> str:
    """An argparse type: a path as it is written. An empty one, of an unset variable of the shell, would name the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty: give one")
    return text


def given_path(text: str) -> Path:
    """An argparse type: a path, and no empty one."""
    return Path(not_empty(text))


def positive(text: str) -> int:
    """An argparse type: a whole number of at least 1."""
    return whole(text, 1, 10**9)


def seed(text: str) -> int:
    """An argparse type: a seed, with the bounds of run.seed."""
    facts = field_of("run.seed").metadata
    return whole(text, facts["low"], facts["high"])


def whole(text: str, low: int, high: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number from {low} to {high}")
    return number


def table(rows: list[list[str]]) -> str:
    """Rows of equal length as text: the first column to the left, the others to the right."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def number(value: float | None) -> str:
    """A figure for a person's eyes: five significant digits."""
    return "-" if value is None else f"{value:.5g}"


def clip_lengths(config: Config, context: int | None, frames: int | None) -> tuple[int, int]:
    """(given, future) frames: what was asked for, else what the config trains with."""
    given = context or config.data.context_frames
    return given, frames or max(1, config.data.clip_frames - config.data.context_frames)


def note_unseen(config: Config, given: int, frames: int) -> None:
    """Say on stderr where given frames lie beyond what the model was trained to see."""
    from ..rollout import unseen_past

    if unseen := unseen_past(config, given, frames):
        print(f"note: {unseen}", file=sys.stderr)


def refuse_early(config: Config, changed: Mapping[str, Any]) -> None:
    """ValueError for settings that cannot be, before torch is there, which takes seconds; of one's own data more has to be known first."""
    if changed.get("data.source", config.data.source) in MOVING_MNIST:
        config.replace(dict(changed))


def replaced(config: Config, changed: Mapping[str, Any]) -> Config:
    """`config` with changes by dotted key, and before them what its data need where these are token ids, which is said."""
    refuse_early(config, changed)
    from ..data.token_ids import refuse_mismatch, settings_of

    source = str(changed.get("data.source", config.data.source))
    values = config.to_dict()
    needed = {key: value for key, value in settings_of(source).items() if key not in changed}
    if any(values[section][name] != needed[f"{section}.{name}"] for section, name in (key.split(".") for key in needed)):
        print(
            f"note: {source} holds token ids: {' '.join(f'{key}={as_argument(value)}' for key, value in needed.items())}", file=sys.stderr
        )
    config = config.replace({**needed, **changed})
    refuse_mismatch(config)
    return config


def refuse_absent(data: DataConfig, remedy: str) -> None:
    """ValueError where the clips that a checkpoint was trained on are not on this machine, with what to do."""
    if data.source not in MOVING_MNIST and not os.path.exists(expanded(data.source)):
        raise ValueError(f"this checkpoint was trained on clips that are not here ({Path(data.source).name}): {remedy}")


def open_data(data: DataConfig, *, quiet: bool = False) -> "ClipSource":
    """The clips that a config asks for, with a bar (unless `quiet`) while somebody's own are decoded for the first time."""
    from ..data.source import open_source

    if data.source in MOVING_MNIST or quiet:
        return open_source(data)
    from ..data.folder import FolderSource
    from ..data.token_ids import is_token_data

    if is_token_data(data.source):
        return open_source(data)
    with progress_bar(None, "reading clips", "file") as bar:

        def show(done: int, total: int, name: str) -> None:
            bar.total = total
            bar.update(done - bar.n)

        source = FolderSource(data, progress=show)
        bar.update((bar.total or 0) - bar.n)
    if source.skipped:
        print("\n  ".join([f"note: {len(source.skipped)} left out of {source.name}:", *left_out(source.skipped)]), file=sys.stderr)
    return source


def load_to_sample(path: Path) -> "Checkpoint":
    """The checkpoint of a file, on the fastest device, and a note on stderr where its transformer has learnt nothing yet.

    ValueError, before it is loaded, where sampling would take more memory than is free.
    """
    from ..checkpoint import load_checkpoint, read_header
    from ..device import pick_device
    from ..preflight import refuse_too_large_to_sample

    header = read_header(path)
    refuse_too_large_to_sample(header.config, path.name)
    if header.phase == "tokenizer":
        print(f"note: {path.name} was saved while its tokenizer was trained: its transformer has learnt nothing yet", file=sys.stderr)
    return load_checkpoint(path, pick_device("auto"))


def left_out(skipped: "list[Skipped]") -> list[str]:
    """What was left out and why, a line each, and how many more."""
    from ..data.clips import by_weight

    lines = [printable(f"{name}: {reason}") for name, reason in by_weight(skipped)[:MOST_NAMED]]
    return lines if len(skipped) <= MOST_NAMED else [*lines, f"and {len(skipped) - MOST_NAMED} more"]
