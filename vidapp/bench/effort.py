"""How much a measurement may cost, and the clock that it is taken with."""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..config import Config
from ..presets import preset


@dataclass(frozen=True, kw_only=True)
class Effort:
    """seconds: of one figure, about. side: of the large matrix product. changes: to the presets, by dotted key."""

    seconds: float = 15.0
    side: int = 2048
    lines: int = 5000  # of metrics in the run that the page watches
    changes: dict[str, Any] = field(default_factory=dict)

    def config(self, name: str, **more: Any) -> Config:
        """A preset, factorized and with few validation clips (they are encoded before the first step), with `changes` and `more`."""
        headline = {"model.attention": "factorized", "run.validation_clips": 1, "run.device": "auto"}
        return preset(name).replace({**headline, **{key.replace("__", "."): value for key, value in more.items()}, **self.changes})

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Effort":
        return Effort(**json.loads(text))


TOY = Effort(
    seconds=0.05,
    side=64,
    lines=100,
    changes={
        "model.layers": 1,
        "tokenizer.levels": "4,4",
        "tokenizer.channels": 8,
        "data.size": 32,
        "data.clip_frames": 4,
        "data.context_frames": 2,
        "recipe.batch_size": 2,
        "sampling.steps": 2,
    },
)


def repeat(action: Callable[[], object], seconds: float, at_least: int = 3) -> list[float]:
    """Seconds of each of some runs of `action`, after one that does not count: at least so many, and until `seconds` have passed."""
    action()
    taken: list[float] = []
    while len(taken) < at_least or sum(taken) < seconds:
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return taken


def typical(values: Sequence[float]) -> float:
    """The median: what others do on the machine meanwhile moves it least."""
    return statistics.median(values)
