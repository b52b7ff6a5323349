"""The bundled example runs: a healthy one and four with one defect each, to learn reading curves by. Settings, metrics and strips, no weights.

They are real trainings, made by `python -m vidapp.sick_training`. They are looked at like any run and steered by nobody.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .run_reader import RunReader, open_run

EXAMPLES = Path(__file__).resolve().parent.parent / "assets" / "sick-runs"
PREFIX = "example:"  # no run can be called so: its name is a folder's


@dataclass(frozen=True)
class Example:
    """change: the settings that make it what it is, by dotted key. see: what to look at in its curves, two sentences."""

    name: str
    title: str
    see: str
    change: Mapping[str, Any] = field(default_factory=dict)


HEALTHY = Example(
    "healthy",
    "A healthy run",
    "Validation falls below the entropy of the tokens at once and goes on falling, with training beside it. In Layers every row "
    "has a gradient, steps move the weights by a hundredth and less, activations stay below ten; samples still melt after a frame "
    "or two, as they do this early.",
)
FRAMEWISE = Example(
    "no-time-attention",
    "No time attention",
    "The loss falls at first as in the healthy run, since single frames and frequencies can be learnt, then validation stays at "
    "3.05 after the first hundred steps where the healthy one goes down to 2.5. The future frames are empty: what sees no other frame guesses "
    "the commonest token, the background.",
    {"model.attention": "framewise"},
)
VISIBLE = Example(
    "loss-on-visible",
    "Loss on visible tokens",
    "The training loss looks far better than that of the healthy run, 1.9 against 2.9, because a third of it is copying what is "
    "shown; validation, which counts masked tokens only, is no better. Where training is far below validation from the first steps "
    "on, ask what the loss counts.",
)
TOO_HIGH = Example(
    "rate-too-high",
    "Learning rate too high",
    "Both losses jump, then settle above 3.1, and fewer tokens are guessed right than by the healthy run at step 25. In Layers the "
    "activations are a million where a healthy run stays below ten: the first steps threw the weights far off, and clipping the "
    "gradient does not prevent that.",
    {"recipe.learning_rate": 0.1, "recipe.muon_learning_rate": 0.6},
)
COLLAPSED = Example(
    "collapsed-codebook",
    "Collapsed codebook",
    "Its loss is the lowest of all, 0.8 against 2.5, because there is little left to guess: of 512 codes less than five carry the "
    "frames (perplexity, in the tokenizer's phase), and a frame's error stays above 50. Losses over different tokenizers cannot be "
    "compared: look at the reconstruction first.",
    {"tokenizer.quantizer": "vq"},
)
SICK_RUNS: dict[str, Example] = {example.name: example for example in (HEALTHY, FRAMEWISE, VISIBLE, TOO_HIGH, COLLAPSED)}


def folder_of(name: str, place: Path | None = None) -> Path:
    """Where an example lies, below `place` (default: the bundled ones); ValueError for an unknown one."""
    if name not in SICK_RUNS:
        raise ValueError(f"there is no bundled example {name[:60]!r}: choose {', '.join(SICK_RUNS)}")
    return (place or EXAMPLES) / name


def open_example(name: str) -> RunReader:
    """An example by its own name; ValueError where it is unknown or not there."""
    return RunReader(folder_of(name))


def is_example(name: str | None) -> bool:
    """Whether a run's name, as a page or a command gives it, means a bundled example (`example:healthy`)."""
    return bool(name) and str(name).startswith(PREFIX)


def example_of(name: str) -> Example:
    """The example of `example:NAME`; ValueError for an unknown one."""
    folder_of(name.removeprefix(PREFIX))
    return SICK_RUNS[name.removeprefix(PREFIX)]


def open_any(name: str) -> RunReader:
    """An example (`example:NAME`) or a person's own run, to look at; ValueError where there is none of that name."""
    return open_example(name.removeprefix(PREFIX)) if is_example(name) else open_run(name)


def choices() -> list[tuple[str, str]]:
    """(label, `example:NAME`) of those that are there: a copy of the app may come without them."""
    return [(f"Bundled example: {example.title}", f"{PREFIX}{name}") for name, example in SICK_RUNS.items() if folder_of(name).is_dir()]


def refuse_example(name: str | None) -> None:
    """ValueError for what is done to one's own runs only."""
    if is_example(name):
        raise ValueError("a bundled example is only there to be looked at: choose one of your own runs")
