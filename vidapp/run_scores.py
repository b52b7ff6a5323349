"""The free-running error of a run's checkpoints: measured once each, and kept beside them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .files import read_json, write_json
from .run_reader import RunReader

SCORES = "scores.json"
KEPT = ("mse", "mse_confidence_95", "ssim", "frames_ahead", "clips", "context", "frames", "split")


def key_of(step: int, clips: int, split: str) -> str:
    return f"step {step}, {clips} {split} clips"


def known_score(run: RunReader, step: int, clips: int, split: str) -> dict[str, Any] | None:
    """What was measured of a checkpoint before; None where nothing was, or of another file: a resumed run may train a step anew."""
    found, path = (read_json(run.path / SCORES) or {}).get(key_of(step, clips, split)), dict(run.checkpoints()).get(step)
    if not isinstance(found, dict) or "mse" not in found:
        return None
    if path is not None and (now := stamp(path)) and found.get("file") != now:
        return None
    return {name: value for name, value in found.items() if name != "file"}


def stamp(path: Path) -> list[int]:
    """What tells a checkpoint from another of the same name: its size, and when it was written, in microseconds; nothing of one that is
    gone, as a training deletes its older ones."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return []
    return [facts.st_size, facts.st_mtime_ns // 1000]


def score(run: RunReader, step: int, clips: int, split: str = "test", progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Free-running scores of the checkpoint at `step` on so many clips, from before where they are known.

    ValueError where there is no such checkpoint, or it cannot be read.
    """
    if (known := known_score(run, step, clips, split)) is not None:
        return known
    path = dict(run.checkpoints()).get(step)
    if path is None:
        raise ValueError(
            f"run {run.name!r} has no checkpoint of step {step}: it has {', '.join(str(at) for at, _ in run.checkpoints()) or 'none'}"
        )
    from .checkpoint import load_checkpoint
    from .data.source import open_source
    from .device import pick_device
    from .evaluate import evaluate

    config = run.config()
    checkpoint = load_checkpoint(path, pick_device(config.run.device))
    found = evaluate(checkpoint, open_source(config.data), clips, split=split, progress=progress)
    kept = {name: found[name] for name in KEPT}
    entry = {key_of(step, clips, split): {**kept, "file": stamp(path)}}
    write_json(run.path / SCORES, (read_json(run.path / SCORES) or {}) | entry)
    return kept
