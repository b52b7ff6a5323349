"""Somebody's clips: every kind reads, and what is damaged or hostile is refused in one sentence before it costs anything."""

import gc
import io
import random
import struct
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy_format
from PIL import ExifTags, Image

from vidapp.config import Config, DataConfig
from vidapp.data import archive, cache, clips, decoders, glance
from vidapp.data.clips import ClipFile, find_clips, first_clip, read_clips
from vidapp.data.decoders import ClipError, layout_of
from vidapp.data.folder import FolderSource
from vidapp.data.source import person_clip
from vidapp.failures import STRANGERS, TookTooLongError
from vidapp.media import write_clip, write_gif, write_mp4, write_npy


def moving_square(frames: int = 6, channels: int = 1, height: int = 16, width: int = 16) -> np.ndarray:
    clip = np.zeros((frames, channels, height, width), np.uint8)
    for index in range(frames):
        clip[index, :, 4:10, index : index + 6] = 40 + 10 * index
    return clip


def save_pictures(folder: Path, clip: np.ndarray, names: str = "{}.png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, frame in enumerate(clip):
        Image.fromarray(frame[0] if frame.shape[0] == 1 else frame.transpose(1, 2, 0)).save(folder / names.format(index))


def frames_in(path: str | Path, size: int, channels: int, frames: int, step: int = 1) -> np.ndarray:
    return first_clip(path, size, channels, frames, step)[0].frames


def zip_of(path: Path, contents: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in contents.items():
            file.writestr(name, content)
    return path


def npy_bytes(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_header(shape: tuple[int, ...], descr: str = "|u1") -> bytes:
    file = io.BytesIO()
    npy_format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".npy", ".gif"])
def test_a_clip_at_the_models_size_reads_back_exactly(tmp_path: Path, suffix: str, channels: int) -> None:
    clip = moving_square(channels=channels)
    write_clip(tmp_path / f"a{suffix}", clip)
    assert np.array_equal(frames_in(tmp_path / f"a{suffix}", 16, channels, 99), clip)


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm"])
def test_videos_read_close_to_what_was_written(tmp_path: Path, suffix: str) -> None:
    clip = moving_square(frames=5, channels=3, height=64, width=64)
    path = tmp_path / f"a{suffix}"
    if suffix in (".mp4", ".m4v", ".mov"):
        write_mp4(tmp_path / "a.mp4", clip)
        (tmp_path / "a.mp4").rename(path)
    else:
        save_pictures(tmp_path / "in", clip)
        codec = ["mpeg4", "-q:v", "2"] if suffix == ".avi" else ["libvpx", "-crf", "4", "-b:v", "2M"]
        ffmpeg(["-framerate", "10", "-i", str(tmp_path / "in" / "%d.png"), "-c:v", *codec, str(path)])
    read = frames_in(path, 64, 3, 99)
    assert read.shape == clip.shape
    assert np.abs(read.astype(int) - clip).mean() < 4


def ffmpeg(arguments: list[str]) -> None:
    import imageio_ffmpeg

    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-threads", "1", *arguments], check=True)


def test_a_folder_of_pictures_is_one_clip_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    clip = moving_square(frames=12)
    save_pictures(tmp_path / "frames", clip, "frame{}.png")
    assert np.array_equal(frames_in(tmp_path / "frames", 16, 1, 99), clip)


@pytest.mark.parametrize("mode", ["I;16", "RGBA", "P", "1", "LA"])
def test_pictures_of_other_kinds_become_eight_bits(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.full((8, 8), 257 * 200, np.uint16)) if mode == "I;16" else Image.new("L", (8, 8), 200).convert(mode)
    image.save(tmp_path / "1.png")
    frame = frames_in(tmp_path, 8, 1, 1)[0, 0]
    assert (frame == (255 if mode == "1" else 200)).mean() > 0.7


@pytest.mark.parametrize("suffix", [".tif", ".webp", ".png"])
def test_a_picture_file_with_several_pictures_is_left_out_and_named(tmp_path: Path, suffix: str) -> None:
    first, *others = [Image.fromarray(frame[0]).convert("RGB") for frame in moving_square()]
    (tmp_path / "several").mkdir()
    first.save(tmp_path / "several" / f"1{suffix}", save_all=True, append_images=others)
    save_pictures(tmp_path / "walk", moving_square())
    read, skipped = read_clips(tmp_path, 16, 1, 9, 9)
    assert [clip.name for clip in read] == ["walk"]
    reason = f"1{suffix} holds more than one picture: save each as a file of its own, or all as one .gif or .npy"
    assert skipped == [("several", reason)]


def test_the_small_pictures_that_a_camera_adds_do_not_matter(tmp_path: Path) -> None:
    own, added = Image.new("L", (16, 16), 200), Image.new("L", (8, 8), 0)
    own.save(tmp_path / "1.jpg", format="MPO", save_all=True, append_images=[added])
    assert frames_in(tmp_path, 16, 1, 9).min() > 190


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_a_picture_that_was_taken_sideways_is_turned(tmp_path: Path, suffix: str) -> None:
    pixels = np.zeros((16, 24), np.uint8)
    pixels[:, :8] = 255  # the left third
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # its top is to the right: turn it clockwise
    Image.fromarray(pixels).convert("RGB").save(tmp_path / f"1{suffix}", exif=exif)
    frame = decoders.image_frame(tmp_path / f"1{suffix}")
    assert frame.size == (16, 24)
    turned = np.asarray(frame.convert("L"))
    assert turned[:6].min() > 200
    assert turned[10:].max() < 50


def test_damaged_exif_leaves_a_picture_as_it_lies(tmp_path: Path) -> None:
    Image.new("RGB", (16, 24)).save(tmp_path / "1.webp", exif=b"not what it should be")
    assert decoders.image_frame(tmp_path / "1.webp").size == (16, 24)


def test_what_is_transparent_is_black(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "1.png")
    assert frames_in(tmp_path, 8, 3, 1).max() == 0


def test_frames_are_cut_to_the_central_square_before_they_are_resized(tmp_path: Path) -> None:
    clip = np.zeros((2, 20, 60), np.uint8)
    clip[:, :, 20:40] = 255
    np.save(tmp_path / "wide.npy", clip)
    assert frames_in(tmp_path / "wide.npy", 10, 1, 9)[..., 1:-1].min() == 255
    np.save(tmp_path / "tall.npy", clip.swapaxes(1, 2))
    assert frames_in(tmp_path / "tall.npy", 10, 1, 9)[..., 1:-1, :].min() == 255


def test_shrinking_is_antialiased(tmp_path: Path) -> None:
    checkerboard = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    np.save(tmp_path / "a.npy", np.stack([checkerboard] * 2))
    assert np.abs(frames_in(tmp_path / "a.npy", 8, 1, 9).astype(int) - 127).max() < 30


def test_grey_becomes_colour_and_colour_grey(tmp_path: Path) -> None:
    write_npy(tmp_path / "grey.npy", moving_square())
    assert np.array_equal(frames_in(tmp_path / "grey.npy", 16, 3, 9), np.repeat(moving_square(), 3, axis=1))
    write_npy(tmp_path / "colour.npy", moving_square(channels=3))
    assert np.array_equal(frames_in(tmp_path / "colour.npy", 16, 1, 9), moving_square())


@given(
    shape=st.one_of(
        st.tuples(st.integers(1, 4), st.integers(4, 9), st.integers(5, 9)),
        st.tuples(st.integers(1, 4), st.integers(4, 9), st.integers(5, 9), st.sampled_from([1, 3])),
        st.tuples(st.integers(1, 3), st.integers(4, 6), st.integers(4, 9), st.integers(5, 9)),
        st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(4, 9), st.integers(5, 9), st.sampled_from([1, 3])),
    ),
    fortran=st.booleans(),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_layout_of_npy_reads_as_so_many_clips_of_so_many_frames(tmp_path: Path, shape: tuple[int, ...], fortran: bool) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.save(tmp_path / "a.npy", np.asfortranarray(array) if fortran else array)
    coloured = shape[-1] in (1, 3)
    with_clips = array if len(shape) - coloured == 4 else array[None]
    read, skipped = read_clips(tmp_path / "a.npy", 5, 3, 99, 99)
    assert not skipped
    assert len(read) == len(with_clips)
    assert all(clip.frames.shape == (with_clips.shape[1], 3, 5, 5) for clip in read)


def test_several_clips_in_one_npy_stay_apart(tmp_path: Path) -> None:
    both = np.stack([np.full((4, 8, 8), 10, np.uint8), np.full((4, 8, 8), 200, np.uint8)])
    np.save(tmp_path / "two.npy", both)
    read, _ = read_clips(tmp_path / "two.npy", 8, 1, 3, 9)
    assert [(clip.name, int(clip.frames.mean()), len(clip.frames)) for clip in read] == [("two.npy[0]", 10, 3), ("two.npy[1]", 200, 3)]
    assert len(read_clips(tmp_path / "two.npy", 8, 1, 3, 1)[0]) == 1


def test_the_standard_test_file_is_known_to_have_time_first() -> None:
    layout = layout_of("mnist_test_seq.npy", (20, 10_000, 64, 64))
    assert (layout.clips, layout.frames, layout.time_first) == (10_000, 20, True)


@pytest.mark.parametrize(
    "shape", [(4,), (4, 5), (4, 3, 8, 8), (2, 4, 3, 8, 8), (4, 8, 8, 4), (0, 8, 8), (4, 8, 0), (8, 8, 3), (1, 1, 1, 1, 1, 1)]
)
def test_shapes_that_are_no_clip_are_refused_with_the_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ClipError, match=r"a\.npy has the shape .*\(T,H,W\)"):
        layout_of("a.npy", shape)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (npy_header((10**9, 64, 64)), "shorter than its header says"),
        (npy_header((1, 10**6, 10**6)), "above the limit"),
        (npy_bytes(np.zeros((4, 8, 8), np.float32)), "uint8"),
        (npy_header((4, 8, 8), "|O") + b"cos\nsystem\n(S'true'\ntR.", "uint8"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "damaged"),
        (b"", "damaged"),
        (b"PK\x03\x04 not an npy", "damaged"),
        (b"\x93NUMPY\x09\x00" + bytes(100), "version"),
    ],
)
def test_hostile_npy_is_refused_from_its_header(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "evil.npy").write_bytes(content)
    with pytest.raises(ClipError, match=rf"(?s)evil\.npy.*{says}"):
        frames_in(tmp_path / "evil.npy", 8, 1, 9)


@pytest.mark.parametrize("suffix", [".gif", ".mp4", ".mov", ".webm", ".avi", ".npy", ".zip"])
@pytest.mark.parametrize(
    "content", [b"", b"hello, I am no clip at all, but long enough to look at" * 9, b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"]
)
def test_files_that_are_something_else_are_refused_by_name(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"some{suffix}").write_bytes(content)
    with pytest.raises(ClipError, match=rf"^some\{suffix} ") as caught:
        frames_in(tmp_path / f"some{suffix}", 8, 1, 9)
    assert str(tmp_path) not in str(caught.value)


def test_a_video_is_never_opened_as_a_playlist_or_script(tmp_path: Path) -> None:
    write_mp4(tmp_path / "real.mp4", moving_square())
    (tmp_path / "list.avi").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nreal.mp4\n#EXT-X-ENDLIST\n")
    with pytest.raises(ClipError, match=r"list\.avi is no video of a kind that is read here"):
        frames_in(tmp_path / "list.avi", 16, 1, 9)


def test_of_a_file_with_one_clip_nothing_needs_to_be_said(tmp_path: Path) -> None:
    write_npy(tmp_path / "a.npy", moving_square())
    path = zip_of(tmp_path / "a.zip", {"notes.txt": b"hello", "inner.npy": (tmp_path / "a.npy").read_bytes()})
    assert [first_clip(one, 16, 1, 9)[1] for one in (tmp_path / "a.npy", path)] == ["", ""]


def test_ffmpeg_opens_nothing_but_the_file_and_no_frame_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    started = decoders.started

    def seen(command: list[str], said: Any) -> Any:
        commands.append(command)
        return started(command, said)

    monkeypatch.setattr(decoders, "started", seen)
    write_mp4(tmp_path / "a.mp4", moving_square())
    first_clip(tmp_path / "a.mp4", 16, 1, 9)
    (command,) = commands
    before = command[: command.index("-i")]
    assert before[before.index("-protocol_whitelist") + 1] == "file"
    assert before[before.index("-max_pixels") + 1] == str(decoders.MAX_PIXELS)
    assert command[command.index("-i") + 1] == str(tmp_path / "a.mp4")


def read_or_refused(path: Path, name: str) -> int:
    """How many frames could be read; 0 where the file was refused by its name."""
    try:
        return len(frames_in(path, 8, 1, 99))
    except ClipError as error:
        if name not in str(error):
            raise
        return 0


@pytest.mark.parametrize("step", [1, 2, 3, 11, 50])
@pytest.mark.parametrize("kind", [".npy", ".gif", "pictures", ".zip"])
def test_every_so_manieth_frame_is_read_where_that_is_asked_for(tmp_path: Path, kind: str, step: int) -> None:
    clip = moving_square(frames=11)
    path = tmp_path / f"a{kind}"
    if kind == "pictures":
        save_pictures(path, clip)
    elif kind == ".zip":
        zip_of(path, {"a.npy": npy_bytes(clip[:, 0])})
    else:
        write_clip(path, clip)
    assert np.array_equal(frames_in(path, 16, 1, 99, step), clip[::step])
    assert np.array_equal(frames_in(path, 16, 1, 2, step), clip[::step][:2])
    (file,), _ = find_clips(path)
    whole, thinned = (np.load(cache.cached_clip(file, 16, 1, one)) for one in (1, step))
    assert np.array_equal(whole[0], clip)
    assert np.array_equal(thinned[0], clip[::step])


def test_own_clips_are_windows_of_every_so_manieth_frame(tmp_path: Path) -> None:
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", moving_square(frames=20)[:, 0])
    data = DataConfig(source=str(tmp_path), size=16, clip_frames=4, context_frames=1, frame_step=5)
    clip = moving_square(frames=20)[::5]
    assert np.array_equal(FolderSource(data).training_clip(0, 0, 0, 4), clip)
    config = Config().replace({"data.frame_step": 5, "data.size": 32})
    assert person_clip(tmp_path / "0.npy", config, 9)[0].frames.shape == (4, 1, 32, 32)
    with pytest.raises(ValueError, match="the longest has 4"):
        FolderSource(replace(data, clip_frames=5))


def test_a_small_file_that_takes_long_to_decode_or_much_to_keep_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gif(tmp_path / "a.gif", moving_square(frames=6))
    assert len(frames_in(tmp_path / "a.gif", 16, 1, 99)) == 6
    monkeypatch.setattr(decoders, "MAX_DRAWN", 5 * 16 * 16)
    with pytest.raises(ClipError, match=r"a\.gif takes more than 1,280 pixels to draw"):
        frames_in(tmp_path / "a.gif", 16, 1, 99)
    write_npy(tmp_path / "b.npy", moving_square(frames=20))
    monkeypatch.setattr(cache, "LARGEST_CACHE_BYTES", 19 * 64 * 64)
    with pytest.raises(ClipError, match=r"b\.npy takes 0 GiB once decoded to 64 pixels, above the limit: split it"):
        cache.cached_clip(ClipFile("b.npy", tmp_path / "b.npy"), 64, 1)


@pytest.mark.parametrize("kind", [".npy", ".gif", ".mp4", "pictures"])
def test_whoever_asked_may_have_enough_at_any_frame_also_of_those_that_are_passed_over(tmp_path: Path, kind: str) -> None:
    path, looked = tmp_path / f"a{kind}", [0]
    if kind == "pictures":
        save_pictures(path, moving_square(frames=11))
    else:
        write_clip(path, moving_square(frames=11))

    def check() -> None:
        looked[0] += 1
        if looked[0] > 3:
            raise TookTooLongError("that was enough")

    with decoders.looking_up(check), pytest.raises(TookTooLongError, match="that was enough"):
        frames_in(path, 16, 1, 99, 1 if kind == "pictures" else 4)
    assert len(frames_in(path, 16, 1, 99)) == 11, "whoever asks next has all of it"


def test_a_header_that_claims_to_be_endless_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x02\x00" + (3 << 30).to_bytes(4, "little") + b"{" * 1000)
    with pytest.raises(ClipError, match="a header that no clip has"):
        frames_in(tmp_path / "a.npy", 16, 1, 9)


def test_a_cut_off_video_and_gif_are_refused_or_end_early(tmp_path: Path) -> None:
    for suffix, write in ((".mp4", write_mp4), (".gif", write_gif)):
        path = tmp_path / f"cut{suffix}"
        write(path, moving_square(height=32, width=32))
        whole = path.read_bytes()
        for share in (0.1, 0.5, 0.9):
            path.write_bytes(whole[: int(share * len(whole))])
            assert read_or_refused(path, path.name) <= 6


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "libvpx-vp9")])
@pytest.mark.parametrize("damage", ["cut off", "overwritten"])
def test_a_video_whose_second_half_is_lost_is_refused_and_skipped_in_a_folder(tmp_path: Path, name: str, codec: str, damage: str) -> None:
    broken = tmp_path / name
    ffmpeg(["-f", "lavfi", "-i", "testsrc=size=64x64:rate=10:duration=4", "-c:v", codec, "-movflags", "+faststart", str(broken)])
    assert len(frames_in(broken, 16, 1, 99)) == 40
    write_gif(tmp_path / "good.gif", moving_square())
    whole = broken.read_bytes()
    half = len(whole) // 2
    broken.write_bytes(whole[:half] + (random.Random(0).randbytes(len(whole) - half) if damage == "overwritten" else b""))
    with pytest.raises(ClipError, match=rf"^{name} is broken after frame \d+ \(.+\): save it again or leave it out$"):
        frames_in(broken, 16, 1, 99)
    clips, skipped = read_clips(tmp_path, 16, 1, 99, 9)
    assert [clip.name for clip in clips] == ["good.gif"]
    assert [name for name, _ in skipped] == [name]


@given(
    places=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=20),
    suffix=st.sampled_from([".gif", ".png", ".npy"]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bytes_never_raise_anything_but_a_clip_error(tmp_path: Path, places: list[tuple[int, int]], suffix: str) -> None:
    path = tmp_path / f"1{suffix}"
    if suffix == ".png":
        Image.fromarray(moving_square()[0, 0]).save(path)
    else:
        write_clip(path, moving_square())
    content = bytearray(path.read_bytes())
    for place, value in places:
        content[place % len(content)] = value
    path.write_bytes(content)
    read_or_refused(tmp_path if suffix == ".png" else path, path.name)
    path.unlink()


def test_huge_pictures_are_refused_before_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        import zlib

        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 12000, 12000, 8, 2, 0, 0, 0)
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.warns(Image.DecompressionBombWarning), pytest.raises(ClipError, match="12000 x 12000 pixels, above the limit"):
        frames_in(tmp_path, 8, 1, 9)

    monkeypatch.setattr(decoders, "MAX_PIXELS", 100)
    write_gif(tmp_path / "a.gif", moving_square())
    with pytest.raises(ClipError, match="16 x 16 pixels, above the limit"):
        frames_in(tmp_path / "a.gif", 8, 1, 9)
    write_mp4(tmp_path / "a.mp4", moving_square())
    with pytest.raises(ClipError, match=r"a\.mp4"):
        frames_in(tmp_path / "a.mp4", 8, 1, 9)


def test_a_long_video_is_read_only_as_far_as_asked_and_its_decoder_ends(tmp_path: Path) -> None:
    write_mp4(tmp_path / "long.mp4", np.random.default_rng(0).integers(0, 255, (150, 1, 64, 64), dtype=np.uint8))
    assert frames_in(tmp_path / "long.mp4", 8, 1, 3).shape == (3, 1, 8, 8)
    gc.collect()
    assert not [child for child in psutil.Process().children() if "ffmpeg" in child.name() and child.status() != psutil.STATUS_ZOMBIE]


def test_frames_with_far_timestamps_are_not_repeated(tmp_path: Path) -> None:
    save_pictures(tmp_path / "in", moving_square(frames=3, height=32, width=32))
    ffmpeg(
        ["-framerate", "0.01", "-i", str(tmp_path / "in" / "%d.png"), "-c:v", "libx264", "-pix_fmt", "yuv420p", str(tmp_path / "slow.mp4")]
    )
    assert len(frames_in(tmp_path / "slow.mp4", 16, 1, 99)) == 3


def test_reading_stops_at_the_memory_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "MAX_READ_BYTES", 10 * 16 * 16)
    write_npy(tmp_path / "a.npy", moving_square(frames=8))
    write_npy(tmp_path / "b.npy", moving_square(frames=8))
    write_npy(tmp_path / "c.npy", moving_square(frames=8))
    read, skipped = read_clips(tmp_path, 16, 1, 99, 9)
    assert [len(clip.frames) for clip in read] == [8, 2]
    assert [name for name, _ in skipped] == ["c.npy"]


def test_a_folder_reads_what_it_can_and_says_what_it_left_out(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    write_npy(tmp_path / "clip10.npy", moving_square())
    write_npy(tmp_path / "clip9.npy", moving_square())
    save_pictures(tmp_path / "walk", moving_square())
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "broken.gif").write_bytes(b"GIF89a")
    (tmp_path / ".hidden.npy").write_bytes(b"")
    outside = tmp_path_factory.mktemp("outside") / "clip.npy"
    write_npy(outside, moving_square())
    (tmp_path / "link.npy").symlink_to(outside)
    read, skipped = read_clips(tmp_path, 16, 1, 9, 9)
    assert [clip.name for clip in read] == ["clip9.npy", "clip10.npy", "walk"]
    assert sorted(name for name, _ in skipped) == ["broken.gif", "link.npy", "notes.txt"]
    assert dict(skipped)["link.npy"] == "it is a link that leads out of the folder"
    assert all(reason for _, reason in skipped)


def test_links_that_lead_nowhere_are_left_out(tmp_path: Path) -> None:
    write_npy(tmp_path / "clip.npy", moving_square())
    (tmp_path / "round.npy").symlink_to("about.npy")
    (tmp_path / "about.npy").symlink_to("round.npy")
    (tmp_path / "gone.npy").symlink_to("deleted.npy")
    files, skipped = find_clips(tmp_path)
    assert [file.name for file in files] == ["clip.npy"]
    assert skipped == [(name, "it is no ordinary file, or a link to nothing") for name in ("about.npy", "gone.npy", "round.npy")]


def test_folders_that_are_not_looked_into_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "MAX_DEPTH", 1)
    for folder in ("set/walk", "set/walk/deep", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
        write_npy(tmp_path / folder / "clip.npy", moving_square())
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "elsewhere")
    files, skipped = find_clips(tmp_path / "set")
    assert [file.name for file in files] == ["walk/clip.npy"]
    assert skipped == [
        ("linked", "it is a link to a folder: copy the folder here, or give it by itself"),
        ("walk/deep", "it lies more than 1 folders deep: move it up, or give it by itself"),
    ]


def test_a_zip_reads_as_the_folder_it_was_made_of(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    save_pictures(folder / "walk", moving_square(frames=11), "f{}.png")
    write_npy(folder / "a.npy", moving_square())
    (folder / "deep").mkdir()
    write_gif(folder / "deep" / "b.gif", moving_square())
    contents = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.*"))}
    zipped = zip_of(tmp_path / "set.zip", contents | {"__MACOSX/._a.npy": b"x", ".DS_Store": b"x"})
    from_folder, _ = read_clips(folder, 16, 1, 99, 99)
    from_zip, skipped = read_clips(zipped, 16, 1, 99, 99)
    assert skipped == []
    assert [clip.name for clip in from_zip] == [clip.name for clip in from_folder]
    for one, other in zip(from_zip, from_folder, strict=True):
        assert np.array_equal(one.frames, other.frames)


def test_entries_that_lead_out_nest_or_link_are_left_out_and_nothing_is_written(tmp_path: Path) -> None:
    good = npy_bytes(moving_square()[:, 0])
    (tmp_path / "in").mkdir()
    path = zip_of(tmp_path / "in" / "a.zip", {"../up.npy": good, "/abs.npy": good, "inner.zip": b"PK", "ok.npy": good})
    with zipfile.ZipFile(path, "a") as file:
        link = zipfile.ZipInfo("link.npy")
        link.external_attr = 0o120777 << 16
        file.writestr(link, good)
    read, skipped = read_clips(path, 16, 1, 9, 9)
    assert [clip.name for clip in read] == ["ok.npy"]
    assert sorted(name for name, _ in skipped) == ["../up.npy", "/abs.npy", "inner.zip", "link.npy"]
    assert sorted(file.name for file in tmp_path.rglob("*") if file.is_file()) == ["a.zip"]


def test_a_zip_in_a_folder_is_read_as_a_folder_in_it(tmp_path: Path) -> None:
    clips = [moving_square(frames=4 + number) for number in range(3)]
    np.save(tmp_path / "own.npy", clips[0][:, 0])
    zip_of(
        tmp_path / "more.zip",
        {"b/1.npy": npy_bytes(clips[1][:, 0]), "2.npy": npy_bytes(clips[2][:, 0]), "notes.txt": b"x", "in.zip": b"PK"},
    )
    (tmp_path / "broken.zip").write_bytes(b"PK")
    found, skipped = read_clips(tmp_path, 16, 1, 99, 99)
    assert [clip.name for clip in found] == ["more.zip/2.npy", "more.zip/b/1.npy", "own.npy"]
    for clip, number in zip(found, (2, 1, 0), strict=True):
        assert np.array_equal(clip.frames, clips[number])
    assert [name for name, _ in skipped] == ["broken.zip", "more.zip/in.zip", "more.zip/notes.txt"]


def test_what_was_skipped_is_named_clips_first(tmp_path: Path) -> None:
    for name in ("a.txt", "b.md"):
        (tmp_path / name).write_text("x")
    (tmp_path / "z.gif").write_bytes(b"GIF89a")
    with pytest.raises(ClipError, match=r"holds no readable clip: z\.gif .*\(and 2 more\)"):
        read_clips(tmp_path, 16, 1, 99, 99)


def test_a_zip_is_opened_once_for_all_of_its_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zip_of(tmp_path / "many.zip", {f"{number}.npy": npy_bytes(moving_square(frames=8)[:, 0]) for number in range(9)})
    opened: list[Path] = []
    anew = archive.opened_anew
    monkeypatch.setattr(archive, "opened_anew", lambda path: opened.append(path) or anew(path))
    source = FolderSource(DataConfig(source=str(path), size=16, clip_frames=4, context_frames=1))
    assert len(source.fixed_clips("train", 1, 4)) == 1
    assert len(opened) == 2  # once to look, once to decode
    assert archive.HELD.get() is None


def test_a_zip_of_which_nothing_can_be_read_is_not_gone_through_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zip_of(tmp_path / "damaged.zip", {f"{number}.npy": b"no clip" for number in range(20)})
    monkeypatch.setattr(clips, "MOST_UNREADABLE", 3)
    opened: list[Path] = []
    anew = archive.opened_anew
    monkeypatch.setattr(archive, "opened_anew", lambda path: opened.append(path) or anew(path))
    with pytest.raises(ClipError, match="damaged.zip holds no readable clip"):
        read_clips(path, 16, 1, 4, 9)
    assert len(opened) == 2  # once to look, once to read
    good = {"00.npy": npy_bytes(moving_square()[:, 0])} | {f"{number}.npy": b"no clip" for number in range(1, 20)}
    read, skipped = read_clips(zip_of(tmp_path / "rest.zip", good), 16, 1, 4, 9)
    assert len(read) == 1
    assert skipped[-1] == ("rest.zip", "no more of it was looked at: 3 of its clips cannot be read")
    assert len(skipped) == 4


@pytest.mark.parametrize(("channels", "painted", "said"), [(1, True, glance.IN_GREY), (1, False, ""), (3, True, "")])
def test_clips_whose_colours_would_be_lost_are_noticed(tmp_path: Path, channels: int, painted: bool, said: str) -> None:
    (tmp_path / "damaged.gif").write_bytes(b"GIF89a")
    clip = np.full((5, 20, 20, 3), 90, np.uint8)
    clip[:, 5:12, 5:12] = (200, 40, 40) if painted else 200
    clip[0] = 0
    np.save(tmp_path / "film.npy", clip)
    assert glance.glance(DataConfig(source=str(tmp_path), size=16, channels=channels)) == said
    assert glance.glance(DataConfig()) == ""


def test_a_small_thing_in_colour_is_noticed_also_where_the_first_clip_has_none(tmp_path: Path) -> None:
    clip = np.full((5, 96, 96, 3), 90, np.uint8)
    np.save(tmp_path / "0.npy", clip)
    clip[:, 40:50, 40:50] = (200, 40, 40)  # a hundredth of the frame
    np.save(tmp_path / "1.npy", clip)
    assert glance.glance(DataConfig(source=str(tmp_path), size=32, channels=1)) == glance.IN_GREY


def test_a_folder_without_a_clip_is_seen_at_a_glance(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match="holds no clips"):
        glance.glance(DataConfig(source=str(tmp_path)))


def test_zip_bombs_are_refused_before_they_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "RATIO_FREE_BYTES", 1 << 20)
    bomb = zip_of(tmp_path / "bomb.zip", {"zeros.npy": npy_bytes(np.zeros((5000, 32, 32), np.uint8))})
    with pytest.raises(ClipError, match=r"bomb\.zip unpacks to more than 200 times"):
        find_clips(bomb)
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 1 << 10)
    with pytest.raises(ClipError, match=r"bomb\.zip unpacks to 4 MiB, above the limit"):
        find_clips(bomb)
    monkeypatch.setattr(archive, "MAX_ENTRIES", 3)
    with pytest.raises(ClipError, match=r"many\.zip has more than 3 files"):
        find_clips(zip_of(tmp_path / "many.zip", {f"{number}.npy": b"" for number in range(4)}))
    monkeypatch.setattr(archive, "MAX_DIRECTORY_BYTES", 10)
    with pytest.raises(ClipError, match=r"bomb\.zip has more than"):
        find_clips(bomb)


def test_what_is_no_clip_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zip_of(tmp_path / "a.zip", {"floats.npy": npy_bytes(np.zeros((20, 64, 64))), "good.npy": npy_bytes(moving_square()[:, 0])})
    unpacked: list[int] = []
    monkeypatch.setattr(archive.shutil, "copyfileobj", lambda entry, file, length: unpacked.append(file.write(entry.read())))
    clips, skipped = read_clips(tmp_path / "a.zip", 16, 1, 99, 9)
    assert [clip.name for clip in clips] == ["good.npy"]
    assert skipped == [("floats.npy", "floats.npy holds float64 values: save uint8 from 0 to 255, e.g. (x * 255).astype('uint8')")]
    assert len(unpacked) == 1


def test_strangers_may_have_less_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zip_of(tmp_path / "a.zip", {"good.npy": npy_bytes(moving_square()[:, 0])})
    monkeypatch.setattr(archive, "MAX_STRANGERS_BYTES", 1000)
    assert len(read_clips(tmp_path / "a.zip", 16, 1, 99, 9)[0]) == 1
    monkeypatch.setenv(STRANGERS, "1")
    with pytest.raises(ClipError, match="above the limit"):
        read_clips(tmp_path / "a.zip", 16, 1, 99, 9)


def test_encrypted_and_unusually_packed_entries_are_left_out(tmp_path: Path) -> None:
    good = npy_bytes(moving_square()[:, 0])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("lzma.npy", good, zipfile.ZIP_LZMA)
        file.writestr("ok.npy", good)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    assert [name for name, _ in read_clips(tmp_path / "a.zip", 16, 1, 9, 9)[1]] == ["lzma.npy"]
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ClipError, match="holds no readable clip.*and 1 more"):
        frames_in(tmp_path / "a.zip", 16, 1, 9)
    assert "password" in dict(find_clips(tmp_path / "a.zip")[1])["ok.npy"]


def test_a_damaged_entry_is_named_as_in_the_zip(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {"walk/1.png": b"no picture", "walk/2.png": b"no picture"})
    with pytest.raises(ClipError, match=r"^a\.zip holds no readable clip: walk: 1\.png is damaged"):
        frames_in(path, 8, 1, 9)


def test_of_several_clips_the_first_that_can_be_read_is_taken_and_named(tmp_path: Path) -> None:
    good = npy_bytes(np.full((3, 8, 8), 7, np.uint8))
    path = zip_of(tmp_path / "a.zip", {"walk/broken.mp4": b"no video", "walk/good.npy": good})
    clip, which = first_clip(path, 8, 1, 9)
    assert (clip.frames == 7).all()
    assert which == "This is walk/good.npy, the first clip in a.zip that can be read: broken.mp4 cannot."
    assert first_clip(zip_of(tmp_path / "c.zip", {"1.npy": good, "2.npy": good}), 8, 1, 9)[1] == "This is 1.npy, the first clip in c.zip."
    np.save(tmp_path / "many.npy", np.zeros((2, 3, 8, 8, 1), np.uint8))
    assert first_clip(tmp_path / "many.npy", 8, 1, 9)[1] == "This is many.npy[0], the first clip in many.npy."
    path = zip_of(tmp_path / "b.zip", {"broken.mp4": b"no video", "empty.npy": b""})
    with pytest.raises(ClipError, match=r"b\.zip holds no readable clip: .*broken\.mp4"):
        frames_in(path, 8, 1, 9)


@pytest.mark.parametrize(
    ("name", "says"), [("a.txt", "unknown type"), ("a.png", "single picture"), ("missing.npy", "there is no clip at missing.npy")]
)
def test_paths_that_are_no_clips_say_what_to_give(tmp_path: Path, name: str, says: str) -> None:
    if not name.startswith("missing"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=f"{says}.*give .npy, .gif, .mp4"):
        frames_in(tmp_path / name, 8, 1, 9)


@pytest.mark.parametrize("path", ["", "\0", "a" * 5000, "a/" * 3000])
def test_impossible_paths_are_refused_too(path: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  any sentence will do
        frames_in(path + ".npy", 8, 1, 9)


def test_an_empty_folder_and_one_without_clips_say_so(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match="holds no clips"):
        frames_in(tmp_path, 8, 1, 9)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ClipError, match=r"holds no readable clip: notes\.txt: it is of an unknown type"):
        frames_in(tmp_path, 8, 1, 9)


def test_finding_decodes_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"")
    assert find_clips(tmp_path)[0] == [ClipFile("broken.mp4", tmp_path / "broken.mp4")]


def test_reading_clips_needs_no_torch() -> None:
    code = "import sys, vidapp.data.clips, vidapp.media; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[1], check=False).returncode == 0
