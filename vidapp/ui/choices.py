"""The values of the Generate controls, checked."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from ..config import Config
from . import session
from .drawing import drawn_clip
from .generation import DRAWN, SOURCES, TEST, UPLOAD, Clip, data_clip, source_of, uploaded_clip

LARGEST_SEED = 2**31 - 1
OPTIONAL = ("checkpoint", "dropped", "upload", "drawing")
WHOLE = ("number", "given", "frames", "top_k", "steps", "seed")


@dataclass(frozen=True)
class Chosen:
    """What a person chose: a checkpoint (or a dropped file), a clip, and how to sample."""

    checkpoint: str | None
    dropped: str | None
    source: str
    number: int
    upload: str | None
    drawing: str | None
    given: int
    frames: int
    temperature: float
    top_k: int
    steps: int
    order: str
    anneal: bool
    seed: int

    def settings(self) -> dict[str, Any]:
        """The sampling settings among the choices."""
        return {name: getattr(self, name) for name in ("temperature", "top_k", "steps", "order", "anneal")}

    def clip(self, config: Config) -> Clip:
        """The chosen clip, as a model of that config sees it."""
        if self.source == UPLOAD:
            return uploaded_clip(self.upload, config.data, self.given, self.frames)
        if self.source == DRAWN:
            return drawn_clip(self.drawing, config.data, self.given, self.frames)
        data = source_of(config, trusted=self.checkpoint != session.DROPPED_CHOICE)
        return data_clip(data, self.number, self.given, self.frames)


def chosen_from(*values: Any) -> Chosen:
    """Choices from the controls' values, in the order of the fields; ValueError where a number is missing or impossible."""
    names = [field.name for field in dataclasses.fields(Chosen)]
    chosen = dict(zip(names, values, strict=True))
    for name, value in chosen.items():
        if value is None and name not in OPTIONAL:
            raise ValueError(f"{name.replace('_', '-')} is empty: give a value")
    for name in WHOLE:
        chosen[name] = int(chosen[name])
    if not 0 <= chosen["seed"] <= LARGEST_SEED:
        raise ValueError(f"the seed is {chosen['seed']}: give a whole number from 0 to {LARGEST_SEED}")
    if chosen["given"] < 1:
        raise ValueError(f"{chosen['given']} given frames: give at least 1")
    if chosen["source"] not in SOURCES:
        raise ValueError(f"unknown source of clips {str(chosen['source'])[:40]!r}: use one of {', '.join(SOURCES)}")
    return Chosen(**chosen)


DEFAULTS = session.BUNDLED_CONFIG.sampling
FIRST = Chosen(
    checkpoint=session.BUNDLED_CHOICE,
    dropped=None,
    source=TEST,
    number=0,
    upload=None,
    drawing=None,
    given=10,
    frames=10,
    temperature=DEFAULTS.temperature,
    top_k=DEFAULTS.top_k,
    steps=DEFAULTS.steps,
    order=DEFAULTS.order,
    anneal=DEFAULTS.anneal,
    seed=0,
)
"""What the page opens with: the controls' defaults, and the settings of the bundled generation."""
