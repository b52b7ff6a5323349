"""Measure how fast training, sampling, encoding, data, page and start are, each beside what this machine could do."""

import argparse
import sys
from typing import Any

from .common import add_json, number, print_json, progress_bar, table, wants_json

HEADLINES: dict[str, dict[str, str | None]] = {  # key -> (what it is called, the limit beside it)
    "train": {"tokens_per_second": "tokens_per_second_at_matrix_rate", "model_flops_utilization": None},
    "sample": {"seconds_per_clip": "seconds_at_matrix_rate", "speedup_vs_recompute": "speedup_in_flops"},
    "tokenize": {"frames_per_second": "frames_per_second_at_matrix_rate", "share_of_training_step": None},
    "data": {"clips_per_second": "clips_per_second_at_copy_rate"},
    "ui": {"tick_bytes": "points_bytes", "tick_milliseconds": "milliseconds_to_read_and_write"},
    "start": {"seconds_to_page": "seconds_to_import_gradio"},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "scope", nargs="?", default="all", choices=[*HEADLINES, "all"], help="What to measure. Default: all, a few minutes on two cores."
    )
    parser.add_argument("--toy", action="store_true", help="Sizes so small that it takes seconds and the figures mean nothing.")
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    from ..bench.effort import TOY, Effort
    from ..bench.scopes import run

    names = list(HEADLINES) if arguments.scope == "all" else [arguments.scope]
    with progress_bar(len(names), "measuring", "scope") as bar:

        def begun(name: str) -> None:
            bar.set_postfix_str(name)
            bar.update(names.index(name) - bar.n)

        found = run(names, TOY if arguments.toy else Effort(), begun)
        bar.update(len(names) - bar.n)
    if wants_json(arguments):
        print_json(found)
    else:
        print(as_table(found))
        print("The limit is this machine's own, measured in the same run. --json has every figure.", file=sys.stderr)
    return 0


def as_table(found: dict[str, dict[str, Any]]) -> str:
    """The headline figures of each scope, with their limits and the peak memory."""
    rows = [["", "measured", "limit", "what the limit is"]]
    for scope, figures in found.items():
        for key, limit in HEADLINES[scope].items():
            beside = 1.0 if limit is None else figures[limit]
            rows.append([f"{scope}.{key}", number(figures[key]), number(beside), "the whole" if limit is None else limit])
        rows.append([f"{scope}.peak_memory_mib", number(figures["peak_memory_mib"]), "-", ""])
    return table(rows)
