"""Many futures of one context in one batch, as a grid of small films: settings against settings, or seeds against one another."""

import dataclasses
import html
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics import frame_mse, to_unit
from .choices import LARGEST_SEED, Chosen
from .generation import Clip, sampling_of
from .patience import in_time
from .pictures import uri_of
from .words import short

if TYPE_CHECKING:
    from torch import Tensor

    from ..checkpoint import Checkpoint

TEMPERATURES = (0.3, 0.8, 1.0, 1.5)
TOP_KS = (2, 5, 20, 0)
COUNTS = (4, 9)
NAMED = ("temperature", "top_k", "steps", "choice", "order", "anneal", "seed")  # settings that a grid is of
DRAWN = {"choice": "drawn"}  # what is expected is one future, whatever the temperature and the seed
LONGEST = 20  # frames of a future in a grid
MOST = 2560  # futures x frames x decode steps of a grid, which others wait for: 16 futures of 20 frames in 8 steps
FRAME_S = 0.2
FIRE = np.array([[5, 7, 12], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float32)  # dark to light, for a map


ALL_DRAWN = "All are drawn, whatever the choice above: what is expected is one future alone."
STALE = "These are of other settings than are chosen now: make the grid again to see these."
ROUNDING = "A film with the very settings chosen is exactly what Generate makes; in others a token may differ: a batch rounds its sums differently."


@dataclass(frozen=True)
class Variant:
    """One future of a grid: what differs from the settings chosen."""

    label: str
    changes: dict[str, Any]


@dataclass(frozen=True)
class Grid:
    """Futures uint8 (N, n, C, H, W) by variant; errors: mean squared error a frame of each, where the truth is known and frames are no
    token ids. same: places of those with the very settings chosen. made: these settings, of `NAMED`."""

    variants: list[Variant]
    frames_u8: np.ndarray
    errors: list[float] | None
    same: tuple[int, ...] = ()
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def opening(self) -> str:
        """The beginning of its HTML: what films need, and a line that shows where the settings are others by now (see stale.js)."""
        of = html.escape(json.dumps(self.made))
        return f'{FILM}<p class="grid-note stale" data-of="{of}" role="status" hidden>{STALE}</p>'


def sheet() -> list[Variant]:
    """Temperature (rows) against top-k (columns)."""
    return [
        Variant(f"temperature {temperature}, top-k {top_k or 'all'}", {**DRAWN, "temperature": temperature, "top_k": top_k})
        for temperature in TEMPERATURES
        for top_k in TOP_KS
    ]


def seeds(first: int, number: int) -> list[Variant]:
    """The same settings with that many seeds, from `first` on; ValueError for a number that is not offered."""
    if number not in COUNTS:
        raise ValueError(f"{number} futures cannot be shown: choose {' or '.join(map(str, COUNTS))}")
    return [Variant(f"seed {seed}", {**DRAWN, "seed": seed}) for seed in (min(first + index, LARGEST_SEED) for index in range(number))]


def length_of(chosen: Chosen, futures: int) -> int:
    """Frames of each future of a grid; ValueError that says what to lower where the grid would keep everybody else waiting for long."""
    frames, most = min(chosen.frames, LONGEST), MOST // futures
    if frames * chosen.steps <= most:
        return frames
    lower = [f"{what} to {most // other}" for what, other in (("future frames", chosen.steps), ("steps (under More settings)", frames))]
    raise ValueError(f"{futures} futures of {frames} frames in {chosen.steps} steps each are too much at once: lower {' or '.join(lower)}")


def futures_of(checkpoint: "Checkpoint", chosen: Chosen, variants: list[Variant]) -> "Iterator[float | Grid]":
    """The futures of the chosen clip, decoded together: the share that is done after each decode step, 0 to 1, and in the end the grid.

    The one that has the very settings chosen is what Generate makes, to the last bit; the others are so up to a token that turns where
    two are nearly tied, since sums in a batch may be rounded differently.
    """
    from ..futures import Future, futures_steps

    frames = length_of(chosen, len(variants))
    clip = dataclasses.replace(chosen, frames=frames).clip(checkpoint.config)
    each = [dataclasses.replace(chosen, **variant.changes) for variant in variants]
    asked = [Future(one.seed, sampling_of(checkpoint.config, one.settings())) for one in each]
    same = [place for place, one in enumerate(each) if one == chosen]
    steps = futures_steps(checkpoint.transformer, checkpoint.encode(clip.given_u8[None]), frames, asked, alone=same)
    for step in in_time(steps):
        yield step.share
    assert step.tokens is not None, "the last step ends the last frame"
    grid = judged(checkpoint, clip, variants, step.tokens, same)
    yield dataclasses.replace(grid, made={name: getattr(chosen, name) for name in NAMED})


def judged(checkpoint: "Checkpoint", clip: Clip, variants: list[Variant], tokens: "Tensor", same: list[int]) -> Grid:
    """The grid of decoded tokens (N, n, h, w)."""
    from ..media import to_u8

    frames = tokens.shape[1]
    frames_u8 = to_u8(checkpoint.decode(tokens))
    for place in same:
        frames_u8[place] = np.concatenate([to_u8(checkpoint.decode(tokens[place, frame][None, None]))[0] for frame in range(frames)])
    known = min(frames, 0 if clip.truth_u8 is None else len(clip.truth_u8))
    if clip.truth_u8 is None or not known or checkpoint.config.tokenizer.quantizer == "ids":
        return Grid(variants, frames_u8, None, tuple(same))
    truth = to_unit(clip.truth_u8[:known])
    return Grid(variants, frames_u8, [float(frame_mse(to_unit(one[:known]), truth).mean()) for one in frames_u8], tuple(same))


def disagreement(frames_u8: np.ndarray) -> np.ndarray:
    """Standard deviation over futures uint8 (N, n, C, H, W), of the brightest channel: float (n, H, W), 0 to 0.5."""
    return to_unit(frames_u8).std(axis=0).max(axis=1)


def fire(values: np.ndarray) -> np.ndarray:
    """Values (n, H, W) in [0, 1] as colours uint8 (n, 3, H, W), dark where small."""
    place = np.clip(values, 0, 1) * (len(FIRE) - 1)
    low = np.minimum(place.astype(int), len(FIRE) - 2)
    share = (place - low)[..., None]
    return (FIRE[low] * (1 - share) + FIRE[low + 1] * share).astype(np.uint8).transpose(0, 3, 1, 2)


def sprite(frames_u8: np.ndarray, label: str) -> str:
    """Frames (n, C, H, W) as one element that plays them, without a script."""
    strip = np.concatenate(list(frames_u8), axis=2)
    number = len(frames_u8)
    motion = f"animation: vidapp-film {number * FRAME_S:.1f}s steps({number}, jump-none) infinite;" if number > 1 else ""
    style = f"background-image: url({uri_of(strip)}); background-size: {100 * number}% 100%; {motion}"
    return f'<div class="sprite" role="img" aria-label="{html.escape(label)}" style="{style}"></div>'


FILM = (
    "<style>@keyframes vidapp-film { from { background-position: 0 0 } to { background-position: 100% 0 } } "
    "@media (prefers-reduced-motion: reduce) { .sprite { animation-play-state: paused !important } }</style>"
)


def cell(grid: Grid, index: int, *, label: bool) -> str:
    variant = grid.variants[index]
    error = f"error {short(grid.errors[index])}" if grid.errors else ""
    chosen = index in grid.same
    under = " · ".join(part for part in (variant.label if label else "", error, "chosen" if chosen else "") if part)
    name = html.escape(f"{variant.label}{' (as chosen now)' if chosen else ''}: generate it")
    pick = html.escape(json.dumps(variant.changes))
    film = sprite(grid.frames_u8[index], variant.label)
    return f'<div{" class=chosen" if chosen else ""}><button type="button" data-pick="{pick}" title="{name}" aria-label="{name}">{film}</button><div class="under">{under}</div></div>'


def sheet_html(grid: Grid) -> str:
    """The sheet of `sheet()`: rows are temperatures, columns top-k."""
    heads = "".join(f'<div class="head">top-k {top_k or "all"}</div>' for top_k in TOP_KS)
    rows = ""
    for row, temperature in enumerate(TEMPERATURES):
        cells = "".join(cell(grid, row * len(TOP_KS) + column, label=False) for column in range(len(TOP_KS)))
        rows += f'<div class="side">temp.<br>{temperature}</div>{cells}'
    errors = "; errors are squared, a frame, of this one seed: small differences are noise" if grid.errors else ""
    note = f"Same clip, same seed{errors}. Press a film to generate it with its settings. {ROUNDING} {ALL_DRAWN}"
    style = f"grid-template-columns: 3.2em repeat({len(TOP_KS)}, minmax(0, 1fr))"
    return f'{grid.opening}<p class="grid-note">{note}</p><div class="grid" style="{style}"><div></div>{heads}{rows}</div>'


def seeds_html(grid: Grid) -> str:
    """Futures side by side, with the map of where they disagree."""
    apart = disagreement(grid.frames_u8)
    columns = 3 if len(grid.variants) > 4 else 2
    films = "".join(cell(grid, index, label=True) for index in range(len(grid.variants)))
    each = apart.mean(axis=(1, 2))
    spread = (
        f"{100 * each[0]:.1f} % in the first frame and {100 * each[-1]:.1f} % in the last" if len(each) > 1 else f"{100 * each[0]:.1f} %"
    )
    chart = sprite(fire(apart * 2), "Where the futures disagree")
    note = f"One context, {len(grid.variants)} seeds. The brighter the map, the less they agree: a pixel differs by {spread}, on average. Press a film to generate it. {ROUNDING} {ALL_DRAWN}"
    films_grid = f'<div class="grid" style="grid-template-columns: repeat({columns}, minmax(0, 1fr)); flex: 2 1 300px">{films}</div>'
    map_grid = f'<div class="grid" style="flex: 1 1 180px; align-self: start"><div class="map">{chart}</div><div class="under">where they disagree</div></div>'
    return (
        f'{grid.opening}<p class="grid-note">{note}</p><div style="display: flex; flex-wrap: wrap; gap: 14px">{films_grid}{map_grid}</div>'
    )


def picked(data: Any) -> dict[str, Any]:
    """The changes of a film that was pressed; ValueError where they are none of those that a grid offers."""
    names = {"temperature": (int, float), "top_k": (int,), "seed": (int,), "choice": (str,)}
    if (
        not isinstance(data, dict)
        or not data
        or data.get("choice", DRAWN["choice"]) != DRAWN["choice"]
        or any(name not in names or isinstance(value, bool) or not isinstance(value, names[name]) for name, value in data.items())
    ):
        raise ValueError("that film cannot be generated: make the grid again")
    return data
