"""From what a person chose to given frames, true frames and predicted frames, with a verdict in words. Knows no widgets."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import MOVING_MNIST, Config, DataConfig, SamplingConfig
from ..lent_gpu import gpu_is_lent, lent
from ..metrics import black, frame_gradient, frame_mse, mean_of_frames, pixel_mean, repeat_last, to_unit
from .patience import in_time, patience
from .words import count, leading, short

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint
    from ..rollout import RolloutStep

TEST_CLIPS = 200  # numbers that can be chosen
LONGEST_FUTURE = 100
LARGEST_CLIP = 48 << 20  # bytes: a checkpoint that somebody drops says how large its frames are
MEAN_FRAMES, MEAN_PIXELS = 20, 1 << 26  # at most, of a clip and in all: a stranger's checkpoint says how large its clips are
MEAN_CLIPS, MEAN_OWN_CLIPS = 256, 32  # training clips that the mean frame is taken of: drawn ones, and those that are read from files
MARGIN = 0.05  # of the error: what is closer than this is no difference
BLUR = 0.2  # of the true frames' edges: a prediction with less has no shapes
DARK = 0.02  # of the true frames' light (squared): a prediction with less shows nothing
IDLE = "Temperature, top-k, annealing and seed change nothing: the choice is expected, one future alone."
TEST, DRAWN, UPLOAD = SOURCES = ("test", "drawn", "upload")


@dataclass(frozen=True)
class Clip:
    """given_u8 (T, C, H, W); truth_u8 (at most the frames asked for, C, H, W) or None where nothing is known of the future. which: which of
    the clips in a file it is, in a sentence; empty where it is the only one."""

    given_u8: np.ndarray
    truth_u8: np.ndarray | None
    name: str
    which: str = ""

    @property
    def known_u8(self) -> np.ndarray:
        """All frames that are known (T, C, H, W)."""
        return self.given_u8 if self.truth_u8 is None else np.concatenate([self.given_u8, self.truth_u8])


def data_clip(data: DataConfig, number: int, given: int, future: int) -> Clip:
    """A clip of the test split by its number, from 0, with as much of its future as there is; ValueError where the data has no clip of that
    number, or it is too short."""
    if not 0 <= number < TEST_CLIPS:
        raise ValueError(f"test clip {number} is not among the first {TEST_CLIPS}: choose 0 to {TEST_CLIPS - 1}")
    refuse_large(data, given + future)
    frames = numbered_clip(data, number, given + future).copy()  # the cached one is read-only, which torch does not like
    return clip_of(frames, given, f"test clip {number}")


def clip_of(frames_u8: np.ndarray, given: int, name: str, which: str = "") -> Clip:
    """Frames (T, C, H, W) as what is given and what follows; ValueError where there are fewer than are to be given."""
    if len(frames_u8) < given:
        raise ValueError(
            f"{name} has {count(len(frames_u8), 'frame')} but {given} are to be given: lower Given frames to {len(frames_u8)} (under More settings), "
            "or use a longer clip"
        )
    return Clip(frames_u8[:given], frames_u8[given:] if len(frames_u8) > given else None, name, which)


def refuse_large(data: DataConfig, frames: int) -> None:
    """ValueError where so many frames take more than `LARGEST_CLIP`."""
    most = LARGEST_CLIP // (data.channels * data.size**2)
    if frames > most:
        raise ValueError(f"{frames} frames of {data.size}x{data.size} pixels are more than a page shows: {most} at most")


@lru_cache(maxsize=8)
def numbered_clip(data: DataConfig, number: int, frames: int) -> np.ndarray:
    from ..data.source import open_source  # here and below: the page comes up before torch is imported

    clip = open_source(data).numbered_clip("test", number, frames)
    clip.setflags(write=False)
    return clip


@lru_cache(maxsize=8)
def known_clips(data: DataConfig) -> int:
    """How many test clips can be chosen by their number; ValueError or OSError where they cannot be had."""
    from ..data.source import open_source

    return len(open_source(data).fixed_recordings("test", TEST_CLIPS, data.clip_frames))


def uploaded_clip(path: str | None, config: Config, given: int, future: int) -> Clip:
    """A person's own clip, as a model of that config reads it. What lies behind the given frames is the true future."""
    if not path:
        raise ValueError("no clip was uploaded yet: drop a video, a GIF, an .npy or a .zip of images into the box")
    refuse_large(config.data, given + future)
    from ..data.decoders import looking_up
    from ..data.source import person_clip

    with looking_up(patience()):
        clip, which = person_clip(Path(path), config, given + future)
    return clip_of(clip.frames, given, clip.name, which)


def source_of(config: Config, *, trusted: bool) -> DataConfig:
    """The data to take test clips from: what the checkpoint was trained on.

    A dropped file may name any path as its data; such a path is not followed. All Moving MNIST variants use the bundled digits,
    which need no network.
    """
    if config.data.source in MOVING_MNIST:
        return dataclasses.replace(config.data, source="moving-mnist")
    if not trusted:
        raise ValueError("this checkpoint was trained on clips that are not here: upload a clip for it to continue")
    return config.data


def sampling_of(config: Config, settings: dict[str, Any]) -> SamplingConfig:
    """The checkpoint's sampling settings with those of the page; ValueError for what they do not allow."""
    chosen = {**dataclasses.asdict(config.sampling), **settings}
    chosen["top_k"] = min(int(chosen["top_k"]), config.tokenizer.codebook_size)
    if chosen["choice"] == "expected" and config.tokenizer.quantizer == "ids":
        raise ValueError("choice is expected, but ids that were made elsewhere have no patches to expect anything by: set it to drawn")
    return SamplingConfig(**chosen)


def adjusted(config: Config, settings: dict[str, Any], given: int = 1, frames: int = 1) -> str:
    """What `sampling_of` made of settings, and the model of `given` frames, that this checkpoint cannot follow, in sentences; empty where
    it follows them."""
    from ..rollout import unseen_past

    codes, asked = config.tokenizer.codebook_size, int(settings["top_k"])
    top_k = f"Top-k is {codes}, all codes that this checkpoint has: {asked} were asked for." if asked > codes else ""
    unseen = unseen_past(config, given, frames)
    idle = IDLE if settings.get("choice") == "expected" else ""
    return " ".join(filter(None, [top_k, idle, unseen and f"{unseen[0].upper()}{unseen[1:]}."]))


def predicted(
    checkpoint: "Checkpoint",
    given_u8: np.ndarray,
    frames: int,
    sampling: SamplingConfig,
    seed: int,
    watch: "Callable[[RolloutStep], None] | None" = None,
    made_THW: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """Future frames float32 (n, C, H, W), in [0, 1], growing as they are decoded: every yield holds all that there are.

    `watch` is called with every decode step. `made_THW`: the token grids of its first frames where they were made before; it goes on
    from there.
    """
    if not 1 <= frames <= LONGEST_FUTURE:
        raise ValueError(f"{frames} future frames were asked for: choose 1 to {LONGEST_FUTURE}")
    made = np.zeros((0, *given_u8.shape[1:]), np.float32)
    rest = (given_u8, frames, sampling, seed, made_THW)
    for step, fresh in decoded_there(checkpoint.path, *rest) if gpu_is_lent() else in_time(decoded(checkpoint, *rest)):
        if watch is not None:
            watch(step)
        if fresh is not None:
            made = np.concatenate([made, fresh])
            yield made


def decoded(
    checkpoint: "Checkpoint", given_u8: np.ndarray, frames: int, sampling: SamplingConfig, seed: int, made_THW: np.ndarray | None
) -> "Iterator[tuple[RolloutStep, np.ndarray | None]]":
    """Every decode step, and with those that end some frames these, float32 (n, C, H, W); the first of them with those of `made_THW`."""
    from ..futures import Future, goes_on
    from ..rollout import rollout

    context = checkpoint.encode(given_u8[None])
    done = context.shape[1]
    if made_THW is None:
        steps = rollout(checkpoint.transformer, context, frames, sampling, seed)
    else:
        steps = goes_on(checkpoint.transformer, context, frames, Future(seed, sampling), made_THW)
    for step in steps:
        yield step, checkpoint.decode(step.tokens_BTHW[:, done:])[0] if step.frame_done else None
        if step.frame_done:
            done = step.tokens_BTHW.shape[1]


@lent
def decoded_there(path: Path, *rest: Any) -> "Iterator[tuple[RolloutStep, np.ndarray | None]]":
    """The same on a GPU that is lent for it, in a process of its own: the weights are read there, and what it yields is sent here."""
    from ..checkpoint import load_checkpoint

    for step, fresh in decoded(load_checkpoint(path, "cuda"), *rest):
        yield dataclasses.replace(step, tokens_BTHW=step.tokens_BTHW.cpu(), confidence_BTHW=step.confidence_BTHW.cpu()), fresh


def reconstructed(checkpoint: "Checkpoint", frames_u8: np.ndarray) -> np.ndarray:
    """What the tokenizer alone makes of frames: float32 (T, C, H, W), in [0, 1]."""
    return checkpoint.decode(checkpoint.encode(frames_u8[None]))[0]


@lru_cache(maxsize=8)
def mean_frame(data: DataConfig) -> np.ndarray:
    """The mean training frame of that data, float32 (C, H, W) in [0, 1]; ValueError or OSError where its clips cannot be had."""
    from ..data.source import open_source

    source, frames = open_source(data), min(data.clip_frames, MEAN_FRAMES)
    clips = MEAN_CLIPS if data.source in MOVING_MNIST else MEAN_OWN_CLIPS
    clips = max(1, min(clips, MEAN_PIXELS // (frames * data.channels * data.size**2)))
    return mean_of_frames(source.training_clip(0, 0, sample, frames) for sample in range(clips))


def mean_frame_for(config: Config, *, trusted: bool) -> np.ndarray | None:
    """The mean training frame of what a checkpoint was trained on; None where that is not here, and of token ids, which have no mean."""
    if config.tokenizer.quantizer == "ids":
        return None
    try:
        return mean_frame(source_of(config, trusted=trusted))
    except (ValueError, OSError):
        return None


@dataclass(frozen=True)
class Errors:
    """Squared error summed over a frame's pixels, for each future frame whose truth is known, of five ways to predict it.

    mean: by the mean training frame, where it is known. edges, light: of the prediction as a share of the true frames', on average
    (mean gradient, and squared brightness); None where those have none.
    """

    model: list[float]
    repeat: list[float]
    empty: list[float]
    tokenizer: list[float]
    mean: list[float] | None = None
    edges: float | None = None
    light: float | None = None

    @property
    def trivial(self) -> dict[str, list[float]]:
        """Of the predictions that need no model."""
        return {"repeat_last": self.repeat, **({"pixel_mean": self.mean} if self.mean else {}), "black": self.empty}

    @property
    def rows(self) -> dict[str, list[float]]:
        return {"prediction": self.model, **self.trivial, "reconstruction": self.tokenizer}


@dataclass(frozen=True)
class Agreement:
    """Share of a frame's token ids that are the true ones, for each future frame whose truth is known: of the prediction, and of
    repeating the last given frame. It stands in the place of errors where the data are ids: their colours say nothing of how far off
    one is."""

    model: list[float]
    repeat: list[float]

    @property
    def rows(self) -> dict[str, list[float]]:
        return {"prediction": self.model, "repeat_last": self.repeat}


def agreement_of(truth_u8: np.ndarray, last_u8: np.ndarray, prediction: np.ndarray) -> Agreement:
    """Of ids drawn as colours: uint8 (n, 3, h, w), the last given frame (3, h, w), and float (n, 3, h, w)."""
    from ..data.token_ids import ids_of
    from ..media import to_u8

    truth = ids_of(truth_u8)
    model, repeat = ((ids_of(guess) == truth).mean(axis=(1, 2)).tolist() for guess in (to_u8(prediction), last_u8[None]))
    return Agreement(model, repeat)


def errors_of(
    checkpoint: "Checkpoint", clip: Clip, prediction: np.ndarray, mean_frame: Callable[[], np.ndarray | None] = lambda: None
) -> Errors | Agreement | None:
    """Errors of float frames (n, C, H, W) against the truth, or of token ids their agreement with it; None where nothing is known of the
    future. mean_frame: makes the mean training frame, where it is compared with."""
    if clip.truth_u8 is None or not len(prediction):
        return None
    known = min(len(prediction), len(clip.truth_u8))
    if checkpoint.config.tokenizer.quantizer == "ids":
        return agreement_of(clip.truth_u8[:known], clip.given_u8[-1], prediction[:known])
    truth, made = to_unit(clip.truth_u8[:known]), prediction[:known]
    last = repeat_last(to_unit(clip.given_u8[-1:])[None], known)[0]
    guesses = (made, last, black(truth), reconstructed(checkpoint, clip.truth_u8[:known]))
    model, repeat, empty, tokenizer = (frame_mse(guess, truth).tolist() for guess in guesses)
    mean = mean_frame()
    fifth = None if mean is None or mean.shape != truth.shape[1:] else frame_mse(pixel_mean(mean, truth), truth).tolist()
    light = share_of(frame_mse(made, black(truth)), frame_mse(truth, black(truth)))
    edges = share_of(frame_gradient(made), frame_gradient(truth))
    return Errors(model, repeat, empty, tokenizer, fifth, edges, light)


def share_of(some: np.ndarray, whole: np.ndarray) -> float | None:
    return float(some.mean() / whole.mean()) if whole.mean() > 0 else None


NAMES = {"repeat_last": "repeating the last given frame", "pixel_mean": "the mean training frame", "black": "an all black frame"}
UNLIKE = (
    "The tokenizer alone draws these frames worse than repeating the last given one does: the model was trained on others, unlike them."
)
NOWHERE = "What really followed is not known, so there is no error to show."


@dataclass(frozen=True)
class Verdict:
    """What a generation is worth: a headline, the figures behind it, and its tone, which is the headline's: good, bad or info."""

    headline: str
    figures: str
    tone: str


def verdict(errors: Errors | Agreement | None, frames: int) -> Verdict:
    """A generation in words, against predictions that need no model; headline and tone are by the mean over the known frames."""
    if errors is None:
        return Verdict(f"{count(frames, 'future frame')} generated.", NOWHERE, "info")
    known = len(errors.model)
    over = "in the one frame" if known == 1 else f"on average over {known} frames"
    if isinstance(errors, Agreement):
        return verdict_of_ids(errors, over, frames)
    mean = {name: sum(values) / known for name, values in errors.rows.items()}
    best = min(errors.trivial, key=lambda name: mean[name])
    if mean["prediction"] <= (1 - MARGIN) * mean[best]:
        headline, tone = f"Better than {listed([NAMES[name] for name in errors.trivial])}, {over}.", "good"
    else:
        hardly = mean["prediction"] < mean[best]
        headline, tone = f"{'Hardly' if hardly else 'No'} better than {NAMES[best]}, {over}.", "info" if hardly else "bad"
    if tone != "good" and mean["reconstruction"] > mean["repeat_last"]:
        headline = f"{UNLIKE} {headline}"
    failure = failure_of(errors)
    if failure:
        return Verdict(f"{failure} {headline}", figures_of(errors, mean, frames), "bad")
    return Verdict(headline + how_far(errors, best, better=tone == "good"), figures_of(errors, mean, frames), tone)


def verdict_of_ids(found: Agreement, over: str, frames: int) -> Verdict:
    """By the share of ids that are wrong, with the same margin."""
    known = len(found.model)
    model, repeat = sum(found.model) / known, sum(found.repeat) / known
    better = model > repeat and 1 - model <= (1 - MARGIN) * (1 - repeat)
    words, tone = (
        ("More", "good") if better else ("Hardly more", "info") if model > repeat else ("No more", "info" if model == 1 else "bad")
    )
    headline = f"{words} ids are the true ones than by {NAMES['repeat_last']}, {over}."
    spread = f"first {100 * found.model[0]:.0f} %, last {100 * found.model[-1]:.0f} %, mean {100 * model:.0f} %"
    own = spread if known > 1 else f"{100 * model:.0f} %"
    figures = f"Ids that are the true ones: {own}. For comparison: {NAMES['repeat_last']} {100 * repeat:.0f} %."
    return Verdict(headline, figures + truth_known(known, frames), tone)


def failure_of(errors: Errors) -> str:
    """What no squared error says by itself: a prediction that shows nothing; empty where it shows something."""
    if errors.light is not None and errors.light < DARK:
        return "This is (almost) an all black frame: nothing was predicted."
    if errors.edges is not None and errors.edges < BLUR:
        return f"This is a blur: it has {100 * errors.edges:.0f} % of the true frames' edges."
    return ""


def how_far(errors: Errors, best: str, *, better: bool) -> str:
    """How many frames it is ahead for, of those that it is not ahead for throughout; empty where the headline says all."""
    known = len(errors.model)
    ahead = leading([own < other for own, other in zip(errors.model, errors.trivial[best], strict=True)])
    if known == 1 or ahead == known or (ahead == 0 and not better):
        return ""
    against = "" if not better else f" of {NAMES[best]}"
    if ahead == 0:
        return f" Not in the first frame, where {NAMES[best]} is closer."
    return f" It stays ahead{against} for the first {'frame' if ahead == 1 else count(ahead, 'frame')}."


def figures_of(errors: Errors, mean: dict[str, float], frames: int) -> str:
    known = len(errors.model)
    first, last = errors.model[0], errors.model[-1]
    spread = f"first {short(first)}, last {short(last)}, mean {short(mean['prediction'])}" if known > 1 else short(first)
    others = ", ".join(f"{NAMES[name]} {short(mean[name])}" for name in errors.trivial)
    text = f"Squared error a frame: {spread}. For comparison: {others}, the tokenizer alone {short(mean['reconstruction'])}."
    if errors.edges is not None:
        text += f" Edges: {100 * errors.edges:.0f} % of the true frames'."
    return text + truth_known(known, frames)


def truth_known(known: int, frames: int) -> str:
    return f" Truth is known for {known} of {frames} frames." if known < frames else ""


def listed(names: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
