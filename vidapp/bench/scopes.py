"""The scopes, each measured in a process of its own, so that its peak memory is its own and nothing is warm from another."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .effort import Effort

SCOPES = {  # by module name: what the page needs to be measured, nothing here may import
    "train": "vidapp.bench.train",
    "sample": "vidapp.bench.sample",
    "tokenize": "vidapp.bench.tokenize",
    "data": "vidapp.bench.data",
    "ui": "vidapp.ui.bench",
    "start": "vidapp.bench.start",
    "presets": "vidapp.bench.presets",
    "growth": "vidapp.bench.growth",
    "profile": "vidapp.bench.profile",
}
PATIENCE_S = 1800.0
Figures = dict[str, Any]


def run(names: list[str], effort: Effort, begun: Callable[[str], None] = lambda name: None) -> dict[str, Figures]:
    """The figures of some scopes, one after the other; `begun` hears each name. ValueError where one cannot be measured."""
    found: dict[str, Figures] = {}
    for name in names:
        begun(name)
        found[name] = run_one(name, effort)
    return join(found)


def run_one(name: str, effort: Effort) -> Figures:
    """The figures of one scope, from a process of its own."""
    if name not in SCOPES:
        raise ValueError(f"unknown scope {name!r}: use one of {', '.join(SCOPES)}")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "vidapp.bench.worker", SCOPES[name], effort.to_json(), str(out)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            raise ValueError(f"bench {name} was ended after {PATIENCE_S / 60:.0f} minutes: this machine is too slow for it") from error
        if not out.is_file():
            said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise ValueError(f"bench {name} broke off: {said[0][:300]}")
        figures: Figures = json.loads(out.read_text(encoding="utf-8"))
    if "error" in figures:
        raise ValueError(f"bench {name}: {figures['error']}")
    return figures


def join(found: Mapping[str, Figures]) -> dict[str, Figures]:
    """With what only two scopes together can say: whether training ever waits for clips."""
    joined = {name: dict(figures) for name, figures in found.items()}
    if "train" in joined and "data" in joined:
        train, data = joined["train"], joined["data"]
        needed = train["batch_size"] / train["seconds_per_step"]
        data["clips_per_second_training_takes"] = needed
        data["share_of_training_step"] = needed / data["clips_per_second"]
    return joined
