"""Training on one's own clips: what is in which split, which windows come out, and what is kept on disk."""

import itertools
import os
import pickle
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidapp.config import SPLITS, DataConfig
from vidapp.data import cache, fixed, torchvision_mnist
from vidapp.data.cache import data_folder
from vidapp.data.decoders import STANDARD_TEST_SHAPE
from vidapp.data.folder import FolderSource, Segment, Windows, split_by_name, split_by_time
from vidapp.data.source import open_source
from vidapp.data.torchvision_mnist import FullMnistSource
from vidapp.media import write_gif, write_mp4

SIZE = 8


def numbered(frames: int, clip: int = 0) -> np.ndarray:
    """A clip uint8 (T, 8, 8) whose frames say where they are: pixel [0, 0] holds the clip's number, [0, 1] the frame's."""
    array = np.zeros((frames, SIZE, SIZE), np.uint8)
    array[:, 0, 0], array[:, 0, 1] = clip, np.arange(frames)
    return array


def save_numbered(path: Path, clips: int, frames: int) -> Path:
    path.mkdir(exist_ok=True)
    for clip in range(clips):
        np.save(path / f"clip{clip}.npy", numbered(frames, clip))
    return path


def source_of(path: Path, frames: int = 4, **changes: int) -> FolderSource:
    return FolderSource(DataConfig(**{"source": str(path), "size": SIZE, "clip_frames": frames, "context_frames": 1, **changes}))


def frames_of(clips_NTCHW: np.ndarray) -> set[tuple[int, int]]:
    """(clip, frame) of every frame in windows uint8 (N, T, C, H, W) of numbered clips."""
    return {(int(frame[0, 0, 0]), int(frame[0, 0, 1])) for clip in clips_NTCHW for frame in clip}


@pytest.mark.parametrize(("clips", "frames"), [(1, 12), (1, 60), (2, 12), (2, 9), (3, 4), (3, 20), (12, 6), (40, 5)])
def test_no_frame_is_in_two_splits_and_every_split_has_some(tmp_path: Path, clips: int, frames: int) -> None:
    source = source_of(save_numbered(tmp_path / "set", clips, frames))
    seen = {split: frames_of(source.fixed_clips(split, 10_000, 4)) for split in SPLITS}
    assert all(seen.values())
    assert not seen["train"] & seen["validation"]
    assert not seen["train"] & seen["test"]
    assert not seen["validation"] & seen["test"]
    if clips > 2:
        assert len(set.union(*seen.values())) == clips * frames


@given(count=st.integers(3, 300), more=st.integers(1, 50))
def test_adding_clips_moves_hardly_any_to_another_split(count: int, more: int) -> None:
    def where(number: int) -> dict[str, str]:
        clips = [Segment(f"clip{index}.mp4", Path("x"), 0, 0, 20) for index in range(number)]
        return {clip.name: split for split, members in split_by_name(clips).items() for clip in members}

    before, after = where(count), where(count + more)
    assert len(before) == count
    assert sum(after[name] != split for name, split in before.items()) <= 2


@given(lengths=st.lists(st.integers(4, 200), min_size=1, max_size=2), needed=st.integers(1, 40))
def test_one_or_two_clips_are_split_by_time_or_refused_with_what_would_do(lengths: list[int], needed: int) -> None:
    clips = [Segment(f"{index}.gif", Path(f"{index}"), 0, 0, max(needed, length)) for index, length in enumerate(lengths)]
    longest = max(clip.stop for clip in clips)
    if longest < (3 if len(clips) == 1 else 2) * needed:
        with pytest.raises(ValueError, match=f"need {3 * needed} of their own"):
            split_by_time("set", clips, needed)
        return
    splits = split_by_time("set", clips, needed)
    used = [(part.name, frame) for split in SPLITS for part in splits[split] for frame in range(part.start, part.stop)]
    assert len(used) == len(set(used)) == sum(clip.stop for clip in clips)
    assert all(part.windows(needed) for split in SPLITS for part in splits[split])


def test_training_clips_are_windows_of_consecutive_frames_fixed_by_their_counters(tmp_path: Path) -> None:
    source = source_of(save_numbered(tmp_path / "set", 10, 30), frames=5)
    clips = [source.training_clip(0, step, sample, 5) for step in range(20) for sample in range(3)]
    training = frames_of(source.fixed_clips("train", 10_000, 5))
    for clip in clips:
        assert clip.shape == (5, 1, SIZE, SIZE)
        assert clip.dtype == np.uint8
        assert (np.diff(clip[:, 0, 0, 1].astype(int)) == 1).all()
        assert len(set(clip[:, 0, 0, 0])) == 1
        assert frames_of(clip[None]) <= training
    assert len({clip.tobytes() for clip in clips}) > 40
    again = source_of(tmp_path / "set", frames=5)
    assert np.array_equal(again.training_clip(0, 7, 2, 5), clips[7 * 3 + 2])
    assert not np.array_equal(source.training_clip(1, 7, 2, 5), clips[7 * 3 + 2])
    assert source.training_clip(0, 7, 2, 3).shape[0] == 3


def test_every_window_can_come_first_and_last(tmp_path: Path) -> None:
    source = source_of(save_numbered(tmp_path / "set", 1, 12), frames=3)
    firsts = {int(source.training_clip(0, step, 0, 3)[0, 0, 0, 1]) for step in range(200)}
    assert firsts == {0, 1, 2, 3}  # of the 6 training frames


def test_which_clip_a_fixed_window_is_cut_from_is_known(tmp_path: Path) -> None:
    source = source_of(save_numbered(tmp_path / "set", 40, 6))
    windows, recordings = source.fixed_clips("train", 60, 4), source.fixed_recordings("train", 60, 4)
    clips = windows[:, 0, 0, 0, 0]
    assert len(recordings) == len(windows) == 60
    assert len({*zip(clips.tolist(), recordings.tolist(), strict=True)}) == len({*clips.tolist()}) == len({*recordings.tolist()}) > 20


@pytest.mark.parametrize("clips", [1, 40])
def test_a_numbered_clip_is_the_same_however_many_frames_are_asked_for_and_ends_where_its_split_does(tmp_path: Path, clips: int) -> None:
    source = source_of(save_numbered(tmp_path / "set", clips, 30 if clips == 1 else 6))
    for split in SPLITS:
        every = source.fixed_clips(split, 1000, 4)
        held = frames_of(every)
        for number, window in enumerate(every):
            shown = [source.numbered_clip(split, number, frames) for frames in (2, 4, 5, 99)]
            assert np.array_equal(shown[1], window)
            for fewer, more in itertools.pairwise(shown):
                assert np.array_equal(more[: len(fewer)], fewer)
            assert len(shown[0]) == 2
            assert frames_of(shown[-1][None]) <= held
        with pytest.raises(ValueError, match=f"there is no {split} clip {len(every)}: set has {len(every)}, counted from 0"):
            source.numbered_clip(split, len(every), 4)


@given(lengths=st.lists(st.integers(3, 30), min_size=1, max_size=5), frames=st.integers(1, 3), count=st.integers(1, 60))
def test_fixed_windows_are_distinct_prefixes_of_each_other_and_overlap_last(lengths: list[int], frames: int, count: int) -> None:
    windows = Windows([Segment(str(index), Path("x"), 0, 0, length) for index, length in enumerate(lengths)], frames)
    order = windows.fixed_order("test", count)
    assert len(set(order)) == len(order) == min(count, len(windows))
    assert np.array_equal(order, windows.fixed_order("test", count + 1)[: len(order)])
    apart = sum(length // frames for length in lengths)
    first = sorted(int(number) + int(np.searchsorted(windows.ends, number, side="right")) * (frames - 1) for number in order[:apart])
    assert all(after - before >= frames for before, after in itertools.pairwise(first))


def test_short_clips_are_skipped_with_their_length_and_the_rest_is_used(tmp_path: Path) -> None:
    np.save(save_numbered(tmp_path / "set", 3, 10) / "short.npy", numbered(2))
    (tmp_path / "set" / "broken.mp4").write_bytes(b"nothing")
    source = source_of(tmp_path / "set")
    assert ("short.npy", "it has 2 of the 4 frames needed") in source.skipped
    assert "broken.mp4" in dict(source.skipped)


def test_only_short_clips_are_refused_with_the_frames_needed(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"no clip in set has the 4 frames that data\.clip_frames asks for \(the longest has 3\).*at most 3"
    ):
        source_of(save_numbered(tmp_path / "set", 5, 3))
    with pytest.raises(ValueError, match=r"8 frames in its longest clip, but .* need 12 .*data\.clip_frames to at most 2"):
        source_of(save_numbered(tmp_path / "one", 1, 8))


def test_nothing_readable_is_refused_with_the_first_reason(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "broken.gif").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"set holds no readable clip: broken\.gif is damaged"):
        source_of(tmp_path / "set")
    with pytest.raises(ValueError, match="there is no clip at missing"):
        open_source(DataConfig(source=str(tmp_path / "missing")))


def test_a_home_folder_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="'~nobody-at-all/clips' begins with a home folder that is not known here: give the whole path"):
        open_source(DataConfig(source="~nobody-at-all/clips"))


def test_windows_longer_than_a_split_and_unknown_splits_are_refused(tmp_path: Path) -> None:
    source = source_of(save_numbered(tmp_path / "set", 5, 6))
    with pytest.raises(ValueError, match="at most 6 frames in a row for test, but 7 are needed"):
        source.fixed_clips("test", 1, 7)
    with pytest.raises(ValueError, match="unknown split 'tests': use one of train, validation, test"):
        source.fixed_clips("tests", 1, 4)


def test_an_answer_too_large_for_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(save_numbered(tmp_path / "set", 5, 6))
    monkeypatch.setattr(fixed, "MAX_FIXED_BYTES", 100)
    with pytest.raises(ValueError, match="ask for fewer clips"):
        source.fixed_clips("train", 2, 4)


def test_many_clips_in_one_npy_or_zip_are_split_like_files(tmp_path: Path) -> None:
    many = np.stack([numbered(6, clip) for clip in range(12)])
    np.save(tmp_path / "many.npy", many)
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as file:
        file.write(tmp_path / "many.npy", "inside/many.npy")
    for name in ("many.npy", "many.zip"):
        source = source_of(tmp_path / name)
        assert source.name == name
        seen = [frames_of(source.fixed_clips(split, 10_000, 4)) for split in SPLITS]
        assert sum(map(len, seen)) == 12 * 6


def test_gif_and_video_reach_the_models_size_and_colours(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for number in range(3):
        write_gif(tmp_path / "set" / f"{number}.gif", np.full((5, 1, 20, 30), 10 * number, np.uint8))
        write_mp4(tmp_path / "set" / f"{number}.mp4", np.full((7, 1, 32, 32), 10 * number, np.uint8))
    source = source_of(tmp_path / "set", channels=3)
    assert source.fixed_clips("train", 2, 4).shape == (2, 4, 3, SIZE, SIZE)
    assert not source.skipped


def test_clips_are_decoded_once_and_again_only_when_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_numbered(tmp_path / "set", 3, 6)
    first = source_of(path).fixed_clips("train", 1, 4)
    assert len(list((data_folder() / "clips").glob("*.npy"))) == 3
    with monkeypatch.context() as patch:
        patch.setattr(cache, "decoded", None)  # calling it would fail
        assert np.array_equal(source_of(path).fixed_clips("train", 1, 4), first)
    np.save(path / "clip1.npy", numbered(7, 1))
    source_of(path)
    assert len(list((data_folder() / "clips").glob("*.npy"))) == 4


def test_fixed_clips_can_begin_with_any_number_and_end_where_there_are_no_more(tmp_path: Path) -> None:
    source = source_of(save_numbered(tmp_path / "set", 3, 6))
    every = source.fixed_clips("train", 100, 4)
    for first in range(len(every) + 2):
        assert np.array_equal(source.fixed_clips("train", 100, 4, first=first), every[first:])
        assert np.array_equal(source.fixed_clips("train", 1, 4, first=first), every[first : first + 1])


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    path = save_numbered(tmp_path / "set", 3, 6)
    before = source_of(path).fixed_clips("train", 9, 4)
    for cached in (data_folder() / "clips").glob("*.npy"):
        cached.write_bytes(cached.read_bytes()[:200])
    cache.open_cached.cache_clear()
    assert np.array_equal(source_of(path).fixed_clips("train", 9, 4), before)


def test_clips_that_are_in_use_for_long_are_not_taken_for_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(save_numbered(tmp_path / "set", 3, 6))
    folder = data_folder() / "clips"
    for path in folder.glob("*.npy"):
        os.utime(path, (0, 0))

    def told() -> set[Path]:
        source.fixed_clips("train", 9, 4)
        return {path for path in folder.glob("*.npy") if path.stat().st_mtime > time.time() - cache.IN_USE_S}

    assert told() == set()  # a moment ago
    monkeypatch.setattr(cache, "TOUCH_EVERY_S", -1.0)
    trained_on = {segment.path for segment in source.segments["train"]}
    assert told() == trained_on
    cache.prune(folder, 0)
    assert set(folder.glob("*.npy")) == trained_on


def test_decoded_clips_that_nobody_opened_for_long_make_room_for_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source_of(save_numbered(tmp_path / "old", 3, 6))
    folder = data_folder() / "clips"
    oldest, *others = sorted(folder.glob("*.npy"))
    size = oldest.stat().st_size
    monkeypatch.setattr(cache, "LARGEST_CACHE_BYTES", 4 * size)
    cache.open_cached.cache_clear()
    for age, path in enumerate((*others, oldest), start=2):
        os.utime(path, (0, time.time() - age * cache.IN_USE_S))
    np.save(tmp_path / "new.npy", numbered(6, 1))
    np.save(tmp_path / "newer.npy", numbered(6, 2))
    for name in ("new", "newer"):
        source_of(tmp_path / f"{name}.npy", 2)
    assert not oldest.exists()
    assert all(path.exists() for path in others)
    assert len(cache.prune(folder, 0)) == 2, "what was opened lately is spared"


def test_a_full_disk_is_said_and_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SPARE_DISK_BYTES", 1 << 62)
    with pytest.raises(ValueError, match=r"nearly full: free some space or set VIDAPP_DATA"):
        source_of(save_numbered(tmp_path / "set", 3, 6))
    assert [path for path in (data_folder() / "clips").iterdir() if not path.name.startswith(".lock")] == []


def test_frames_beyond_the_limit_are_not_used_and_larger_sets_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_FRAMES", 20)
    write_gif(tmp_path / "long.gif", np.random.default_rng(0).integers(0, 255, (30, 1, 8, 8), dtype=np.uint8))
    assert sum(part.stop - part.start for parts in source_of(tmp_path / "long.gif").segments.values() for part in parts) == 20
    np.save(tmp_path / "many.npy", np.zeros((5, 5, 8, 8), np.uint8))
    with pytest.raises(ValueError, match=r"many\.npy has 25 frames, above the limit of 20"):
        source_of(tmp_path / "many.npy")


def test_decoding_tells_how_far_it_is(tmp_path: Path) -> None:
    heard: list[tuple[int, int, str]] = []
    config = DataConfig(source=str(save_numbered(tmp_path / "set", 3, 6)), size=SIZE, clip_frames=4, context_frames=1)
    FolderSource(config, progress=lambda *fact: heard.append(fact))
    assert heard == [(0, 3, "clip0.npy"), (1, 3, "clip1.npy"), (2, 3, "clip2.npy")]


def test_a_source_goes_to_another_process(tmp_path: Path) -> None:
    source = source_of(save_numbered(tmp_path / "set", 5, 6))
    other = pickle.loads(pickle.dumps(source))
    assert np.array_equal(other.training_clip(0, 1, 2, 4), source.training_clip(0, 1, 2, 4))


def test_a_data_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("VIDAPP_DATA", str(tmp_path / "file" / "below"))
    with pytest.raises(ValueError, match="set VIDAPP_DATA"):
        data_folder()


FULL = DataConfig(source="moving-mnist-full")


def offline(*_: object, **__: object) -> None:
    raise OSError("no network")


def fill_downloads(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Both downloads as they lie after a first use, with digits and test clips of our own. The test clips are mostly a hole."""
    digits = np.random.default_rng(0).integers(1, 256, (40, 28, 28), dtype=np.uint8)
    monkeypatch.setattr(torchvision_mnist, "training_digits", lambda: (digits, np.arange(40) % 4))
    path = data_folder() / "torchvision" / "moving-mnist" / "mnist_test_seq.npy"
    path.parent.mkdir(parents=True)
    clips = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=STANDARD_TEST_SHAPE)
    clips[:, :3] = np.arange(60, dtype=np.uint8).reshape(20, 3, 1, 1)
    clips.flush()
    return digits


def test_the_standard_test_clips_come_in_their_published_order(monkeypatch: pytest.MonkeyPatch) -> None:
    fill_downloads(monkeypatch)
    clips = open_source(FULL).fixed_clips("test", 3, 20)
    assert clips.shape == (3, 20, 1, 64, 64)
    assert clips[2, :4, 0, 0, 0].tolist() == [2, 5, 8, 11]
    assert np.array_equal(open_source(FULL).fixed_clips("test", 1, 20, first=2), clips[2:])
    assert np.array_equal(open_source(FULL).numbered_clip("test", 2, 30), clips[2])
    assert np.array_equal(open_source(FULL).numbered_clip("test", 2, 5), clips[2, :5])
    with pytest.raises(ValueError, match="have 20 frames, not 21"):
        open_source(FULL).fixed_clips("test", 1, 21)


def test_no_training_digit_is_in_the_validation_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = fill_downloads(monkeypatch)
    source = FullMnistSource(FULL)
    by_split = source.moving.digits_by_split
    kept = {digit.tobytes() for digit in by_split["train"]} | {digit.tobytes() for digit in by_split["validation"]}
    assert len(by_split["train"]) + len(by_split["validation"]) == len(digits) == len(kept)
    assert source.training_clip(0, 1, 2, 5).shape == (5, 1, 64, 64)
    assert source.fixed_clips("validation", 2, 5).shape == (2, 5, 1, 64, 64)


def test_without_a_network_the_full_set_says_what_to_use_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_mnist, "MNIST", offline)
    monkeypatch.setattr(torchvision_mnist, "download_url", offline)
    for call in (torchvision_mnist.training_digits, torchvision_mnist.standard_clips_path):
        with pytest.raises(ValueError, match=r"could not be downloaded.*data\.source=moving-mnist"):
            call()
    assert not list((data_folder() / "torchvision").iterdir())


def test_of_two_downloads_at_once_the_slower_uses_what_the_faster_has_left() -> None:
    folder = data_folder() / "torchvision" / "mnist"
    with torchvision_mnist.downloaded("digits", folder) as slower:
        (slower / "digits").write_text("of the slower")
        with torchvision_mnist.downloaded("digits", folder) as faster:
            (faster / "digits").write_text("of the faster")
    assert (folder / "digits").read_text() == "of the faster"
    assert list(folder.parent.iterdir()) == [folder]


def test_a_damaged_download_names_the_folder_to_delete() -> None:
    for name, call in (("mnist", torchvision_mnist.training_digits), ("moving-mnist", torchvision_mnist.standard_clips_path)):
        (data_folder() / "torchvision" / name).mkdir(parents=True)
        with pytest.raises(ValueError, match="delete that folder and start again"):
            call()


def test_the_full_set_refuses_what_its_test_clips_are_not() -> None:
    with pytest.raises(ValueError, match=r"data\.size is 32"):
        FullMnistSource(DataConfig(source="moving-mnist-full", size=32))
