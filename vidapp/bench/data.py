"""Clips made or read: what a training step waits for first."""

from ..data.source import open_source
from .effort import Effort, repeat, typical


def measure(effort: Effort) -> dict[str, object]:
    """The figures of the scope, in one process; the limit is copying a clip of this size once."""
    config = effort.config("small")
    source = open_source(config.data)
    drawn = iter(range(10**9))
    seconds = typical(repeat(lambda: source.training_clip(0, 0, next(drawn), config.data.clip_frames), effort.seconds / 5, at_least=20))
    clip = source.training_clip(0, 0, 0, config.data.clip_frames)
    return {
        "clips_per_second": 1 / seconds,
        "clips_per_second_at_copy_rate": 1 / typical(repeat(clip.copy, effort.seconds / 50, at_least=20)),
        "bytes_per_clip": clip.nbytes,
        "source": config.data.source,
    }
