"""One scope in this process: `python -m vidapp.bench.worker MODULE EFFORT OUT` writes its figures as JSON to the file OUT."""

import importlib
import json
import sys
from pathlib import Path

from ..failures import describe_failure
from ..peak import device_peak_mib, peak_mib_of
from .effort import Effort


def main(module: str, effort: str, out: str) -> int:
    """0 with figures, 2 with a sentence under `error` instead."""
    try:
        found = importlib.import_module(module).measure(Effort.from_json(effort))
        found.setdefault("peak_memory_mib", peak_mib_of())
        if (device := device_peak_mib()) is not None:
            found["peak_device_memory_mib"] = device
    except (ValueError, OSError, ImportError) as error:
        found = {"error": describe_failure(error)}
    Path(out).write_text(json.dumps(found), encoding="utf-8")
    return 2 if "error" in found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
