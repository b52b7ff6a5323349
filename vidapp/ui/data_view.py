"""From what was chosen in the Data tab to clips on a wall, splits in words, and previews of what a recipe does. Knows no widgets."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import MOVING_MNIST, SPLITS, Config, DataConfig, RecipeConfig
from ..failures import told_to_strangers
from . import sources
from .choices import whole_number
from .wall import Shown
from .words import count

if TYPE_CHECKING:
    from ..data.source import ClipSource
    from ..data.survey import Survey

SIZES = (32, 64, 128)
CLIPS = 12
AUGMENTED = 4  # clips shown before and after
LONGEST = 64  # frames
LISTED = 100  # skipped files that are named
WHOLE = {  # what must be a whole number, in words, and its bounds
    "size": ("frame size", 1, max(SIZES)),
    "channels": ("colour", 1, 3),
    "frames": ("clip length", 2, LONGEST),
    "given": ("given frames", 1, LONGEST),
    "draw": ("training step", 0, 10**9),
    "step": ("frame step", 1, 15),
}
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Chosen:
    """What is to be looked at, and what the recipe would do to it."""

    source: str
    split: str
    size: int
    channels: int
    frames: int
    given: int
    flip: float
    rotation: float
    brightness: float
    contrast: float
    draw: int
    lengths: str
    step: int = 1

    @property
    def data(self) -> DataConfig:
        """The config of the source, which must be one that is offered; ValueError otherwise. Of token ids the file says the size."""
        if self.split not in SPLITS:
            raise ValueError(f"unknown split {self.split!r}: use one of {', '.join(SPLITS)}")
        if self.size not in SIZES or not 2 <= self.frames <= LONGEST:
            raise ValueError(
                f"{self.frames} frames of {self.size} pixels: choose 2 to {LONGEST} frames, and {', '.join(map(str, SIZES))} pixels"
            )
        if self.step > 1 and self.source.startswith(sources.PREFIX) and told_to_strangers():
            raise ValueError(
                "on this page the clips that are here are shown with all of their frames: set Frame step to 1"
            )  # each step is kept decoded
        data = DataConfig(
            source=self.source,
            size=self.size,
            channels=self.channels,
            clip_frames=self.frames,
            context_frames=min(self.given, self.frames - 1),
            frame_step=self.step,
        )
        return sources.resolved(Config(data=data)).data

    @property
    def settings(self) -> dict[str, Any]:
        """What a run on these clips is given, by dotted key; ValueError where they cannot be."""
        data = self.data
        found = {f"data.{name}": getattr(data, name) for name in ("size", "channels", "clip_frames", "context_frames", "frame_step")}
        return {"data.source": self.source, **found}

    @property
    def recipe(self) -> RecipeConfig:
        return RecipeConfig(horizontal_flip=self.flip, rotation=self.rotation, brightness=self.brightness, contrast=self.contrast)


def chosen_from(*values: Any) -> Chosen:
    """ValueError where a number is missing."""
    names = list(Chosen.__dataclass_fields__)
    chosen = dict(zip(names, values, strict=True))
    for name, value in chosen.items():
        if value is None and name not in WHOLE:
            raise ValueError(f"{name} is empty: give a value")
    for name, (words, low, high) in WHOLE.items():
        chosen[name] = whole_number(words, chosen[name], low, high)
    return Chosen(**chosen)


def opened(data: DataConfig, progress: Progress | None = None) -> "ClipSource":
    """The source; `progress` hears of each own file before it is decoded, which the first time takes a while."""
    from ..data.folder import FolderSource  # here and below: the page comes up before torch is imported
    from ..data.source import open_source
    from ..data.token_ids import is_token_data

    if data.source in MOVING_MNIST or is_token_data(data.source):
        return open_source(data)
    return FolderSource(data, progress=progress)


def clips_of(source: "ClipSource", chosen: Chosen) -> list[Shown]:
    """The first clips of a split, as the model gets them. Of the training split those of the first step of seed 0.

    The first one says so where more frames were to be given than a clip of that length can.
    """
    given = chosen.data.context_frames
    cut = f": given frames {chosen.given} became {given}, since at least one is to be predicted" if chosen.given > given else ""
    if chosen.split == "train":
        clips = [source.training_clip(0, 0, sample, chosen.frames) for sample in range(CLIPS)]
    else:
        clips = list(source.fixed_clips(chosen.split, CLIPS, chosen.frames))
    return [Shown(clip, f"{chosen.split} {number}{'' if number else cut}", given) for number, clip in enumerate(clips)]


def augmented(source: "ClipSource", chosen: Chosen) -> list[Shown]:
    """Training clips before and after the recipe's augmentation, which is the same for all frames of a clip; none of token ids."""
    import torch

    from ..data.augment import apply, draw_augmentation
    from ..data.token_ids import TokenSource

    if isinstance(source, TokenSource):
        return []
    walls = []
    for sample in range(AUGMENTED):
        clip = source.training_clip(0, 0, sample, chosen.frames)
        change = draw_augmentation(chosen.recipe, 0, chosen.draw, sample)
        after = apply(torch.from_numpy(np.ascontiguousarray(clip)), change).numpy()
        walls += [Shown(clip, f"train {sample}, before"), Shown(after, f"after: {change_in_words(change)}")]
    return walls


def change_in_words(change: Any) -> str:
    parts = ["mirrored"] if change.flip else []
    parts += [f"turned by {change.angle:+.0f}°"] if abs(change.angle) >= 0.5 else []
    parts += [f"brightness ×{change.brightness:.2f}"] if change.brightness != 1 else []
    parts += [f"contrast ×{change.contrast:.2f}"] if change.contrast != 1 else []
    return ", ".join(parts) or "unchanged"


def lengths_of(text: str) -> tuple[int, ...]:
    """`5, 10, 20` as numbers that grow; ValueError with what to write instead."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or len(parts) > 8 or not all(part.isascii() and part.isdecimal() and 2 <= int(part) <= LONGEST for part in parts):
        raise ValueError(f"clip lengths {text[:60]!r}: give up to eight numbers from 2 to {LONGEST}, e.g. 5, 10, 15, 20")
    return RecipeConfig(curriculum=tuple(int(part) for part in parts)).curriculum


def at_lengths(source: "ClipSource", chosen: Chosen) -> list[Shown]:
    """One training clip at each length of a curriculum; the given frames keep their share of it."""
    from ..schedules import context_frames

    lengths = lengths_of(chosen.lengths)
    shown = []
    for place, length in enumerate(lengths):
        part = f"{100 * place // len(lengths)}–{100 * (place + 1) // len(lengths)} % of the run"
        given = context_frames(chosen.data, length)
        try:
            clip = source.training_clip(0, 0, 0, length)
        except ValueError as error:
            raise ValueError(f"Curriculum, {length} frames: {error}") from error
        shown.append(Shown(clip, f"{part}: {length} frames, {given} given, {length - given} to predict", given))
    return shown


def survey_html(found: "Survey") -> str:
    """The splits in words and in a table."""
    kinds = list(next(iter(found.counts.values()), {}))
    head = "".join(f"<th scope='col'>{html.escape(kind)}</th>" for kind in kinds)
    rows = "".join(
        f"<tr><th scope='row'>{html.escape(split)}</th>" + "".join(f"<td>{number:,}</td>" for number in numbers.values()) + "</tr>"
        for split, numbers in found.counts.items()
    )
    table = f"<table><thead><tr><th scope='col'>split</th>{head}</tr></thead><tbody>{rows}</tbody></table>" if found.counts else ""
    unit = "digit" if "digits" in kinds else "frame"
    if found.shared is None:
        verdict = ""
    elif found.shared:
        verdict = f"<p class='bad'>{count(found.shared, unit)} in two splits: scores on them say too much.</p>"
    else:
        verdict = f"<p class='good'>Counted: no {unit} is in two splits.</p>"
    return f"<div class='survey'><p>{html.escape(found.words)}</p>{table}{verdict}</div>"


def skipped_html(skipped: Sequence[tuple[str, str]]) -> str:
    """What could not be used and why; nothing where all could."""
    if not skipped:
        return ""
    items = "".join(f"<li>{named_once(name, reason)}</li>" for name, reason in skipped[:LISTED])
    more = f"<li>and {len(skipped) - LISTED:,} more</li>" if len(skipped) > LISTED else ""
    return f"<div class='skipped'><p>{len(skipped):,} skipped:</p><ul tabindex='0' aria-label='skipped'>{items}{more}</ul></div>"


def named_once(name: str, reason: str) -> str:
    """`<b>clip.gif</b> is damaged`: many reasons begin with the name of the file themselves."""
    own = name.rsplit("/", 1)[-1]
    rest = reason[len(own) :] if reason.startswith(own) else f": {reason}"
    return f"<b>{html.escape(name)}</b>{html.escape(rest)}"
