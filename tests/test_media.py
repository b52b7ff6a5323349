"""Files and pictures of frames: what is written reads back, players accept it, and a failure leaves the old file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from vidapp import media
from vidapp.data.clips import first_clip
from vidapp.media import GAP, StripRow, film_strip, to_u8, write_clip, write_gif, write_mp4, write_npy


def noise(frames: int = 4, channels: int = 1, height: int = 12, width: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, channels, height, width), dtype=np.uint8)


@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=20))
def test_to_u8_rounds_within_half_a_level_and_cuts_off_outside(values: list[float]) -> None:
    array = np.array(values, np.float32)
    bytes_ = to_u8(array)
    assert bytes_.dtype == np.uint8
    assert np.abs(bytes_ / 255 - np.clip(array, 0, 1)).max() <= 0.5 / 255 + 1e-6


def test_to_u8_undoes_division_by_255_and_refuses_what_is_no_number() -> None:
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(to_u8(levels.astype(np.float32) / 255), levels)
    with pytest.raises(ValueError, match="diverged"):
        to_u8(np.array([0.5, np.nan]))


def test_npy_is_grey_without_and_colour_with_a_last_axis(tmp_path: Path) -> None:
    write_npy(tmp_path / "grey.npy", noise())
    write_npy(tmp_path / "colour.npy", noise(channels=3))
    assert np.array_equal(np.load(tmp_path / "grey.npy"), noise()[:, 0])
    assert np.array_equal(np.load(tmp_path / "colour.npy"), noise(channels=3).transpose(0, 2, 3, 1))


@given(frames=st.integers(1, 5), height=st.integers(1, 20), width=st.integers(1, 20), still=st.booleans())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_gif_keeps_every_grey_frame_exactly_even_equal_ones(tmp_path: Path, frames: int, height: int, width: int, still: bool) -> None:
    clip = noise(frames, 1, height, width)
    if still:
        clip[:] = clip[0]
    write_gif(tmp_path / "a.gif", clip)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == frames
        assert image.size == (width, height)
        for index in range(frames):
            image.seek(index)
            assert np.array_equal(np.asarray(image.convert("L")), clip[index, 0])


def test_a_gif_loops_for_ever_at_ten_frames_a_second(tmp_path: Path) -> None:
    write_gif(tmp_path / "a.gif", noise(), scale=3)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["loop"] == 0
        assert image.info["duration"] == 100
        assert image.size == (36, 36)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (15, 17), (1, 1), (64, 48)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_video_has_every_frame_and_even_sides(tmp_path: Path, height: int, width: int, channels: int) -> None:
    clip = np.stack([np.full((channels, height, width), 40 * index, np.uint8) for index in range(5)])
    write_mp4(tmp_path / "a.mp4", clip)
    read = first_clip(tmp_path / "a.mp4", 8, channels, 99)[0].frames
    assert np.abs(read.mean(axis=(1, 2, 3)) - clip.mean(axis=(1, 2, 3))).max() < 6
    assert len(read) == 5


def test_the_suffix_chooses_the_kind(tmp_path: Path) -> None:
    for suffix, start in ((".gif", b"GIF89a"), (".npy", b"\x93NUMPY"), (".mp4", b"\0\0\0")):
        write_clip(tmp_path / f"a{suffix}", noise())
        assert (tmp_path / f"a{suffix}").read_bytes().startswith(start)
    with pytest.raises(ValueError, match=r"a\.txt is of an unknown type: use \.gif, \.mp4 or \.npy"):
        write_clip(tmp_path / "a.txt", noise())


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gif(tmp_path / "a.gif", noise())
    before = (tmp_path / "a.gif").read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("vidapp.media.indexed", fail)
    with pytest.raises(OSError, match="disk full"):
        write_gif(tmp_path / "a.gif", noise())
    assert (tmp_path / "a.gif").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


@pytest.mark.parametrize(
    "frames",
    [np.zeros((4, 8, 8), np.uint8), np.zeros((4, 1, 8, 8), np.float32), np.zeros((0, 1, 8, 8), np.uint8), np.zeros((4, 2, 8, 8), np.uint8)],
)
def test_what_is_no_clip_is_refused_with_its_shape(tmp_path: Path, frames: np.ndarray) -> None:
    for suffix in (".gif", ".mp4", ".npy"):
        with pytest.raises(ValueError, match="are no clip: give uint8"):
            write_clip(tmp_path / f"a{suffix}", frames)


def test_impossible_scales_and_folders_are_refused(tmp_path: Path) -> None:
    for write in (write_gif, write_mp4):
        with pytest.raises(ValueError, match="scale 0"):
            write(tmp_path / "a", noise(), scale=0)
        with pytest.raises(ValueError, match="does not exist: make it first"):
            write(tmp_path / "missing" / "a", noise())


def test_a_film_strip_shows_each_frame_in_its_column() -> None:
    given_, future = noise(3), noise(5, channels=3)
    strip = np.asarray(film_strip([given_, StripRow(future)], scale=2))
    assert strip.shape == (2 * (24 + GAP) + GAP, 5 * (24 + GAP) + GAP, 3)
    assert np.array_equal(strip[GAP : GAP + 24 : 2, GAP : GAP + 24 : 2, 0], given_[0, 0])
    top, left = GAP + 24 + GAP, GAP + 4 * (24 + GAP)
    assert np.array_equal(strip[top : top + 24 : 2, left : left + 24 : 2], future[4].transpose(1, 2, 0))


def test_labels_stand_left_of_the_frames() -> None:
    plain = film_strip([noise()])
    labelled = film_strip([StripRow(noise(), "predicted")])
    assert labelled.height == plain.height
    assert labelled.width > plain.width + 20
    assert np.array_equal(np.asarray(labelled)[:, -plain.width :], np.asarray(plain))


def test_film_strips_of_nothing_or_of_two_sizes_are_refused() -> None:
    for rows in ([], [noise(), noise(height=8)], [noise()[0]]):
        with pytest.raises(ValueError, match="needs clips"):
            film_strip(rows)


@pytest.mark.parametrize("limit", [100_000, 10_000, 1_000])
def test_a_film_strip_that_would_be_too_large_is_drawn_smaller(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(media, "MAX_STRIP_PIXELS", limit)
    strip = film_strip([noise(20), noise(20)], scale=8)
    assert limit / 8 < strip.width * strip.height <= limit
    assert (strip.width - GAP) % 20 == 0, "every frame is there"


def test_more_frames_than_the_smallest_film_strip_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MAX_STRIP_PIXELS", 100)
    with pytest.raises(ValueError, match="1 rows of 20 frames is too large"):
        film_strip([noise(20)], scale=8)
