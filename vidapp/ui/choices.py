"""The values of the Generate controls, checked."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from ..config import Config
from . import session
from .drawing import drawn_clip
from .generation import DRAWN, LONGEST_FUTURE, SOURCES, TEST, TEST_CLIPS, UPLOAD, Clip, data_clip, source_of, uploaded_clip

LARGEST_SEED = 2**31 - 1
LARGEST = 1e15  # of any number given here
LONGEST_GIVEN = 64
BOUNDS = {  # of what no config knows; how to sample is checked by the sampling settings themselves
    "number": ("clip number", 0, TEST_CLIPS - 1),
    "given": ("given frames", 1, LONGEST_GIVEN),
    "frames": ("future frames", 1, LONGEST_FUTURE),
    "temperature": ("temperature", None, None),
    "top_k": ("top-k", None, None),
    "steps": ("steps", None, None),
    "seed": ("seed", 0, LARGEST_SEED),
}
SLIDERS = {  # the ends of the page's sliders
    "number": (0, TEST_CLIPS - 1),
    "given": (1, LONGEST_GIVEN),
    "frames": (1, LONGEST_FUTURE),
    "temperature": (0, 2),
    "top_k": (0, 100),
    "steps": (1, 32),
}
MOST_PASSES = SLIDERS["frames"][1] * SLIDERS["steps"][1]  # of the model for one future: what the sliders allow at their ends


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
    choice: str
    order: str
    anneal: bool
    seed: int

    def settings(self) -> dict[str, Any]:
        """The sampling settings among the choices."""
        return {name: getattr(self, name) for name in ("temperature", "top_k", "steps", "choice", "order", "anneal")}

    def clip(self, config: Config) -> Clip:
        """The chosen clip, as a model of that config sees it."""
        if self.source == UPLOAD:
            return uploaded_clip(self.upload, config, self.given, self.frames)
        if self.source == DRAWN:
            if config.tokenizer.quantizer == "ids":
                raise ValueError("this checkpoint knows token ids only, and a drawing has none: choose a test clip, or give a .npy of ids")
            return drawn_clip(self.drawing, config.data, self.given, self.frames)
        data = source_of(config, trusted=session.trusted(self.checkpoint))
        return data_clip(data, self.number, self.given, self.frames)


def last_of(clips: int) -> int:
    """The end of the slider over so many clips, which is never a slider of one place."""
    return max(clips - 1, 1)


def chosen_from(*values: Any) -> Chosen:
    """Choices from the controls' values, in the order of the fields; ValueError where a number is missing or impossible."""
    names = [field.name for field in dataclasses.fields(Chosen)]
    chosen = dict(zip(names, values, strict=True))
    for name in (*BOUNDS, "source", "choice", "order", "anneal"):
        if chosen[name] is None:
            raise ValueError(f"{BOUNDS[name][0] if name in BOUNDS else name} is empty: give a value")
    for name, (words, low, high) in BOUNDS.items():
        read = number_of if name == "temperature" else whole_number
        chosen[name] = read(words, chosen[name], low, high)
    if chosen["frames"] * chosen["steps"] > MOST_PASSES:
        raise ValueError(
            f"{chosen['frames']} future frames in {chosen['steps']} steps each are more than others can wait for: ask for fewer frames or steps "
            f"(at most {MOST_PASSES:,} in all)"
        )
    if chosen["source"] not in SOURCES:
        raise ValueError(f"unknown source of clips {str(chosen['source'])[:40]!r}: use one of {', '.join(SOURCES)}")
    return Chosen(**chosen)


def carried_on(values: tuple[Any, ...]) -> tuple[tuple[Any, ...], str]:
    """The controls' values with those beyond the end of their slider set to that end, and a sentence that says so, else empty.

    The browser sets a slider's number box so as it is left, an empty one to the lower end, but tells what was typed.
    """
    names = [field.name for field in dataclasses.fields(Chosen)]
    kept, said = list(values), []
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        low, high = SLIDERS.get(name, (-math.inf, math.inf))
        empty, number = value is None and name in SLIDERS, isinstance(value, (int, float)) and not isinstance(value, bool)
        if empty or (number and -LARGEST <= value <= LARGEST and not low <= value <= high):
            kept[place] = low if empty else min(max(value, low), high)
            said.append(f"{BOUNDS[name][0]} {'was empty and' if empty else f'{value:g}'} became {kept[place]:g}")
    text = ", ".join(said)
    return tuple(kept), f"{text[0].upper()}{text[1:]}." if text else ""


def number_of(words: str, value: Any, low: int | None = None, high: int | None = None) -> float:
    """A control's number; ValueError where it is missing, no number, or not within low and high."""
    if value is None or value == "":
        raise ValueError(f"{words} is empty: give a value")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -LARGEST <= value <= LARGEST:
        asked = "a number" if low is None or high is None else f"{low} to {high}"
        raise ValueError(f"{words} is {str(value)[:40]!r}: give {asked}")
    if (low is not None and value < low) or (high is not None and value > high):
        raise ValueError(f"{words} is {value:g}: give {low} to {high}")
    return value


def whole_number(words: str, value: Any, low: int | None = None, high: int | None = None) -> int:
    """The same for one that must be whole."""
    number = number_of(words, value, low, high)
    if number != int(number):
        raise ValueError(f"{words} is {number:g}: give a whole number")
    return int(number)


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
    choice=DEFAULTS.choice,
    order=DEFAULTS.order,
    anneal=DEFAULTS.anneal,
    seed=0,
)
"""What the page opens with: the controls' defaults, and the settings of the bundled generation."""
