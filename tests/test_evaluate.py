"""Evaluation with a checkpoint whose tokenizer and predictions are known beforehand."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from vidapp.config import Config, SamplingConfig
from vidapp.evaluate import Evaluation, Scorer, batch_size, evaluate, score_bytes
from vidapp.metrics import to_unit
from vidapp.published import MOVING_MNIST_10_TO_10, SOURCE
from vidapp.randomness import numpy_generator
from vidapp.report import format_table


def config_of(size=8, channels=1, context=3, frames=2):
    changes = {"data.source": "clips", "data.size": size, "data.channels": channels}
    return Config().replace({**changes, "data.clip_frames": context + frames, "data.context_frames": context})


@dataclass
class CoarseCheckpoint:
    """A checkpoint whose tokenizer keeps only whether a pixel is bright."""

    config: Config = field(default_factory=config_of)
    step: int = 7
    precision: str = "float32"
    path: Path = Path("coarse.safetensors")

    def encode(self, frames_u8):
        assert frames_u8.dtype == np.uint8
        return frames_u8 > 127

    def decode(self, tokens):
        return tokens.astype(np.float32)


class NoiseSource:
    """Clips of noise; a limited number of them."""

    name = "noise"

    def __init__(self, size=8, channels=1, most=100, cut=1):
        self.size, self.channels, self.most, self.cut = size, channels, most, cut

    def training_clip(self, seed, step, sample, frames):
        return self.clip("train", sample, frames)

    def fixed_clips(self, split, count, frames):
        clips = [self.clip(split, index, frames) for index in range(min(count, self.most))]
        return np.stack(clips) if clips else np.zeros((0, frames, self.channels, self.size, self.size), np.uint8)

    def fixed_recordings(self, split, count, frames):
        return np.arange(min(count, self.most)) // self.cut

    def clip(self, split, index, frames):
        return numpy_generator(0, split, index).integers(0, 256, (frames, self.channels, self.size, self.size), np.uint8)


def noisy_repeat(checkpoint, context_u8, frames, sampling, seed, first_clip):
    """The last frame under noise that depends on (seed, clip number) alone, as a predictor must."""
    last = to_unit(context_u8[:, -1:])
    noise = [numpy_generator(seed, first_clip + clip).normal(0, 0.1, (frames, *last.shape[2:])) for clip in range(len(last))]
    return (last + np.stack(noise)).astype(np.float32)


def oracle(source, split, context):
    """A predictor that looks the future up."""

    def predict(checkpoint, context_u8, frames, sampling, seed, first_clip):
        given = context_u8.shape[1]
        clips = [source.clip(split, first_clip + clip, given + frames)[given:] for clip in range(len(context_u8))]
        return to_unit(np.stack(clips))

    return predict


def run(predictor=noisy_repeat, source=None, checkpoint=None, **settings):
    return evaluate(checkpoint or CoarseCheckpoint(), source or NoiseSource(), **{"clips": 5, **settings}, predictor=predictor)


def test_the_result_is_json_and_holds_the_contract() -> None:
    result = json.loads(json.dumps(run(), allow_nan=False))
    for scores in (result, *(result[name] for name in ("black", "repeat_last", "pixel_mean", "reconstruction"))):
        assert {"mse", "mae", "ssim", "ssim_data_range_1", "psnr", "sharpness", "per_frame"} <= set(scores)
        assert all(len(figures) == 2 for figures in scores["per_frame"].values())
        assert np.mean(scores["per_frame"]["mse"]) == pytest.approx(scores["mse"])
    assert (result["clips"], result["context"], result["frames"], result["split"]) == (5, 3, 2, "test")
    assert (result["checkpoint"], result["step"], result["source"], result["seed"]) == ("coarse.safetensors", 7, "noise", 0)
    assert result["sampling"]["temperature"] == SamplingConfig().temperature
    low, high = result["mse_confidence_95"]
    assert low <= result["mse"] <= high


def test_clips_that_were_cut_from_one_recording_are_not_taken_for_independent_ones() -> None:
    result = run(source=NoiseSource(cut=5), clips=10)
    assert (result["clips"], result["recordings"]) == (10, 2)
    assert "10 test clips of noise cut from 2 recordings" in format_table(result)
    assert "(bootstrap over recordings)" in format_table(result)
    alone = run(source=NoiseSource(cut=5), clips=5)
    assert alone["mse_confidence_95"] is None
    assert "95% confidence of the MSE: unknown from one recording" in format_table(alone)


def test_references_are_scored_on_the_future_frames() -> None:
    source = NoiseSource()
    result = run(source=source)
    clips = to_unit(source.fixed_clips("test", 5, 5))
    context, truth = clips[:, :3], clips[:, 3:]
    expected = {
        "black": (truth**2).sum((2, 3, 4)),
        "repeat_last": ((truth - context[:, -1:]) ** 2).sum((2, 3, 4)),
        "reconstruction": ((truth - (truth > 0.5)) ** 2).sum((2, 3, 4)),
    }
    for name, errors in expected.items():
        assert result[name]["per_frame"]["mse"] == pytest.approx(errors.mean(0).tolist(), rel=1e-5)
    assert result["pixel_mean"]["mse"] < result["black"]["mse"]


def test_a_perfect_prediction_scores_zero_and_stays_ahead_to_the_end() -> None:
    source = NoiseSource()
    result = run(oracle(source, "test", 3), source)
    assert result["mse"] == 0
    assert result["ssim"] == pytest.approx(1)
    assert result["sharpness"] == pytest.approx(1)
    assert result["frames_ahead"] == 2


def test_a_prediction_worse_than_repeating_is_never_ahead() -> None:
    assert run()["frames_ahead"] == 0


def test_scores_depend_on_the_seed_and_not_on_the_batches() -> None:
    alone, together = run(batch_clips=1, samples=3, stages=True), run(batch_clips=4, samples=3, stages=True)
    assert alone == together
    assert run(seed=1)["mse"] != run(seed=0)["mse"]
    assert run(seed=1)["black"] == run(seed=0)["black"]


def test_clips_come_in_batches_and_progress_is_told() -> None:
    sizes, told = [], []

    def counting(checkpoint, context_u8, *rest):
        sizes.append(len(context_u8))
        return noisy_repeat(checkpoint, context_u8, *rest)

    run(counting, batch_clips=2, progress=lambda done, total: told.append((done, total)))
    assert sizes == [2, 2, 1]
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_large_frames_come_in_smaller_batches() -> None:
    assert batch_size(Evaluation(batch_clips=16), (100, 20, 1, 64, 64)) == 16
    assert batch_size(Evaluation(batch_clips=16), (100, 20, 3, 512, 512)) == 4
    assert batch_size(Evaluation(batch_clips=16), (100, 500, 3, 512, 512)) == 1
    small, fine = Config(), Config().replace({"data.size": 256})
    assert batch_size(Evaluation(batch_clips=16), (100, 20, 1, 64, 64), score_bytes(small, 10)) == 16
    assert batch_size(Evaluation(batch_clips=16), (100, 20, 1, 256, 256), score_bytes(fine, 10)) == 1


def test_several_samples_add_best_mean_and_diversity_and_leave_the_headline() -> None:
    one, several = run(clips=6), run(clips=6, samples=8)
    assert "best_of" not in one
    assert several["mse"] == one["mse"]
    assert several["best_of"]["mse"] < several["mse"]
    assert several["mean_of"]["mse"] < several["mse"]  # the noise averages out
    assert several["diversity"] == pytest.approx(2 * 0.1**2 * 64, rel=0.1)  # of two draws of noise 0.1 on 64 pixels


def test_stages_predict_every_frame_from_the_true_frames_before_it() -> None:
    result = run(stages=True)
    free, repeated = result["per_frame"]["mse"], result["true_past"]["per_frame"]["mse"]
    assert len(repeated) == len(free) == 2
    seen = []

    def watching(checkpoint, context_u8, frames, sampling, *rest):
        seen.append((context_u8.shape[1], frames, sampling.steps, sampling.temperature))
        return noisy_repeat(checkpoint, context_u8, frames, sampling, *rest)

    run(watching, stages=True)
    own = SamplingConfig()
    assert seen == [
        (3, 2, own.steps, own.temperature),
        *((given, 1, 1, 0.0) for given in (3, 4)),
        *((given, 1, own.steps, own.temperature) for given in (3, 4)),
    ]


def test_colour_clips_are_scored() -> None:
    result = run(source=NoiseSource(channels=3), checkpoint=CoarseCheckpoint(config_of(channels=3)))
    assert result["channels"] == 3
    assert result["black"]["mse"] == pytest.approx(3 * 64 / 3, rel=0.1)


def test_fewer_clips_than_asked_for_are_said_to_be_fewer() -> None:
    result = run(source=NoiseSource(most=3))
    assert (result["clips"], result["clips_asked"]) == (3, 5)
    assert "3 test clips of noise (5 asked for, no more exist)" in format_table(result)


def test_one_clip_has_no_confidence_interval() -> None:
    result = run(clips=1)
    assert result["mse_confidence_95"] is None
    assert "unknown from one clip" in format_table(result)


def test_frames_without_an_edge_have_no_sharpness() -> None:
    class Blank(NoiseSource):
        def clip(self, split, index, frames):
            return np.zeros((frames, 1, 8, 8), np.uint8)

    result = run(source=Blank())
    assert result["sharpness"] is None
    json.dumps(result, allow_nan=False)
    assert "all black" in format_table(result)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"clips": 0}, "clips is 0"),
        ({"frames": 0}, "frames is 0"),
        ({"context": -1}, "context is -1"),
        ({"samples": 0}, "samples is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"split": "holdout"}, "unknown split 'holdout': use one of train, validation, test"),
        ({"clips": 10**9}, "GiB of memory: use at most"),
        ({"source": NoiseSource(most=0)}, "noise has no test clip of 5 frames"),
        ({"source": NoiseSource(size=16)}, r"\(1, 16, 16\).*\(1, 8, 8\)"),
        ({"predictor": lambda *_: np.full((5, 2, 1, 8, 8), np.nan)}, "clips 0 to 4 is not finite"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_with_its_value(settings, words) -> None:
    with pytest.raises(ValueError, match=words):
        run(**settings)


def test_the_future_defaults_to_what_the_checkpoint_was_trained_on() -> None:
    result = run(checkpoint=CoarseCheckpoint(config_of(context=4, frames=3)))
    assert (result["context"], result["frames"]) == (4, 3)


@pytest.fixture(scope="module")
def standard_result():
    from vidapp.data.moving_mnist import MovingMnist

    config = Config()
    return evaluate(CoarseCheckpoint(config), MovingMnist(config.data), 3, predictor=noisy_repeat, samples=2, stages=True)


def test_the_table_names_stages_baselines_and_published_rows_with_their_source(standard_result) -> None:
    text = format_table(standard_result)
    for words in ("truth", "tokenizer alone", "true past", "free running", "best of 2 (truth known)", "mean of 2", "all black", SOURCE):
        assert words in text
    for published in MOVING_MNIST_10_TO_10:
        assert f"{published.mse:.2f}" in text
    assert "frames ahead of repeating the last given one, in a row: 0 of 10" in text
    assert max(map(len, text.splitlines())) <= 140


def test_the_table_says_how_tokens_were_chosen(standard_result) -> None:
    drawn, expected = (
        format_table({**standard_result, "sampling": {**standard_result["sampling"], "choice": choice}}) for choice in ("drawn", "expected")
    )
    assert "temperature 0.8, top-k 5, " in drawn
    assert "tokens as expected, " in expected
    assert "temperature" not in expected


def test_one_pass_is_greedy_also_where_what_is_expected_is_chosen() -> None:
    seen = []

    def watching(checkpoint, context_u8, frames, sampling, *rest):
        seen.append((sampling.choice, sampling.temperature, sampling.steps))
        return noisy_repeat(checkpoint, context_u8, frames, sampling, *rest)

    own = SamplingConfig(choice="expected", steps=1)
    run(watching, stages=True, sampling=own)
    assert [choice for choice, *_ in seen] == ["expected", "drawn", "drawn", "expected", "expected"]
    assert seen[1] == ("drawn", 0.0, 1)


def test_published_rows_stand_only_beside_the_same_task(standard_result) -> None:
    for change in ({"context": 5}, {"digits": 3}, {"size": 128}, {"source": "moving-mnist-mine"}):
        assert "PredRNN" not in format_table({**standard_result, **change})


def test_the_scorer_refuses_a_predictor_of_the_wrong_shape() -> None:
    scorer = Scorer(CoarseCheckpoint(), Evaluation(context=3, frames=2), SamplingConfig(), np.zeros((1, 8, 8)), lambda *_: np.zeros((1, 1)))
    with pytest.raises(AssertionError):
        scorer.add_batch(NoiseSource().fixed_clips("test", 1, 5), 0)
