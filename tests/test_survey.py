"""Splits, counted."""

from pathlib import Path

import numpy as np
import pytest

from vidapp.config import DataConfig
from vidapp.data.folder import FolderSource
from vidapp.data.moving_mnist import MovingMnist
from vidapp.data.survey import survey


def test_digits_are_counted_and_in_one_split_each() -> None:
    found = survey(MovingMnist(DataConfig()))
    assert found.counts == {"train": {"digits": 4000}, "validation": {"digits": 500}, "test": {"digits": 500}}
    assert found.shared == 0


def test_a_digit_in_two_splits_is_noticed() -> None:
    digits = np.arange(3 * 28 * 28, dtype=np.uint8).reshape(3, 28, 28) + np.arange(3, dtype=np.uint8)[:, None, None]
    found = survey(MovingMnist(DataConfig(), {"train": digits, "validation": digits[:1], "test": digits[1:2]}))
    assert found.shared == 2


@pytest.mark.parametrize(("clips", "words"), [(1, "by time"), (5, "by clip")])
def test_own_clips_share_no_frame(tmp_path: Path, clips: int, words: str) -> None:
    for number in range(clips):
        np.save(tmp_path / f"{number}.npy", np.zeros((30, 16, 16), np.uint8))
    np.save(tmp_path / "short.npy", np.zeros((2, 16, 16), np.uint8))
    found = survey(FolderSource(DataConfig(source=str(tmp_path), size=16, clip_frames=8, context_frames=4)))
    assert words in found.words
    assert found.shared == 0
    assert sum(split["frames"] for split in found.counts.values()) <= 30 * clips
    assert [name for name, _ in found.skipped] == ["short.npy"]
