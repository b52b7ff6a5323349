"""How far predicted frames are from the true ones, and the predictions that need no model to beat them with.

The definitions are those of the OpenSTL benchmark (Tan et al., 2023, arXiv 2306.11249; `openstl/core/metrics.py`), so that
figures for Moving MNIST can stand beside the published ones:

- MSE and MAE are summed over the pixels (and channels) of a frame in [0, 1], before any clipping;
- SSIM and PSNR are of the frames clipped to [0, 1], one figure a frame; means are taken over those figures.

Frames are float arrays of shape (..., C, H, W). No torch here: a scored clip may come from anywhere.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

PUBLISHED_DATA_RANGE = 2.0
"""The published SSIM figures come from a scikit-image that took floats to span [-1, 1]. The honest range here is 1."""

HIGHEST_PSNR_DB = 100.0
"""PSNR of frames that are (nearly) equal: infinity has no mean and no JSON."""

SSIM_WINDOW = 7
METRICS = ("mse", "mae", "ssim", "ssim_data_range_1", "psnr", "gradient", "true_gradient")


def to_unit(frames: Array) -> NDArray[np.float32]:
    """uint8 frames as float32 in [0, 1]; ValueError for another type, which would need another scale."""
    if frames.dtype != np.uint8:
        raise ValueError(f"frames are {frames.dtype}: give uint8 frames from 0 to 255")
    return frames.astype(np.float32) / np.float32(255)


def frame_mse(prediction: Array, truth: Array) -> NDArray[np.float64]:
    """Squared error summed over a frame's C, H and W: (..., C, H, W) twice -> (...)."""
    check_same_shape(prediction, truth)
    difference = prediction.astype(np.float64) - truth
    return np.asarray(np.einsum("...chw,...chw->...", difference, difference))


def frame_mae(prediction: Array, truth: Array) -> NDArray[np.float64]:
    """Absolute error summed over a frame's C, H and W: (..., C, H, W) twice -> (...)."""
    check_same_shape(prediction, truth)
    return np.asarray(np.abs(prediction.astype(np.float64) - truth).sum(axis=(-3, -2, -1)))


def frame_psnr(prediction: Array, truth: Array) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio of each frame, clipped to [0, 1], in dB, at most HIGHEST_PSNR_DB: -> (...)."""
    pixels = int(np.prod(truth.shape[-3:]))
    mean_square = frame_mse(np.clip(prediction, 0, 1), np.clip(truth, 0, 1)) / pixels
    return np.asarray(-10 * np.log10(np.maximum(mean_square, 10 ** (-HIGHEST_PSNR_DB / 10))))


def frame_ssim(prediction: Array, truth: Array, data_range: float = PUBLISHED_DATA_RANGE) -> NDArray[np.float64]:
    """Structural similarity of each frame, clipped to [0, 1], by scikit-image with its 7x7 uniform window: -> (...).

    Grey frames (C = 1) are compared as images, others channel by channel and averaged. ValueError for frames smaller than
    the window.
    """
    from skimage.metrics import structural_similarity

    check_same_shape(prediction, truth)
    channels, height, width = truth.shape[-3:]
    if min(height, width) < SSIM_WINDOW:
        raise ValueError(f"frames of {height}x{width} pixels are too small for SSIM: use at least {SSIM_WINDOW}x{SSIM_WINDOW}")
    predictions = np.clip(prediction, 0, 1).reshape(-1, channels, height, width)
    truths = np.clip(truth, 0, 1).reshape(-1, channels, height, width)
    scores = [
        structural_similarity(one[0], other[0], data_range=data_range)
        if channels == 1
        else structural_similarity(one, other, data_range=data_range, channel_axis=0)
        for one, other in zip(predictions, truths, strict=True)
    ]
    return np.array(scores, dtype=np.float64).reshape(truth.shape[:-3])


def frame_gradient(frames: Array) -> NDArray[np.float64]:
    """Mean gradient magnitude of each frame, clipped to [0, 1]: how much edge it has. (..., C, H, W) -> (...)."""
    clipped = np.clip(frames, 0, 1).astype(np.float64)
    corner = clipped[..., :-1, :-1]
    across, down = clipped[..., :-1, 1:] - corner, clipped[..., 1:, :-1] - corner
    return np.asarray(np.sqrt(across**2 + down**2).mean(axis=(-3, -2, -1)))


def score_frames(prediction: Array, truth: Array) -> dict[str, NDArray[np.float64]]:
    """Every figure of METRICS for each frame: (B, T, C, H, W) twice -> name to (B, T)."""
    return {
        "mse": frame_mse(prediction, truth),
        "mae": frame_mae(prediction, truth),
        "ssim": frame_ssim(prediction, truth, PUBLISHED_DATA_RANGE),
        "ssim_data_range_1": frame_ssim(prediction, truth, 1.0),
        "psnr": frame_psnr(prediction, truth),
        "gradient": frame_gradient(prediction),
        "true_gradient": frame_gradient(truth),
    }


def black(truth: Array) -> Array:
    """The prediction that nothing is there: zeros of the truth's shape, without taking its memory."""
    return np.broadcast_to(np.float32(0), truth.shape)


def repeat_last(context: Array, frames: int) -> Array:
    """The prediction that nothing moves: (B, T, C, H, W) -> (B, frames, C, H, W), a read-only view."""
    last = context[:, -1:]
    return np.broadcast_to(last, (len(context), frames, *context.shape[2:]))


def pixel_mean(mean_frame: Array, truth: Array) -> Array:
    """The prediction that every frame is the mean training frame (C, H, W): of the truth's shape, a read-only view."""
    return np.broadcast_to(mean_frame, truth.shape)


def mean_of_frames(clips: Iterable[Array]) -> NDArray[np.float32]:
    """Mean over all frames of uint8 clips (T, C, H, W), one clip in memory at a time: (C, H, W) in [0, 1]."""
    total, count = None, 0
    for clip in clips:
        summed = clip.sum(axis=0, dtype=np.float64)
        total = summed if total is None else total + summed
        count += len(clip)
    if total is None or count == 0:
        raise ValueError("there is no training frame to take the mean of: the training split is empty")
    return (total / (255 * count)).astype(np.float32)


def check_same_shape(prediction: Array, truth: Array) -> None:
    if prediction.shape != truth.shape or truth.ndim < 3:
        raise ValueError(f"prediction {prediction.shape} and truth {truth.shape} must have one shape (..., C, H, W)")
