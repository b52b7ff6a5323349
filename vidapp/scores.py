"""Scores of many clips, gathered batch by batch, and what is said of them: means, spread, how far ahead."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .metrics import METRICS, frame_gradient, score_frames

REPORTED = ("mse", "mae", "ssim", "ssim_data_range_1", "psnr")
RESAMPLES = 2000


class ScoreTable:
    """Frame scores of one way to predict: for each metric an array (clips, frames), which is all that is kept."""

    def __init__(self) -> None:
        self.parts: dict[str, list[NDArray[np.float64]]] = {name: [] for name in METRICS}

    def add(self, scores: Mapping[str, NDArray[np.float64]]) -> None:
        """Append the scores of a batch: metric name to (B, T), as `score_frames` returns them."""
        for name in METRICS:
            self.parts[name].append(scores[name])

    def add_frames(self, prediction: NDArray[Any], truth: NDArray[Any]) -> None:
        """Score predicted frames (B, T, C, H, W) against the true ones and append."""
        self.add(score_frames(prediction, truth))

    def of(self, metric: str) -> NDArray[np.float64]:
        """All scores so far: (clips, frames)."""
        return np.concatenate(self.parts[metric])

    def summary(self) -> dict[str, Any]:
        """Means over clips and frames, sharpness, and the same for each future frame under `per_frame`; JSON-able."""
        whole: dict[str, Any] = {name: float(self.of(name).mean()) for name in REPORTED}
        whole["sharpness"] = ratio(self.of("gradient").mean(), self.of("true_gradient").mean())
        per_frame: dict[str, Any] = {name: self.of(name).mean(axis=0).tolist() for name in REPORTED}
        gradients = zip(self.of("gradient").mean(axis=0), self.of("true_gradient").mean(axis=0), strict=True)
        per_frame["sharpness"] = [ratio(predicted, true) for predicted, true in gradients]
        return {**whole, "per_frame": per_frame}


def ratio(gradient: float, true_gradient: float) -> float | None:
    """Sharpness: 1 is as sharp as the truth, below 1 blurred, above 1 noisy; None where the truth has no edge at all."""
    return float(gradient / true_gradient) if true_gradient > 0 else None


def sample_figures(rows: Sequence[NDArray[Any]], given: int) -> dict[str, float]:
    """Whether a strip's samples are blurred or empty. rows: truth and prediction in turn, each (T, C, H, W), T > given,
    cut to [0, 1] as `evaluate` does.

    sample_mse: squared error of the future frames, summed over a frame. sample_sharpness: their edges as a share of the truth's,
    left out where the truth has none.
    """
    truth, drawn = (np.stack(rows[start::2])[:, given:].astype(np.float64).clip(0, 1) for start in (0, 1))  # as they are shown
    figures = {"sample_mse": float(((drawn - truth) ** 2).sum(axis=(-3, -2, -1)).mean())}
    sharpness = ratio(float(frame_gradient(drawn).mean()), float(frame_gradient(truth).mean()))
    return figures if sharpness is None else {**figures, "sample_sharpness": sharpness}


def frames_ahead(per_frame_mse: Sequence[float], repeat_last_mse: Sequence[float]) -> int:
    """For how many frames in a row, from the first, the error is below that of repeating the last given frame."""
    ahead = 0
    for own, repeated in zip(per_frame_mse, repeat_last_mse, strict=True):
        if own >= repeated:
            break
        ahead += 1
    return ahead


def confidence_95(
    clip_scores: NDArray[np.float64], generator: np.random.Generator, recordings: NDArray[np.int64] | None = None
) -> list[float] | None:
    """Percentile bootstrap of the mean of clip scores (N,): [low, high]. One recording says nothing of others: None.

    recordings (N,): which one each clip is cut from; by default each is its own. They are what is resampled, whole (a cluster
    bootstrap: Davison and Hinkley, 1997): the frames of one clip go wrong together, and so do clips that were cut from one recording.
    """
    _, place = np.unique(np.arange(len(clip_scores)) if recordings is None else recordings, return_inverse=True)
    sums, sizes = np.bincount(place, clip_scores), np.bincount(place)
    count = len(sizes)
    if count < 2:
        return None
    drawn = (generator.integers(count, size=count) for _ in range(RESAMPLES))
    means = [sums[which].sum() / sizes[which].sum() for which in drawn]
    low, high = np.percentile(means, (2.5, 97.5))
    return [float(low), float(high)]
