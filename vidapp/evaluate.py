"""Score a checkpoint on clips it has not seen, beside the predictions that need no model and the tokenizer's own error.

Clips go through in small batches; only their scores, a handful of figures a frame, are kept.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from . import metrics
from .config import SPLITS, Config, SamplingConfig
from .data.source import ClipSource
from .metrics import Array
from .randomness import numpy_generator
from .scores import ScoreTable, confidence_95, frames_ahead

if TYPE_CHECKING:
    from .checkpoint import Checkpoint


MEAN_FRAME_CLIPS = 256
LARGEST_CLIPS_BYTES = 4 << 30
LARGEST_BATCH_BYTES = 256 << 20

Progress = Callable[[int, int], None]
"""Called with (clips done, clips in all) after every batch."""

Show = Callable[[str, Array], None]
"""Called with the name of a stage and its future frames (T, C, H, W) in [0, 1] of the first clip; `truth` is one of the names."""


class Predictor(Protocol):
    """What `rollout.predict` does: context uint8 (B, T, C, H, W) -> the next frames, float (B, frames, C, H, W).

    Noise is a function of (seed, number of the clip), `first_clip` being the number of the batch's first: how clips are
    batched changes no score but by rounding (see `futures`).
    """

    def __call__(
        self, checkpoint: Any, context_u8: Array, frames: int, sampling: SamplingConfig, seed: int, first_clip: int, /
    ) -> Array: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is measured: how many clips of which split, how much is given, and how futures are drawn."""

    clips: int = 100
    context: int = 10
    frames: int = 10
    split: str = "test"
    seed: int = 0
    samples: int = 1
    stages: bool = False
    batch_clips: int = 16

    def __post_init__(self) -> None:
        for name in ("clips", "context", "frames", "samples", "batch_clips"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give at least 1")
        if self.split not in SPLITS:
            raise ValueError(f"unknown split {self.split!r}: use one of {', '.join(SPLITS)}")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}: give 0 or more")


def evaluate(
    checkpoint: "Checkpoint",
    source: ClipSource,
    clips: int = 100,
    context: int | None = None,
    frames: int | None = None,
    sampling: SamplingConfig | None = None,
    seed: int = 0,
    split: str = "test",
    progress: Progress | None = None,
    *,
    samples: int = 1,
    stages: bool = False,
    batch_clips: int = 16,
    predictor: Predictor | None = None,
    show: Show | None = None,
) -> dict[str, Any]:
    """Scores of a checkpoint's future frames on `clips` clips of a split, as one JSON-able dictionary.

    `context`, `frames` and `sampling` default to the checkpoint's own config. The dictionary holds `mse mae ssim
    ssim_data_range_1 psnr sharpness` and the same for each future frame in `per_frame`, `mse_confidence_95`,
    `frames_ahead`, what was measured (`clips recordings context frames split source seed sampling ...`), and the same scores in
    `black`, `repeat_last`, `pixel_mean` and `reconstruction` (truth -> tokens -> frames: the tokenizer's own error, below
    which no prediction through it can go). More, where asked for:

    - `samples` above 1 draws that many futures a clip: `best_of` (each clip's best by MSE, which needs the truth to be
      known), `mean_of` (their average: blurred, but what MSE rewards) and `diversity` (mean squared difference between two
      futures of a clip, summed over pixels like the MSE). The headline stays the first sample.
    - `stages` adds `true_past` (each frame decoded from the true frames before it) and `one_pass_true_past` (the same in a
      single greedy pass): where the error of the free-running prediction comes from (see `stages.lost`). Costs about twice the
      time again. `show` is given the first clip at every stage, and the truth.

    A seed gives the same scores again, but for rounding however clips are batched. ValueError for settings that cannot be: see Evaluation; clips
    too few, too large or of another size than the checkpoint's; predictions that are not finite.
    """
    data = checkpoint.config.data
    context = data.context_frames if context is None else context
    frames = max(1, data.clip_frames - data.context_frames) if frames is None else frames
    sampling = checkpoint.config.sampling if sampling is None else sampling
    setting = Evaluation(
        clips=clips, context=context, frames=frames, split=split, seed=seed, samples=samples, stages=stages, batch_clips=batch_clips
    )
    clips_u8 = fixed_clips(checkpoint, source, setting)
    recordings = source.fixed_recordings(setting.split, len(clips_u8), setting.context + setting.frames)
    mean_frame = mean_training_frame(source, min(context + frames, data.clip_frames))  # training clips may be no longer
    score = Scorer(checkpoint, setting, sampling, mean_frame, predictor or default_predictor(), show)
    step = batch_size(setting, clips_u8.shape, score_bytes(checkpoint.config, context))
    for start in range(0, len(clips_u8), step):
        score.add_batch(clips_u8[start : start + step], start)
        if progress is not None:
            progress(min(start + step, len(clips_u8)), len(clips_u8))
    found = described(checkpoint, source, setting, sampling, len(clips_u8))
    return {**score.results(recordings), **found, "recordings": len(np.unique(recordings))}


class Scorer:
    """Score tables of every way to predict, filled batch by batch."""

    def __init__(
        self,
        checkpoint: Any,
        setting: Evaluation,
        sampling: SamplingConfig,
        mean_frame: Array,
        predictor: Predictor,
        show: Show | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.show = show
        self.setting = setting
        self.sampling = sampling
        self.mean_frame = mean_frame
        self.predictor = predictor
        self.tables: dict[str, ScoreTable] = {}
        self.diversity: list[Array] = []  # (B, T) a batch

    def add_batch(self, clips_u8: Array, start: int) -> None:
        """Predict and score clips uint8 (B, context + frames, C, H, W), the first of which is clip number `start`."""
        context = self.setting.context
        truth = metrics.to_unit(clips_u8[:, context:])
        if self.show and start == 0:
            self.show("truth", truth[0])
        for name, prediction in self.references(clips_u8, truth):
            self.add_stage(name, prediction, truth, start)
        self.add_samples(clips_u8[:, :context], truth, start)
        if self.setting.stages:
            one_pass = dataclasses.replace(self.sampling, steps=1, choice="drawn", temperature=0.0)
            self.add_stage("one_pass_true_past", self.with_true_past(clips_u8, one_pass, start), truth, start)
            self.add_stage("true_past", self.with_true_past(clips_u8, self.sampling, start), truth, start)

    def add_stage(self, name: str, frames: Array, truth: Array, start: int) -> None:
        if self.show and start == 0:
            self.show(name, frames[0])
        self.table(name).add_frames(frames, truth)

    def references(self, clips_u8: Array, truth: Array) -> Iterator[tuple[str, Array]]:
        context = self.setting.context
        yield "black", metrics.black(truth)
        yield "repeat_last", metrics.repeat_last(metrics.to_unit(clips_u8[:, context - 1 : context]), self.setting.frames)
        yield "pixel_mean", metrics.pixel_mean(self.mean_frame, truth)
        yield "reconstruction", self.checkpoint.decode(self.checkpoint.encode(clips_u8[:, context:]))

    def add_samples(self, context_u8: Array, truth: Array, start: int) -> None:
        """Score the first future, and where several are drawn also the best, the mean and how they differ."""
        count = self.setting.samples
        drawn = []  # the scores of each sample, not its frames: memory does not grow with `samples`
        total = np.zeros(truth.shape)
        squares = np.zeros(truth.shape[:2])
        for sample in range(count):
            seed = derived_seed(self.setting.seed, "sample", sample) if sample else self.setting.seed
            prediction = self.predict(context_u8, self.setting.frames, self.sampling, seed, start)
            if self.show and start == 0 and sample == 0:
                self.show("prediction", prediction[0])
            drawn.append(metrics.score_frames(prediction, truth))
            total += prediction
            squares += (prediction.astype(np.float64) ** 2).sum(axis=(-3, -2, -1))
        self.table("prediction").add(drawn[0])
        if count == 1:
            return
        self.table("best_of").add(best_of(drawn))
        self.table("mean_of").add_frames(total / count, truth)
        variance = squares / count - ((total / count) ** 2).sum(axis=(-3, -2, -1))
        self.diversity.append(2 * np.maximum(variance, 0) * count / (count - 1))

    def with_true_past(self, clips_u8: Array, sampling: SamplingConfig, start: int) -> Array:
        """Every future frame predicted from all true frames before it: float (B, frames, C, H, W)."""
        context = self.setting.context
        seeds = [derived_seed(self.setting.seed, "true past", frame) for frame in range(self.setting.frames)]
        if self.predictor is default_predictor():
            from .true_past import predict_with_true_past

            return finite(predict_with_true_past(self.checkpoint, clips_u8, context, sampling, seeds, start), start)
        following = [self.predict(clips_u8[:, : context + frame], 1, sampling, seed, start) for frame, seed in enumerate(seeds)]
        return np.concatenate(following, axis=1)

    def predict(self, context_u8: Array, frames: int, sampling: SamplingConfig, seed: int, start: int) -> Array:
        prediction = self.predictor(self.checkpoint, context_u8, frames, sampling, seed, start)
        assert prediction.shape == (len(context_u8), frames, *context_u8.shape[2:]), prediction.shape
        return finite(prediction, start)

    def table(self, name: str) -> ScoreTable:
        return self.tables.setdefault(name, ScoreTable())

    def results(self, recordings: Array) -> dict[str, Any]:
        """The dictionary of scores: the prediction's own at the top, every other's under its name. recordings: which one each clip is of."""
        found: dict[str, Any] = {name: table.summary() for name, table in self.tables.items()}
        own = found.pop("prediction")
        generator = numpy_generator(self.setting.seed, "bootstrap")
        own["mse_confidence_95"] = confidence_95(self.tables["prediction"].of("mse").mean(axis=1), generator, recordings)
        own["frames_ahead"] = frames_ahead(own["per_frame"]["mse"], found["repeat_last"]["per_frame"]["mse"])
        if self.diversity:
            own["diversity"] = float(np.concatenate(self.diversity).mean())
        return {**own, **found}


def finite(prediction: Array, start: int) -> Array:
    """The predicted frames of a batch whose first clip is number `start`; ValueError where they are not finite."""
    if not np.isfinite(prediction).all():
        last = start + len(prediction) - 1
        raise ValueError(f"the prediction of clips {start} to {last} is not finite: use an earlier checkpoint, or train again")
    return prediction


def derived_seed(seed: int, *keys: int | str) -> int:
    return int(numpy_generator(seed, "evaluate", *keys).integers(2**31))


def best_of(drawn: list[dict[str, Array]]) -> dict[str, Array]:
    """Of each clip the scores of the sample with the least MSE over its frames: name to (B, T)."""
    best = np.argmin([scores["mse"].mean(axis=1) for scores in drawn], axis=0)
    clips = np.arange(len(best))
    return {name: np.stack([scores[name] for scores in drawn])[best, clips] for name in drawn[0]}


def fixed_clips(checkpoint: Any, source: ClipSource, setting: Evaluation) -> Array:
    """The clips uint8 (N, T, C, H, W) to score on; ValueError where there are none, or not of the checkpoint's size."""
    data = checkpoint.config.data
    if checkpoint.config.tokenizer.quantizer == "ids":
        raise ValueError(
            "this checkpoint predicts ids that were made elsewhere: there are no frames to score (see its validation accuracy)"
        )
    length = setting.context + setting.frames
    size = setting.clips * length * data.channels * data.size**2
    if size > LARGEST_CLIPS_BYTES:
        fitting = LARGEST_CLIPS_BYTES // (size // setting.clips)
        raise ValueError(f"{setting.clips} clips of {length} frames take {size / 2**30:.1f} GiB of memory: use at most {fitting} clips")
    clips_u8 = source.fixed_clips(setting.split, setting.clips, length)
    if len(clips_u8) == 0:
        raise ValueError(f"{source.name} has no {setting.split} clip of {length} frames: use another split or fewer frames")
    expected, found = (data.channels, data.size, data.size), clips_u8.shape[2:]
    if found != expected:
        raise ValueError(f"clips of {source.name} are {found} (C, H, W) but the checkpoint takes {expected}: open the data at that size")
    return clips_u8


def mean_training_frame(source: ClipSource, frames: int) -> Array:
    """The mean image (C, H, W) of training clips, the same ones every time."""
    return metrics.mean_of_frames(source.training_clip(0, 0, sample, frames) for sample in range(MEAN_FRAME_CLIPS))


def score_bytes(config: Config, context: int) -> int:
    """What the attention scores of a clip's given frames and the one after them take in a layer, as float32."""
    return 4 * config.model.heads * (context + 1) * config.grid**4


def batch_size(setting: Evaluation, shape: tuple[int, ...], scores: int = 0) -> int:
    """Clips at once: `batch_clips`, fewer where large frames, or attention over many tokens, would take too much memory as float32."""
    clip_bytes = max(4 * int(np.prod(shape[1:])), scores)
    return max(1, min(setting.batch_clips, LARGEST_BATCH_BYTES // clip_bytes))


def described(checkpoint: Any, source: ClipSource, setting: Evaluation, sampling: SamplingConfig, clips: int) -> dict[str, Any]:
    """What was measured on what, so that a figure can be read and repeated."""
    data = checkpoint.config.data
    return {
        "clips": clips,
        "clips_asked": setting.clips,
        "context": setting.context,
        "frames": setting.frames,
        "split": setting.split,
        "source": source.name,
        "size": data.size,
        "channels": data.channels,
        "digits": data.digits,
        "seed": setting.seed,
        "samples": setting.samples,
        "sampling": dataclasses.asdict(sampling),
        "checkpoint": str(checkpoint.path),
        "step": int(checkpoint.step),
        "precision": str(checkpoint.precision),
    }


def default_predictor() -> Predictor:
    from .rollout import predict

    return predict
