"""`--json-lines`: what a command finds, as it finds it, one JSON object a line on stdout, for whoever watches.

{"progress": 0.25, "what": "tokenization"}      share of the whole that is done
{"note": "..."}                                  something worth knowing
{"check": {...}}                                 one check of the checklist
{"result": {...}}                                the last line: what `--json` would have printed
"""

import argparse
import json
import sys
import time
from typing import Any

from ..files import plain

EVERY_S = 0.2  # at most this often a line of progress


def add_json_lines(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json-lines", action="store_true", help="Print what is found as it is found, one JSON object a line.")


class Stream:
    """Prints lines as JSON where that was asked for, and nothing otherwise."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self.told_at = 0.0

    def line(self, kind: str, value: Any, **more: Any) -> None:
        if self.wanted:
            print(json.dumps(plain({kind: value, **more}), allow_nan=False), file=sys.stdout, flush=True)

    def progress(self, what: str, share: float) -> None:
        now = time.monotonic()
        if self.wanted and now - self.told_at >= EVERY_S:
            self.told_at = now
            self.line("progress", round(share, 4), what=what)
