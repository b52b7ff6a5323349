"""Measure how fast training, sampling, encoding, data, page and start are, each beside what this machine could do."""

import argparse
import importlib
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from .. import markdown
from ..files import write_text
from .common import add_json, given_path, number, page_text, print_json, progress_bar, table, wants_json

HEADLINES: dict[str, dict[str, str | None]] = {  # key -> (what it is called, the limit beside it)
    "train": {"tokens_per_second": "tokens_per_second_at_matrix_rate", "model_flops_utilization": None},
    "sample": {"seconds_per_clip": "seconds_at_matrix_rate", "speedup_vs_recompute": "speedup_in_flops"},
    "tokenize": {"frames_per_second": "frames_per_second_at_matrix_rate", "share_of_training_step": None},
    "data": {"clips_per_second": "clips_per_second_at_copy_rate"},
    "ui": {
        "tick_bytes": "points_bytes",
        "tick_milliseconds": "milliseconds_to_read_and_write",
        "page_share_of_processor": "page_share_allowed",
        "step_with_pages_over_without": None,
    },
    "start": {"seconds_to_page": "seconds_to_import_gradio"},
}
PAGE = ("ui", "start")  # scopes that need gradio, which a machine that only trains may lack
TABLES = ("presets", "growth", "profile")  # scopes of many rows: asked for by name, not part of all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "scope",
        nargs="?",
        default="all",
        choices=[*HEADLINES, *TABLES, "all"],
        help="What to measure. Default: all but presets, growth and profile, which are tables of their own; a few minutes on two cores.",
    )
    parser.add_argument("--toy", action="store_true", help="Sizes so small that it takes seconds and the figures mean nothing.")
    parser.add_argument(
        "--readme", type=given_path, metavar="FILE.md", help="Write the table of presets, growth or profile between this page's markers."
    )
    add_json(parser)


def everything() -> list[str]:
    """The scopes that can be measured here; says so where there are fewer than all."""
    if find_spec("gradio"):
        return list(HEADLINES)
    print(f"gradio is not installed: {' and '.join(PAGE)} are left out.", file=sys.stderr)
    return [name for name in HEADLINES if name not in PAGE]


def execute(arguments: argparse.Namespace) -> int:
    from ..bench.effort import TOY, Effort
    from ..bench.scopes import run

    if arguments.readme and arguments.scope not in TABLES:
        raise ValueError(f"--readme is for the tables of {', '.join(TABLES)}: name one of them")
    place = f"bench-{arguments.scope}"
    if arguments.readme:
        page_text(arguments.readme, place)  # minutes before there is anything to write
    names = everything() if arguments.scope == "all" else [arguments.scope]
    with progress_bar(len(names), "measuring", "scope") as bar:

        def begun(name: str) -> None:
            bar.set_postfix_str(name)
            bar.update(names.index(name) - bar.n)

        found = run(names, TOY if arguments.toy else Effort(), begun)
        bar.update(len(names) - bar.n)
    if arguments.readme:
        rows = rows_of(arguments.scope, found, markdown.table)
        write_text(arguments.readme, markdown.put_between(page_text(arguments.readme, place), place, rows))
    if wants_json(arguments):
        print_json(found)
    elif arguments.scope in TABLES:
        print(rows_of(arguments.scope, found, lambda header, rows: table([header, *rows])))
    else:
        print(as_table(found))
        print("The limit is this machine's own, measured in the same run. --json has every figure.", file=sys.stderr)
    return 0


def rows_of(scope: str, found: dict[str, Any], draw: Callable[[list[str], list[list[str]]], str]) -> str:
    """The rows of one of TABLES, drawn, and what was left out."""
    figures = found[scope]
    header, rows = importlib.import_module(f"vidapp.bench.{scope}").table(figures)
    left_out = figures.get("left_out", [])
    return draw(header, rows) + (f"\n\nToo large for the memory at hand: {'; '.join(left_out)}." if left_out else "")


def as_table(found: dict[str, dict[str, Any]]) -> str:
    """The headline figures of each scope, with their limits and the peak memory."""
    rows = [["", "measured", "limit", "what the limit is"]]
    for scope, figures in found.items():
        for key, limit in HEADLINES[scope].items():
            beside = 1.0 if limit is None else figures[limit]
            rows.append([f"{scope}.{key}", number(figures[key]), number(beside), "the whole" if limit is None else limit])
        rows.append([f"{scope}.peak_memory_mib", number(figures["peak_memory_mib"]), "-", ""])
    return table(rows)
