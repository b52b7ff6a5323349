"""From what a person chose to given frames, true frames and predicted frames, with a verdict in words. Knows no widgets."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import Config, DataConfig, SamplingConfig
from ..metrics import black, frame_mse, repeat_last, to_unit
from .words import count, leading, short

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint
    from ..rollout import RolloutStep

TEST_CLIPS = 200  # numbers that can be chosen
LONGEST_FUTURE = 100
TEST, DRAWN, UPLOAD = SOURCES = ("test", "drawn", "upload")


@dataclass(frozen=True)
class Clip:
    """given_u8 (T, C, H, W); truth_u8 (at most the frames asked for, C, H, W) or None where nothing is known of the future."""

    given_u8: np.ndarray
    truth_u8: np.ndarray | None
    name: str


def data_clip(data: DataConfig, number: int, given: int, future: int) -> Clip:
    """A clip of the test split by its number, from 0; ValueError where the data has no clip of that number."""
    if not 0 <= number < TEST_CLIPS:
        raise ValueError(f"test clip {number} is not among the first {TEST_CLIPS}: choose 0 to {TEST_CLIPS - 1}")
    frames = numbered_clip(data, number, given + future).copy()  # the cached one is read-only, which torch does not like
    return Clip(frames[:given], frames[given:], f"test clip {number}")


@lru_cache(maxsize=8)
def numbered_clip(data: DataConfig, number: int, frames: int) -> np.ndarray:
    from ..data.source import open_source  # here and below: the page comes up before torch is imported

    clips = open_source(data).fixed_clips("test", number + 1, frames)
    if len(clips) <= number:
        raise ValueError(f"there is no test clip {number}: {data.source} has {len(clips)}, counted from 0")
    clip = np.ascontiguousarray(clips[number])
    clip.setflags(write=False)
    return clip


def uploaded_clip(path: str | None, data: DataConfig, given: int, future: int) -> Clip:
    """A person's own clip, fitted to the model's frames. What lies behind the given frames is the true future."""
    if not path:
        raise ValueError("no clip was uploaded yet: drop a video, a GIF, an .npy or a .zip of images into the box")
    from ..data.clips import read_clip

    frames = read_clip(Path(path), data.size, data.channels, given + future)
    if len(frames) < given:
        raise ValueError(
            f"{Path(path).name} has {count(len(frames), 'frame')} but {given} are to be given: lower `given frames` to {len(frames)} or less, "
            "or use a longer clip"
        )
    truth = frames[given : given + future]
    return Clip(frames[:given], truth if len(truth) else None, Path(path).name)


def source_of(config: Config, *, trusted: bool) -> DataConfig:
    """The data to take test clips from: what the checkpoint was trained on.

    A dropped file may name any path as its data; such a path is not followed. All Moving MNIST variants use the bundled digits,
    which need no network.
    """
    if config.data.source.startswith("moving-mnist"):
        return dataclasses.replace(config.data, source="moving-mnist")
    if not trusted:
        raise ValueError("this checkpoint was trained on clips that are not here: upload a clip for it to continue")
    return config.data


def sampling_of(config: Config, settings: dict[str, Any]) -> SamplingConfig:
    """The checkpoint's sampling settings with those of the page; ValueError for what they do not allow."""
    chosen = {**dataclasses.asdict(config.sampling), **settings}
    chosen["top_k"] = min(int(chosen["top_k"]), config.tokenizer.codebook_size)
    return SamplingConfig(**chosen)


def adjusted(config: Config, settings: dict[str, Any]) -> str:
    """What `sampling_of` made of settings that this checkpoint cannot follow, in a sentence; empty where it follows them."""
    codes, asked = config.tokenizer.codebook_size, int(settings["top_k"])
    return f"Top-k is {codes}, all codes that this checkpoint has: {asked} were asked for." if asked > codes else ""


def predicted(
    checkpoint: "Checkpoint",
    given_u8: np.ndarray,
    frames: int,
    sampling: SamplingConfig,
    seed: int,
    watch: "Callable[[RolloutStep], None] | None" = None,
    made_THW: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """Future frames float32 (n, C, H, W), not clipped, growing as they are decoded: every yield holds all that there are.

    `watch` is called with every decode step. `made_THW`: the token grids of its first frames where they were made before; it goes on
    from there.
    """
    from ..futures import Future, goes_on
    from ..rollout import rollout

    if not 1 <= frames <= LONGEST_FUTURE:
        raise ValueError(f"{frames} future frames were asked for: choose 1 to {LONGEST_FUTURE}")
    context = checkpoint.encode(given_u8[None])
    made = np.zeros((0, *given_u8.shape[1:]), np.float32)
    if made_THW is None:
        steps = rollout(checkpoint.transformer, context, frames, sampling, seed)
    else:
        steps = goes_on(checkpoint.transformer, context, frames, Future(seed, sampling), made_THW)
    for step in steps:
        if watch is not None:
            watch(step)
        if step.frame_done:
            fresh = checkpoint.decode(step.tokens_BTHW[:, context.shape[1] + len(made) :])[0]
            made = np.concatenate([made, fresh])
            yield made


def reconstructed(checkpoint: "Checkpoint", frames_u8: np.ndarray) -> np.ndarray:
    """What the tokenizer alone makes of frames: float32 (T, C, H, W), not clipped."""
    return checkpoint.decode(checkpoint.encode(frames_u8[None]))[0]


@dataclass(frozen=True)
class Errors:
    """Squared error summed over a frame's pixels, for each future frame whose truth is known, of four ways to predict it."""

    model: list[float]
    repeat: list[float]
    empty: list[float]
    tokenizer: list[float]

    @property
    def rows(self) -> dict[str, list[float]]:
        return {"prediction": self.model, "repeat_last": self.repeat, "black": self.empty, "reconstruction": self.tokenizer}


def errors_of(checkpoint: "Checkpoint", clip: Clip, prediction: np.ndarray) -> Errors | None:
    """Errors of float frames (n, C, H, W) against the truth; None where nothing is known of the future."""
    if clip.truth_u8 is None or not len(prediction):
        return None
    known = min(len(prediction), len(clip.truth_u8))
    truth = to_unit(clip.truth_u8[:known])
    last = repeat_last(to_unit(clip.given_u8[-1:])[None], known)[0]
    guesses = (prediction[:known], last, black(truth), reconstructed(checkpoint, clip.truth_u8[:known]))
    return Errors(*(frame_mse(guess, truth).tolist() for guess in guesses))


@dataclass(frozen=True)
class Verdict:
    """What a generation is worth: a headline, the figures behind it, and whether it is good news."""

    headline: str
    figures: str
    good: bool


def verdict(errors: Errors | None, frames: int) -> Verdict:
    """A generation in words, against predictions that need no model."""
    if errors is None:
        return Verdict(
            f"{count(frames, 'future frame')} generated.", "What really followed is not known, so there is no error to show.", True
        )
    known = len(errors.model)
    ahead = leading([own < other for own, other in zip(errors.model, errors.repeat, strict=True)])
    above_empty = leading([own < other for own, other in zip(errors.model, errors.empty, strict=True)])
    if ahead == 0:
        headline = "No better than repeating the last given frame, from the first frame on."
    elif ahead == known:
        headline = "Better than repeating the last given frame, for " + ("the one frame" if known == 1 else f"all {known} frames") + "."
    else:
        headline = f"Better than repeating the last given frame for the first {count(ahead, 'frame')} of {known}."
    if ahead and above_empty < known:
        headline += (
            f" {'From the start' if above_empty == 0 else f'From frame {above_empty + 1} on'}, an empty frame would have been closer."
        )
    mean = {name: sum(values) / known for name, values in errors.rows.items()}
    first, last = errors.model[0], errors.model[-1]
    spread = f"first {short(first)}, last {short(last)}, mean {short(mean['prediction'])}" if known > 1 else short(first)
    figures = (
        f"Squared error a frame: {spread}. For comparison: repeating the last frame {short(mean['repeat_last'])}, "
        f"an empty frame {short(mean['black'])}, the tokenizer alone {short(mean['reconstruction'])}."
    )
    if known < frames:
        figures += f" Truth is known for {known} of {frames} frames."
    better = mean["prediction"] < min(mean["repeat_last"], mean["black"])
    return Verdict(headline, figures, better)
