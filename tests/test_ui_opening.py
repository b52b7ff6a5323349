"""What the page opens with is what its controls say, and what the bundled checkpoint makes."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vidapp.ui import opening, session
from vidapp.ui.app import build
from vidapp.ui.cards import card_text
from vidapp.ui.choices import FIRST
from vidapp.ui.controls import Controls
from vidapp.ui.generation import predicted, sampling_of

ADVICE = f"the bundled checkpoint or the controls' defaults have changed: run {opening.COMMAND}"


@pytest.fixture(scope="module")
def kept() -> opening.Opening:
    assert opening.ASSET.is_file(), ADVICE
    found = opening.opening()
    assert found is not None, ADVICE
    return found


def test_its_settings_are_the_defaults_of_the_controls(kept: opening.Opening) -> None:
    by_id = {block.elem_id: block for block in build().blocks.values()}
    ids = {
        "number": "clip-number",
        "temperature": "field-sampling-temperature",
        "top_k": "field-sampling-top_k",
        "steps": "field-sampling-steps",
        "choice": "field-sampling-choice",
        "order": "field-sampling-order",
        "anneal": "field-sampling-anneal",
        "dropped": "checkpoint-file",
        "upload": "clip-file",
    }
    shown = {name: by_id[ids.get(name, name)].value for name in Controls.names()}
    assert shown == dataclasses.asdict(kept.chosen) == dataclasses.asdict(FIRST), ADVICE


def test_the_bundled_checkpoint_makes_it(kept: opening.Opening) -> None:
    """Nearly: sums in another order may turn a token, and from there on the frames drift apart."""
    checkpoint = session.CHECKPOINTS.load(session.BUNDLED)
    clip = FIRST.clip(checkpoint.config)
    np.testing.assert_array_equal(kept.clip.given_u8, clip.given_u8)
    np.testing.assert_array_equal(kept.clip.truth_u8, clip.truth_u8)
    first = next(predicted(checkpoint, clip.given_u8, FIRST.frames, sampling_of(checkpoint.config, FIRST.settings()), FIRST.seed))
    apart = np.abs(np.clip(first[0], 0, 1) * 255 - kept.prediction_u8[0])
    assert apart.mean() < 2, ADVICE
    assert kept.card == card_text(session.BUNDLED), ADVICE


def test_what_is_said_of_it_is_true(kept: opening.Opening) -> None:
    truth, prediction = (frames.astype(np.float64) / 255 for frames in (kept.clip.truth_u8, kept.prediction_u8))  # type: ignore[union-attr]
    errors = ((truth - prediction) ** 2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(kept.errors.model, errors, rtol=0.01)  # those of the frames before they were made bytes
    assert "repeating the last given frame" in kept.verdict.headline


def test_it_can_be_gone_on_with_and_looked_into(kept: opening.Opening) -> None:
    generation = opening.generation()
    assert generation is not None
    assert generation.replay is not None
    assert generation.replay.tokens_THW.shape[0] == FIRST.given + FIRST.frames
    assert generation.replay.steps[-1].frame == FIRST.frames - 1
    np.testing.assert_array_equal(generation.replay.steps[-1].tokens_nHW[0], generation.replay.tokens_THW[-1])


def test_it_is_there_before_torch() -> None:
    code = "import sys; from vidapp.ui.opening import opening; assert opening(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent, check=False).returncode == 0


def test_without_the_file_the_page_still_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "ASSET", tmp_path / "none.npz")
    opening.opening.cache_clear()
    try:
        assert opening.opening() is None
        assert opening.generation.__wrapped__() is None
    finally:
        opening.opening.cache_clear()
