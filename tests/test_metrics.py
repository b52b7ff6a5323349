"""Scores against figures worked out by hand, and the trivial predictions against those known for Moving MNIST."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vidapp import metrics
from vidapp.config import DataConfig
from vidapp.scores import ScoreTable, confidence_95, frames_ahead, ratio, sample_figures

SMALL_FRAMES = arrays(np.float32, (2, 1, 8, 8), elements=st.floats(0, 1, width=32))


def noise(*shape):
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def test_errors_are_summed_over_pixels_and_channels_of_each_frame() -> None:
    truth = np.zeros((1, 2, 3, 8, 8), np.float32)
    prediction = truth.copy()
    prediction[0, 0, 0, 0, 0] = 0.5
    prediction[0, 1] = 0.25
    assert metrics.frame_mse(prediction, truth).tolist() == [[0.25, 3 * 64 * 0.0625]]
    assert metrics.frame_mae(prediction, truth).tolist() == [[0.5, 3 * 64 * 0.25]]


def test_errors_count_what_lies_outside_the_range_but_ssim_and_psnr_do_not() -> None:
    truth = np.ones((1, 1, 1, 8, 8), np.float32)
    above = truth * 1.5
    assert metrics.frame_mse(above, truth).item() == 64 * 0.25
    assert metrics.frame_psnr(above, truth).item() == metrics.HIGHEST_PSNR_DB
    assert metrics.frame_ssim(above, truth).item() == pytest.approx(1.0)


def test_psnr_is_of_the_mean_square_error_of_each_frame() -> None:
    truth = np.zeros((1, 2, 1, 8, 8), np.float32)
    prediction = truth.copy()
    prediction[0, 0] = 0.1
    prediction[0, 1] = 0.5
    assert metrics.frame_psnr(prediction, truth)[0].tolist() == pytest.approx([20.0, -20 * math.log10(0.5)], abs=1e-4)


@pytest.mark.parametrize("data_range", [1.0, 2.0])
def test_ssim_of_two_flat_frames_is_its_brightness_term(data_range) -> None:
    dark, bright = np.full((1, 8, 8), 0.2, np.float32), np.full((1, 8, 8), 0.6, np.float32)
    c1 = (0.01 * data_range) ** 2
    expected = (2 * 0.2 * 0.6 + c1) / (0.2**2 + 0.6**2 + c1)
    assert metrics.frame_ssim(bright, dark, data_range).item() == pytest.approx(expected, abs=1e-4)


def test_ssim_over_one_window_is_the_formula_of_wang_et_al() -> None:
    one, other = noise(1, 7, 7), noise(2, 7, 7)[1:]
    x, y = one[0].ravel().astype(np.float64), other[0].ravel().astype(np.float64)
    c1, c2 = 0.02**2, 0.06**2
    covariance = np.cov(x, y)  # of the sample, as scikit-image takes it
    expected = ((2 * x.mean() * y.mean() + c1) * (2 * covariance[0, 1] + c2)) / (
        (x.mean() ** 2 + y.mean() ** 2 + c1) * (covariance[0, 0] + covariance[1, 1] + c2)
    )
    assert metrics.frame_ssim(one, other, 2.0).item() == pytest.approx(expected, abs=1e-5)


def test_ssim_of_colour_is_the_mean_over_channels() -> None:
    truth, prediction = noise(2, 3, 3, 16, 16), noise(4, 3, 3, 16, 16)[2:]
    colour = metrics.frame_ssim(prediction, truth)
    grey = [metrics.frame_ssim(prediction[:, :, c : c + 1], truth[:, :, c : c + 1]) for c in range(3)]
    assert colour.shape == (2, 3)
    np.testing.assert_allclose(colour, np.mean(grey, axis=0), rtol=1e-5)


def test_sharpness_is_one_for_the_truth_and_falls_with_blur() -> None:
    truth = (noise(1, 1, 1, 16, 16) > 0.5).astype(np.float32)
    blurred = (truth + np.roll(truth, 1, -1) + np.roll(truth, 1, -2)) / 3
    edge = np.zeros((1, 3, 3), np.float32)
    edge[..., 2] = 1
    assert metrics.frame_gradient(edge).item() == 0.5  # of 2x2 places, two see the step
    assert metrics.frame_gradient(blurred).item() < 0.8 * metrics.frame_gradient(truth).item()
    assert ratio(0.3, 0.3) == 1.0
    assert ratio(0.3, 0.0) is None


@settings(max_examples=30, deadline=None)
@given(SMALL_FRAMES, SMALL_FRAMES)
def test_scores_are_symmetric_finite_and_best_for_the_truth(one, other) -> None:
    there, back = metrics.score_frames(one[None], other[None]), metrics.score_frames(other[None], one[None])
    perfect = metrics.score_frames(one[None], one[None])
    for name in ("mse", "mae", "ssim", "ssim_data_range_1", "psnr"):
        assert np.isfinite(there[name]).all()
        np.testing.assert_allclose(there[name], back[name], rtol=1e-4, atol=1e-6)
        better = perfect[name] <= there[name] if name in ("mse", "mae") else perfect[name] >= there[name] - 1e-6
        assert better.all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: metrics.frame_mse(np.zeros((1, 8, 8)), np.zeros((1, 8, 9))), r"\(1, 8, 8\).*\(1, 8, 9\)"),
        (lambda: metrics.frame_ssim(np.zeros((1, 4, 8)), np.zeros((1, 4, 8))), "4x8"),
        (lambda: metrics.to_unit(np.zeros((1, 8, 8))), "float64"),
        (lambda: metrics.mean_of_frames([]), "training split is empty"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_its_value(call, words) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_the_mean_frame_weighs_every_frame_the_same() -> None:
    clips = [np.full((1, 1, 2, 2), 255, np.uint8), np.zeros((3, 1, 2, 2), np.uint8)]
    np.testing.assert_allclose(metrics.mean_of_frames(clips), np.full((1, 2, 2), 0.25))


def test_trivial_predictions_have_the_truth_s_shape() -> None:
    context, truth = noise(2, 4, 1, 8, 8), noise(2, 3, 1, 8, 8)
    assert metrics.black(truth).shape == truth.shape
    assert not metrics.black(truth).any()
    repeated = metrics.repeat_last(context, 3)
    assert all(np.array_equal(repeated[:, frame], context[:, -1]) for frame in range(3))
    assert np.array_equal(metrics.pixel_mean(context[0, 0], truth)[1, 2], context[0, 0])


def test_trivial_predictions_score_on_moving_mnist_what_they_are_known_to_score() -> None:
    """Other digits and clips than the ones behind the known figures (173/.775, 282/.654, 152/.333): a few percent apart."""
    from vidapp.data.moving_mnist import MovingMnist

    source = MovingMnist(DataConfig())
    clips = metrics.to_unit(source.fixed_clips("test", 100, 20))
    context, truth = clips[:, :10], clips[:, 10:]
    mean_frame = metrics.mean_of_frames(source.training_clip(0, 0, sample, 20) for sample in range(256))
    known = [
        (metrics.black(truth), 173, 0.775),
        (metrics.repeat_last(context, 10), 282, 0.654),
        (metrics.pixel_mean(mean_frame, truth), 152, 0.333),
    ]
    for prediction, mse, ssim in known:
        assert metrics.frame_mse(prediction, truth).mean() == pytest.approx(mse, rel=0.08)
        assert metrics.frame_ssim(prediction, truth).mean() == pytest.approx(ssim, abs=0.03)


def test_a_table_takes_means_over_clips_and_frames_however_they_were_batched() -> None:
    truth, prediction = noise(5, 3, 1, 8, 8), noise(10, 3, 1, 8, 8)[5:]
    whole, parts = ScoreTable(), ScoreTable()
    whole.add_frames(prediction, truth)
    for start, end in ((0, 2), (2, 5)):
        parts.add_frames(prediction[start:end], truth[start:end])
    assert parts.summary() == whole.summary()
    assert whole.summary()["mse"] == pytest.approx(((prediction - truth) ** 2).sum((2, 3, 4)).mean(), rel=1e-5)
    assert len(whole.summary()["per_frame"]["ssim"]) == 3


@pytest.mark.parametrize(
    ("own", "repeated", "ahead"),
    [([1, 2, 3], [2, 3, 4], 3), ([1, 5, 3], [2, 3, 4], 1), ([2, 1, 1], [2, 3, 4], 0)],
)
def test_frames_ahead_counts_from_the_first_frame_until_the_first_that_is_no_better(own, repeated, ahead) -> None:
    assert frames_ahead(own, repeated) == ahead


def test_the_confidence_interval_holds_the_mean_and_narrows_with_more_clips() -> None:
    scores = np.random.default_rng(1).normal(100, 10, 400)
    low, high = confidence_95(scores, np.random.default_rng(2))
    assert low < scores.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * scores.std() / 20, rel=0.1)
    few = confidence_95(scores[:25], np.random.default_rng(2))
    assert few[1] - few[0] > high - low
    assert confidence_95(scores[:1], np.random.default_rng(2)) is None


def test_the_interval_of_clips_that_go_wrong_together_is_that_of_their_recordings() -> None:
    recordings = np.repeat(np.arange(40), 25)
    shared = np.random.default_rng(1).normal(100, 10, 40)
    low, high = confidence_95(shared[recordings], np.random.default_rng(2), recordings)
    assert [low, high] == pytest.approx(confidence_95(shared, np.random.default_rng(2)))
    apart_low, apart_high = confidence_95(shared[recordings], np.random.default_rng(2))
    assert apart_high - apart_low < (high - low) / 4
    assert confidence_95(shared, np.random.default_rng(2), np.zeros(40, int)) is None


def test_metrics_need_no_torch() -> None:
    code = "import sys; import vidapp.metrics, vidapp.scores; sys.exit('torch' in sys.modules or 'skimage' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_empty_sample_has_none_of_the_truths_edges() -> None:
    truth = noise(4, 1, 8, 8)
    drawn = truth.copy()
    assert sample_figures([truth, drawn], 2) == {"sample_mse": 0.0, "sample_sharpness": 1.0}
    drawn[2:] = 0
    assert sample_figures([truth, drawn], 2)["sample_sharpness"] == 0.0
    assert "sample_sharpness" not in sample_figures([np.zeros_like(truth), drawn], 2)  # nothing to compare with
