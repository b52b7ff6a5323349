"""What the Data tab is made of, without a browser."""

import dataclasses
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest

from vidapp.config import Config, DataConfig
from vidapp.data.clips import CLIP_SUFFIXES
from vidapp.ui import data_tab, data_view, own_clips, sources
from vidapp.ui.data_tab import CHANGE, OPEN, SHOW, WISHES, brought_data, build
from vidapp.ui.data_view import Chosen, at_lengths, augmented, clips_of, lengths_of, opened, skipped_html
from vidapp.ui.own_clips import SHOWN, keep, kept_name, read_brought

CHOSEN = Chosen("moving-mnist", "train", 32, 1, 8, 4, 0.0, 0.0, 0.5, 0.0, 3, "4, 8")
DATA = DataConfig(source="own", size=16, clip_frames=6, context_frames=1)


def npy(folder: Path, name: str, frames: int = 8) -> Path:
    np.save(folder / name, np.full((frames, 20, 20), 7, np.uint8))
    return folder / name


def test_augmentation_is_one_for_all_frames_and_a_function_of_the_step() -> None:
    source = opened(CHOSEN.data)
    before, after, *_ = augmented(source, CHOSEN)
    assert "brightness" in after.caption
    lit = before.frames == before.frames.max()
    assert len(np.unique(after.frames[lit])) == 1  # the same factor in every frame
    assert (augmented(source, CHOSEN)[1].frames == after.frames).all()


def test_clips_in_a_folder_named_like_built_in_data_are_read_with_a_word_on_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "moving-mnist-own").mkdir()
    for name in ("a.npy", "b.npy", "c.npy"):
        npy(tmp_path / "moving-mnist-own", name)
    told: list[str] = []
    monkeypatch.chdir(tmp_path)
    opened(dataclasses.replace(DATA, source="moving-mnist-own"), lambda done, total, name: told.append(name))
    assert told == ["a.npy", "b.npy", "c.npy"]


def test_each_split_shows_other_clips() -> None:
    source = opened(CHOSEN.data)
    test = clips_of(source, dataclasses.replace(CHOSEN, split="test"))
    assert len(test) == 12
    assert any((one.frames != other.frames).any() for one, other in zip(test, clips_of(source, CHOSEN), strict=True))


@pytest.mark.parametrize(
    ("given", "said"), [(7, "train 0"), (8, "train 0: given frames 8 became 7"), (20, "train 0: given frames 20 became 7")]
)
def test_given_frames_that_leave_none_to_predict_are_said_to_become_fewer(given: int, said: str) -> None:
    first, second, *_ = clips_of(opened(CHOSEN.data), dataclasses.replace(CHOSEN, given=given))
    assert first.caption.partition(", since")[0] == said
    assert (first.given, second.caption) == (7, "train 1")


def test_given_frames_keep_their_share_at_every_length() -> None:
    shown = at_lengths(opened(CHOSEN.data), CHOSEN)
    assert [(len(one.frames), one.given) for one in shown] == [(4, 2), (8, 4)]


def test_clips_shorter_than_the_curriculum_are_shown_and_it_says_what_is_too_long(tmp_path: Path) -> None:
    choice = keep([npy(tmp_path, f"{name}.npy", 12) for name in "abcdef"], "short")
    with gr.Blocks():
        tab = build(readonly=True)
    WISHES.claim("page", SHOW, (choice, "train", 32, 1, 12, 4, 0.0, 0.0, 0.5, 0.0, 3, "5, 10, 15, 20", 1, ""))
    *_, found = tab.show(SimpleNamespace(session_hash="page"), progress=lambda *_, **__: None)  # type: ignore[arg-type]
    assert "Curriculum, 15 frames: " in found[tab.message]
    assert "at most 12" in found[tab.message]
    assert found[tab.screen]
    assert "train" in found[tab.survey]
    assert found[tab.before_after]


@pytest.mark.parametrize("text", ["", "a", "5; 10", "1", "10, 5", "65", "5,,-3", "5," * 9])
def test_lengths_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"e\.g\. 5|must grow"):
        lengths_of(text)


@pytest.mark.parametrize(
    "change", [{"split": "secret"}, {"size": 4096}, {"frames": 10_000}, {"source": "/etc"}, {"source": "own/../../etc"}]
)
def test_what_is_not_offered_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="choose|use one of|not offered"):
        _ = dataclasses.replace(CHOSEN, **change).data  # type: ignore[arg-type]


def test_brought_files_are_shown_or_skipped_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "broken.gif").write_bytes(b"nothing")
    paths = [npy(tmp_path, "good.npy"), npy(tmp_path, "short.npy", 2), tmp_path / "broken.gif"]
    *_, (done, brought) = read_brought([str(path) for path in paths], DATA)
    assert done == 3
    assert [name for name, _ in brought.clips] == ["good.npy"]
    assert brought.usable == [paths[0]]
    assert {name for name, _ in brought.skipped} == {"short.npy", "broken.gif"}


def test_clips_are_looked_at_as_far_apart_as_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "film.npy", np.arange(12, dtype=np.uint8)[:, None, None] * np.ones((12, 16, 16), np.uint8))
    *_, (_, brought) = read_brought([str(tmp_path / "film.npy")], brought_data(32, 1, 4, 3))
    assert [int(frame[0, 0, 0]) for frame in brought.clips[0][1]] == [0, 3, 6, 9]
    chosen = dataclasses.replace(CHOSEN, source=keep(brought.usable * 3, "film"), frames=4, step=3)
    assert [int(frame[0, 0, 0]) for frame in clips_of(opened(chosen.data), chosen)[0].frames] == [0, 3, 6, 9]


def test_a_run_takes_over_what_is_shown() -> None:
    settings = dataclasses.replace(CHOSEN, size=64, channels=3, frames=12, given=20, step=2).settings
    assert Config().replace(settings).data == DataConfig(size=64, channels=3, clip_frames=12, context_frames=11, frame_step=2)
    with pytest.raises(ValueError, match="choose 2 to 64 frames"):
        _ = dataclasses.replace(CHOSEN, frames=99).settings


def test_kept_clips_are_offered_and_never_overwritten(tmp_path: Path) -> None:
    choice = keep([npy(tmp_path, "my clip ü.npy")], "traffic")
    assert choice in [value for _, value in sources.choices()]
    kept = sources.own_folder() / "traffic"
    assert [path.name for path in kept.iterdir()] == ["000-my-clip.npy"]
    assert keep([tmp_path / "my clip ü.npy"], "traffic") == choice, "asked twice, as by a double click, it is kept once"
    for others in (["other.npy"], ["my clip ü.npy", "other.npy"]):
        with pytest.raises(ValueError, match="nothing is overwritten"):
            keep([npy(tmp_path, name) for name in others], "traffic")
    with pytest.raises(ValueError, match="nothing is overwritten"):
        keep([npy(tmp_path, "my clip ü.npy", frames=9)], "traffic")
    assert [path.name for path in kept.iterdir()] == ["000-my-clip.npy"]


def test_boxes_for_clips_offer_what_can_be_read() -> None:
    assert set(own_clips.CLIP_FILES) == {*CLIP_SUFFIXES, ".zip"}


def test_a_zip_that_is_kept_can_be_trained_on(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "my clips.zip", "w") as file:
        for number in range(4):
            file.write(npy(tmp_path, f"{number}.npy"), f"{number}.npy")
    *_, (_, brought) = read_brought([str(tmp_path / "my clips.zip")], DATA)
    source = opened(dataclasses.replace(DATA, source=str(sources.own_folder() / keep(brought.usable, "zipped").removeprefix("own/"))))
    assert source.training_clip(0, 0, 0, 6).shape == (6, 1, 16, 16)


@pytest.mark.parametrize("name", ["..", "../up", "a/b", ".hidden", "x" * 300, "nul\0"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is not usable"):
        keep([npy(tmp_path, "clip.npy")], name)


def test_a_full_disk_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_clips.shutil, "disk_usage", lambda _: SimpleNamespace(free=own_clips.SPARE_BYTES))
    with pytest.raises(ValueError, match="stay free"):
        keep([npy(tmp_path, "clip.npy")], "traffic")
    assert list(sources.own_folder().iterdir()) == []


def test_a_name_of_several_words_has_dashes_between_them(tmp_path: Path) -> None:
    assert keep([npy(tmp_path, "clip.npy")], " my  own balls ") == "own/my-own-balls"


def test_kept_names_are_ours() -> None:
    assert kept_name(3, Path("../../etc/pass wd.MP4")) == "003-pass-wd.mp4"
    assert kept_name(0, Path("...")) == "000-clip"


def test_of_a_file_with_many_clips_it_is_said_that_not_all_were_looked_at(tmp_path: Path) -> None:
    np.save(tmp_path / "many.npy", np.zeros((SHOWN + 1, 4, 32, 32, 1), np.uint8))
    np.save(tmp_path / "few.npy", np.zeros((SHOWN - 1, 4, 32, 32, 1), np.uint8))
    *_, (_, brought) = read_brought([str(tmp_path / name) for name in ("many.npy", "few.npy")], brought_data(32, 1, 4))
    assert brought.partly == ["many.npy"]
    assert len(brought.usable) == 2


def test_what_cannot_be_kept_says_what_is_missing_first(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no usable clip to keep"):
        keep([], "")
    with pytest.raises(ValueError, match="have no name yet: give them one"):
        keep([tmp_path / "a.npy"], " ")


def test_coming_back_to_the_tab_takes_nothing_back_that_waits_and_a_change_of_the_recipe_shows_all_that_waits() -> None:
    page: Any = SimpleNamespace(session_hash="page")
    claims = {kind: data_tab.claiming(kind) for kind in (OPEN, SHOW, CHANGE)}

    def begun(*kinds: str) -> tuple[str, tuple[Any, ...]]:
        WISHES.newest.clear()
        for number, kind in enumerate(kinds):
            claims[kind](page, number)
        wish = WISHES.begin("page", OPEN, SHOW, CHANGE)
        assert wish is not None
        return wish.kind, wish.values

    assert begun(OPEN) == (OPEN, (0,))
    assert begun(SHOW, OPEN) == (SHOW, (1,))
    assert begun(OPEN, CHANGE) == (SHOW, (1,))
    assert begun(CHANGE, OPEN) == (SHOW, (1,))
    assert begun(CHANGE, SHOW) == (SHOW, (1,))


def test_reading_clips_of_ones_own_ends_where_they_are_to_be_read_in_another_way(tmp_path: Path) -> None:
    page: Any = SimpleNamespace(session_hash="page")
    for name in ("a", "b", "c"):
        np.save(tmp_path / f"{name}.npy", np.zeros((8, 32, 32), np.uint8))
    with gr.Blocks():
        tab = build(readonly=True)
    asked = [str(path) for path in sorted(tmp_path.glob("*.npy"))], 32, 1, 4, 1
    assert list(tab.look(page, *asked)) == [], "nobody asked for it"
    data_tab.claim_look(page, *asked)
    reading = tab.look(page, *asked)
    assert "Reading 1 of 3" in next(reading)[tab.own.message]
    other = (asked[0], 64, *asked[2:])
    data_tab.claim_look(page, *other)
    assert list(reading) == []
    assert list(tab.look(page, *asked)) == [], "one that waited meanwhile"
    *_, last = tab.look(page, *other)
    assert "3 files of 3 can be used" in last[tab.own.message]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("draw", -1, "training step is -1"),
        ("draw", 2.5, "2.5: give a whole number"),
        ("step", 16, "frame step is 16"),
        ("frames", None, "clip length is empty"),
    ],
)
def test_a_number_that_cannot_be_is_said_and_never_cut(name: str, value: float | None, said: str) -> None:
    values = {**dataclasses.asdict(CHOSEN), name: value}
    with pytest.raises(ValueError, match=said):
        data_view.chosen_from(*values.values())


def test_names_of_skipped_files_are_escaped() -> None:
    text = skipped_html([("<script>", "<b>why</b>")])
    assert "<script>" not in text
    assert "<ul tabindex='0' aria-label='skipped'>" in text, "a list that scrolls is scrolled by the keyboard too"


def test_a_skipped_file_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "broken.gif").write_bytes(b"no gif at all")
    (tmp_path / "broken.mp4").write_bytes(b"no film at all")
    *_, (_, brought) = read_brought([str(path) for path in sorted(tmp_path.iterdir())], brought_data(32, 1, 4))
    text = skipped_html([*brought.skipped, ("short.npy", "it has 3 of 4 frames")])
    assert [text.count(name) for name in ("broken.gif", "broken.mp4", "short.npy")] == [1, 1, 1]
    assert "<b>broken.gif</b> is damaged" in text
    assert "<b>short.npy</b>: it has 3" in text
