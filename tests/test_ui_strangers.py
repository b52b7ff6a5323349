"""What one visitor of a public page may take of what all of them share."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_ui_data import CHOSEN, npy
from tiny_checkpoint import tiny_config, write_tiny_checkpoint

from vidapp.failures import STRANGERS, TookTooLongError
from vidapp.ui import patience, session, sources, uploads
from vidapp.ui.generation import predicted, uploaded_clip
from vidapp.ui.own_clips import read_brought
from vidapp.ui.uploads import RoomForUploads


@pytest.fixture(params=[True, False], ids=["strangers", "one's own"])
def public(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """A page on which no request has any time, if it is a public one."""
    monkeypatch.setattr(patience, "STRANGERS_S", -1.0)
    if request.param:
        monkeypatch.setenv(STRANGERS, "1")
    else:
        monkeypatch.delenv(STRANGERS, raising=False)
    return bool(request.param)


def test_a_generation_ends_when_its_time_is_over(public: bool, tmp_path: Path) -> None:
    checkpoint = session.CHECKPOINTS.load(write_tiny_checkpoint(tmp_path / "tiny.safetensors"))
    given = np.zeros((2, 1, 32, 32), np.uint8)
    made = predicted(checkpoint, given, 2, checkpoint.config.sampling, 0)
    if public:
        with pytest.raises(TookTooLongError, match="ask for less"):
            next(made)
    else:
        assert [len(frames) for frames in made] == [1, 2]


def test_an_upload_is_decoded_no_longer_than_a_request_has_time(public: bool, tmp_path: Path) -> None:
    path = npy(tmp_path, "good.npy", 20)
    if public:
        with pytest.raises(TookTooLongError):
            uploaded_clip(str(path), tiny_config(), 6, 6)
    else:
        assert len(uploaded_clip(str(path), tiny_config(), 6, 6).given_u8) == 6


def test_files_that_nobody_waits_for_any_more_are_left_and_named(tmp_path: Path) -> None:
    looked: list[int] = []

    def wanted() -> None:
        looked.append(1)
        if len(looked) > 3 * CHOSEN.frames:  # twice for each frame: where it is read, and where it is resized
            raise TookTooLongError("that was enough")

    paths = [str(npy(tmp_path, f"{number}.npy", 20)) for number in range(4)]
    *_, (done, brought) = read_brought(paths, CHOSEN.data, wanted)
    assert done == 4
    assert brought.usable == [Path(paths[0])]
    assert brought.skipped == [(f"{number}.npy", "that was enough") for number in (1, 2, 3)]
    assert len(looked) < 4 * CHOSEN.frames, "the others were not decoded"


def test_strangers_have_no_clips_of_ones_own_decoded_anew_at_every_step(
    public: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VIDAPP_DATA", str(tmp_path))
    sources.own_folder().mkdir()
    npy(sources.own_folder(), "mine.npy", 60)
    chosen = dataclasses.replace(CHOSEN, source="own/mine.npy", step=2)
    if public:
        with pytest.raises(ValueError, match="set Frame step to 1"):
            _ = chosen.data
    else:
        assert chosen.data.frame_step == 2


def test_a_checkpoint_whose_single_pass_would_stop_the_page_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"model__width": 16, "model__heads": 8, "model__layers": 64, "tokenizer__downsampling": 2, "data__size": 128}
    path = write_tiny_checkpoint(tmp_path / "slow.safetensors", tiny_config(**changes, data__clip_frames=2, data__context_frames=1))
    for ask in (session.check, session.CHECKPOINTS.load):
        with pytest.raises(ValueError, match="slow.safetensors would take about .* for a single pass here"):
            ask(path)


@pytest.mark.parametrize(("path", "free", "taken"), [("/upload", 1, False), ("/upload", 1 << 40, True), ("/other", 1, True)])
def test_files_are_received_while_the_disk_has_room(monkeypatch: pytest.MonkeyPatch, path: str, free: int, taken: bool) -> None:
    monkeypatch.setattr(uploads, "free_for_uploads", lambda: free)
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])

    async def send(message: Any) -> None:
        seen.append(message.get("status"))

    answer = RoomForUploads(app)({"type": "http", "path": f"/gradio_api{path}"}, None, send)  # type: ignore[arg-type]
    with pytest.raises(StopIteration):  # it waits for nobody; another test's browser may run a loop in this thread
        answer.send(None)
    assert seen == ([f"/gradio_api{path}"] if taken else [507, None])


def test_there_is_a_disk_for_uploads_also_before_anything_was_uploaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "not" / "there"))
    assert uploads.free_for_uploads() > 0
