"""Where it is lost: the part that adds most of the error is named, in words."""

import pytest
from test_evaluate import run

from vidapp.config import Config
from vidapp.stages import PARTS, lost


def scores(reconstruction: float, one_pass: float, true_past: float, free: float, sharpness: float = 0.9) -> dict[str, object]:
    def part(mse: float) -> dict[str, object]:
        return {"mse": mse, "sharpness": sharpness}

    return {
        **part(free),
        "reconstruction": part(reconstruction),
        "one_pass_true_past": part(one_pass),
        "true_past": part(true_past),
        "repeat_last": part(280.0),
    }


@pytest.mark.parametrize(
    ("found", "blame", "words"),
    [
        (scores(120, 130, 130, 140), "tokenizer", "lost in the tokenizer: what it redraws"),
        (scores(10, 110, 112, 130), "transformer", "even with the true past it is at 110"),
        (scores(10, 20, 90, 100), "sampler", "90 squared error a frame out of the 20"),
        (scores(12, 66, 60, 160), "drift", "on its own frames it is at 160"),
        (scores(2, 8, 8, 12), "", "Little is lost"),
    ],
)
def test_the_part_that_adds_most_is_named(found: dict[str, object], blame: str, words: str) -> None:
    judged = lost(found)
    assert judged.blame == blame
    assert words in judged.words
    assert judged.advice


def test_losses_add_up_and_decoding_that_helps_is_no_loss() -> None:
    stages = {stage.part: stage for stage in lost(scores(12, 80, 60, 160)).stages}
    assert [stages[part].lost for part in PARTS] == [12, 48, 0, 100]


def test_blur_is_said_where_it_is() -> None:
    assert "30% of the truth's edges" in lost(scores(120, 130, 130, 140, sharpness=0.3)).words


def test_an_empty_future_is_not_called_blurred() -> None:
    said = lost(scores(10, 150, 150, 150, sharpness=0.01)).words
    assert "almost empty" in said
    assert "blurred" not in said


def test_own_frames_are_not_advised_to_what_was_trained_on_them() -> None:
    found, config = {**scores(12, 66, 60, 160), "step": 400}, Config().replace({"run.steps": 1000, "recipe.own_past": 0.5})
    assert "recipe.own_past=0.5" in lost(found, config.replace({"recipe.own_past": 0.0})).advice
    assert "longer training" in lost(found, config).advice
    assert lost(found, config).own_past == 0.5
    assert "temperature" not in lost(found).advice


def test_a_checkpoint_from_before_own_past_began_was_not_trained_on_it() -> None:
    config = Config().replace({"run.steps": 1000, "recipe.own_past": 0.5, "recipe.own_past_from": 0.5})
    early, late = (lost({**scores(12, 66, 60, 160), "step": step}, config) for step in (400, 600))
    assert (early.own_past, late.own_past) == (0.0, 0.5)
    assert "recipe.own_past=0.5" in early.advice
    assert "longer training" in late.advice


def test_what_is_expected_has_no_temperature_to_lower() -> None:
    found = scores(12, 40, 160, 165)
    assert "temperature" in lost(found).advice
    assert "temperature" not in lost({**found, "sampling": {"choice": "expected"}}).advice


def test_scores_without_stages_are_refused() -> None:
    with pytest.raises(ValueError, match="stages=True"):
        lost(run())


def test_an_evaluation_shows_the_first_clip_at_every_stage() -> None:
    shown: dict[str, tuple[int, ...]] = {}
    result = run(stages=True, samples=2, batch_clips=2, show=lambda name, frames: shown.setdefault(name, frames.shape))
    assert set(shown) >= {"truth", "reconstruction", "one_pass_true_past", "true_past", "prediction"}
    assert len(set(shown.values())) == 1
    assert len(lost(result).stages) == 4
