"""The free-running error of a run's checkpoints: measured once each, and kept beside them."""

from collections.abc import Callable
from typing import Any

from .files import read_json, write_json
from .run_reader import RunReader

SCORES = "scores.json"
KEPT = ("mse", "mse_confidence_95", "ssim", "frames_ahead", "clips", "context", "frames", "split")


def key_of(step: int, clips: int, split: str) -> str:
    return f"step {step}, {clips} {split} clips"


def known_score(run: RunReader, step: int, clips: int, split: str) -> dict[str, Any] | None:
    """What was measured of a checkpoint before; None where nothing was."""
    found = (read_json(run.path / SCORES) or {}).get(key_of(step, clips, split))
    return found if isinstance(found, dict) and "mse" in found else None


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
    write_json(run.path / SCORES, (read_json(run.path / SCORES) or {}) | {key_of(step, clips, split): kept})
    return kept
