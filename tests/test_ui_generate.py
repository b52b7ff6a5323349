"""The Generate tab without a browser: drawings, links, grids of futures, and going on from a generation."""

import dataclasses
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from drawings import text_of
from hypothesis import given
from hypothesis import strategies as st
from tiny_checkpoint import tiny_config, write_tiny_checkpoint

from vidapp.checkpoint import Checkpoint
from vidapp.config import Config
from vidapp.data.moving_mnist import MovingMnist
from vidapp.data.source import open_source
from vidapp.preflight import sampling_memory
from vidapp.runs import RunWriter
from vidapp.ui import generate, generation, links, making, opening, session, variants, variants_panel
from vidapp.ui.choices import FIRST, SLIDERS, Chosen, carried_on
from vidapp.ui.downloads import download_files
from vidapp.ui.drawing import DrawnDigit, digits_of, drawn_clip
from vidapp.ui.generation import TEST, UPLOAD
from vidapp.ui.kept import GENERATIONS
from vidapp.ui.making import GENERATE, MORE, MORE_FRAMES, PREVIEW, WISHES, Job, claim_again, claim_fit, claim_fresh, claim_more, claiming
from vidapp.ui.wishes import Wish

PAGE = SimpleNamespace(session_hash="page", query_params={})


def digit(**changes: Any) -> DrawnDigit:
    pixels = np.zeros((28, 28), np.uint8)
    pixels[8:20, 12:16] = 255
    return dataclasses.replace(DrawnDigit(pixels, (0.25, 0.5), (0.05, -0.1)), **changes)


def small(**changes: Any) -> Chosen:
    return dataclasses.replace(FIRST, given=4, frames=3, steps=2, **changes)


@pytest.fixture
def tab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> generate.GenerateTab:
    """A tab of a page whose bundled checkpoint is a tiny one."""
    import gradio as gr

    monkeypatch.setattr(session, "BUNDLED", write_tiny_checkpoint(tmp_path / "tiny.safetensors"))
    WISHES.newest.clear()
    with gr.Blocks():
        return generate.build()


def test_of_clips_that_cannot_be_had_there_is_nothing_to_see_and_no_end_to_the_numbers(tab: generate.GenerateTab, tmp_path: Path) -> None:
    config = tiny_config(data__source=str(tmp_path / "gone"))
    dropped = write_tiny_checkpoint(tmp_path / "gone.safetensors", config)
    _, examples = tab.describe(session.DROPPED_CHOICE, str(dropped))
    assert examples[tab.stage.thumbs] == {"pictures": [], "clips": generation.TEST_CLIPS}


def test_a_dropped_file_that_names_a_path_as_its_data_is_not_followed() -> None:
    for source in ("moving-mnist/../clips", "moving-mnist-own", "/etc"):
        with pytest.raises(ValueError, match="clips that are not here"):
            generation.source_of(tiny_config(data__source=source), trusted=False)
    assert generation.source_of(tiny_config(data__source="moving-mnist-full"), trusted=False).source == "moving-mnist"


def values_of(chosen: Chosen) -> tuple[Any, ...]:
    return tuple(getattr(chosen, field.name) for field in dataclasses.fields(Chosen))


def grid_of(checkpoint: Checkpoint, chosen: Chosen, asked: list[variants.Variant]) -> variants.Grid:
    *_, grid = variants.futures_of(checkpoint, chosen, asked)
    assert isinstance(grid, variants.Grid)
    return grid


def made_by(tab: generate.GenerateTab, *updates: Any) -> str:
    """The key of the generation that the newest wish leads to."""
    return list(tab.stage.work(PAGE))[-1][tab.made]  # type: ignore[arg-type]


class TestDrawing:
    @given(
        st.tuples(st.floats(0, 1), st.floats(0, 1)),
        st.tuples(st.floats(-0.25, 0.25), st.floats(-0.25, 0.25)),
        st.integers(0, 15),
    )
    def test_a_drawing_survives_its_text(self, place: tuple[float, float], motion: tuple[float, float], level: int) -> None:
        pixels = digit().pixels.copy()
        pixels[0, 0] = level * 17
        (found,) = digits_of(text_of([DrawnDigit(pixels, place, motion)]))
        np.testing.assert_array_equal(found.pixels, pixels)
        np.testing.assert_allclose([*found.place, *found.motion], [*place, *motion], atol=1e-4)

    def test_it_moves_as_moving_mnist_does(self) -> None:
        clip = drawn_clip(text_of([digit(place=(0.0, 0.5), motion=(0.1, 0.0))]), Config().data, 10, 11)
        assert clip.truth_u8 is not None
        frames = np.concatenate([clip.given_u8, clip.truth_u8])
        tops = [int(np.flatnonzero(frame[0].any(axis=1))[0]) for frame in frames]
        assert tops[0] == 8
        assert tops[10] == 8 + 36  # ten steps of a tenth of the way
        assert tops[20] == 8  # and back again

    @pytest.mark.parametrize(("text", "said"), [
        ("", "nothing was drawn"),
        (None, "nothing was drawn"),
        ("x", "cannot be read"),
        ("0:0:0:0:AAAA", "cannot be read"),
        ("0:0:0:nan:" + "AAAA" * 130 + "AA==", "cannot be read"),
        ("0:0:0:0:" + "A" * 520 + "AAA=", "nothing was drawn"),
        (text_of([digit()] * 3), "at most 2"),
        (text_of([digit(place=(0.0, 1.5))]), "outside the frame"),
        (text_of([digit(motion=(0.0, 3.0))]), "at most 0.25"),
    ])  # fmt: skip
    def test_what_is_no_drawing_is_refused(self, text: str | None, said: str) -> None:
        with pytest.raises(ValueError, match=said):
            digits_of(text)

    def test_frames_without_room_are_refused(self) -> None:
        with pytest.raises(ValueError, match="no room to move"):
            drawn_clip(text_of([digit()]), dataclasses.replace(Config().data, source="clips/", size=16), 2, 2)


class TestLinks:
    def test_a_link_names_what_decides_the_frames(self) -> None:
        query = {
            "tab": "generate",
            "checkpoint": "bundled",
            "clip": "3",
            "seed": "1",
            "temperature": "0.5",
            "choice": "expected",
            "anneal": "0",
            "__theme": "dark",
        }
        named = {"checkpoint": "bundled", "number": 3, "seed": 1, "temperature": 0.5, "choice": "expected", "anneal": False}
        assert links.generation_of(query) == named

    def test_another_tabs_link_names_no_generation(self) -> None:
        assert links.generation_of({"tab": "train", "run": "first"}) == {}

    @pytest.mark.parametrize(
        "query",
        [
            {"clip": "x"},
            {"seed": "1e9"},
            {"temperature": "hot"},
            {"anneal": "yes"},
            {"draw": "A" * 99_999},
            {"seed": "9" * 400},
            {"choice": "foo"},
            {"order": "last"},
        ],
    )
    def test_nonsense_is_refused_by_name(self, query: dict[str, str]) -> None:
        with pytest.raises(ValueError, match=next(iter(query))):
            links.generation_of(query)

    def test_the_page_is_opened_with_what_its_link_names(self, tab: generate.GenerateTab) -> None:
        request = SimpleNamespace(session_hash="page", query_params={"clip": "3", "frames": "2", "given": "4"})
        updates = tab.stage.arrive(request, *values_of(FIRST))  # type: ignore[arg-type]
        assert (updates[tab.controls.number], updates[tab.controls.frames]) == (3, 2)
        generation = GENERATIONS.get(made_by(tab))
        assert generation is not None
        assert generation.chosen == dataclasses.replace(FIRST, number=3, frames=2, given=4)

    @pytest.mark.parametrize(
        ("query", "frames"),
        [({"checkpoint": "run:mine:7"}, 6), ({"checkpoint": "run:mine:7", "given": "3"}, 3), ({"checkpoint": "run:gone:7"}, FIRST.given)],
    )
    def test_a_link_that_names_a_checkpoint_alone_means_frames_as_many_as_that_was_trained_with(
        self, tab: generate.GenerateTab, query: dict[str, str], frames: int
    ) -> None:
        with RunWriter.create("mine", tiny_config()) as run:
            write_tiny_checkpoint(run.checkpoint_path(7), tiny_config())
        updates = tab.stage.arrive(SimpleNamespace(session_hash="page", query_params=query), *values_of(FIRST))  # type: ignore[arg-type]
        assert updates[tab.controls.given] == frames

    def test_the_link_of_a_generation_names_its_own_settings_as_soon_as_its_frames_appear(self, tab: generate.GenerateTab) -> None:
        WISHES.claim("page", GENERATE, values_of(small(seed=8, upload="/tmp/theirs.npy")))
        recipes = [json.loads(update[tab.stage.recipe]) for update in tab.stage.work(PAGE) if tab.stage.recipe in update]  # type: ignore[arg-type]
        (named,) = recipes
        assert (named["seed"], named["frames"], named["source"]) == (8, 3, "test")
        assert "theirs" not in str(named)

    def test_a_clip_that_nothing_was_generated_of_has_none(self, tab: generate.GenerateTab) -> None:
        assert json.loads(tab.stage.recipe.value)["seed"] == FIRST.seed
        WISHES.claim("page", PREVIEW, values_of(small(number=4)))
        assert tab.stage.preview(PAGE)[tab.stage.recipe] == ""  # type: ignore[arg-type]

    def test_a_link_never_reaches_a_file(self, tab: generate.GenerateTab) -> None:
        request = SimpleNamespace(session_hash="page", query_params={"checkpoint": "dropped", "dropped": "/etc/passwd"})
        tab.stage.arrive(request, *values_of(FIRST))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="no checkpoint file was dropped"):
            list(tab.stage.work(PAGE))  # type: ignore[arg-type]


class TestGoingOn:
    def test_ten_more_frames_are_those_that_had_been_made_at_once(self, tab: generate.GenerateTab) -> None:
        WISHES.claim("page", GENERATE, values_of(small()))
        first = made_by(tab)
        WISHES.claim("page", MORE, (first,))
        longer = GENERATIONS.get(made_by(tab))
        WISHES.claim("page", GENERATE, values_of(dataclasses.replace(small(), frames=13)))
        at_once = GENERATIONS.get(made_by(tab))
        assert longer is not None
        assert at_once is not None
        np.testing.assert_array_equal(longer.prediction_u8, at_once.prediction_u8)
        assert longer.replay is not None
        assert at_once.replay is not None
        np.testing.assert_array_equal(longer.replay.tokens_THW, at_once.replay.tokens_THW)
        assert len(longer.replay.steps) == len(at_once.replay.steps)

    def test_there_is_an_end(self, tab: generate.GenerateTab) -> None:
        with pytest.raises(ValueError, match="press Generate first"):
            Job.of(Wish(1, MORE, ("nobody",)))

    def test_a_newer_wish_ends_a_generation(self, tab: generate.GenerateTab) -> None:
        WISHES.claim("page", GENERATE, values_of(small()))
        work = tab.stage.work(PAGE)  # type: ignore[arg-type]
        next(work)
        WISHES.claim("page", GENERATE, values_of(small(seed=5)))
        assert not any(update.get(tab.made) for update in work)
        generation = GENERATIONS.get(made_by(tab))
        assert generation is not None
        assert generation.chosen == small(seed=5)

    def test_a_clip_that_is_chosen_while_a_checkpoint_loads_is_what_stays_on_the_screen(self, tab: generate.GenerateTab) -> None:
        """Neither the clip of before nor its error may come after what was wished for since."""
        for impossible in ("no file was uploaded", None):
            source = UPLOAD if impossible else TEST
            WISHES.claim("page", GENERATE, values_of(small(source=source)))
            work = tab.stage.work(PAGE)  # type: ignore[arg-type]
            assert "Loading" in next(work)[tab.message]
            WISHES.claim("page", PREVIEW, values_of(small(number=7)))
            assert tab.stage.preview(PAGE)[tab.screen]  # type: ignore[arg-type]
            assert list(work) == []

    def test_which_clip_of_an_upload_it_is_is_said_beside_its_frames_and_beside_its_future(
        self, tab: generate.GenerateTab, tmp_path: Path
    ) -> None:
        np.save(tmp_path / "two.npy", np.zeros((2, 9, 32, 32, 1), np.uint8))
        chosen = values_of(small(source=UPLOAD, upload=str(tmp_path / "two.npy")))
        WISHES.claim("page", PREVIEW, chosen)
        said = "This is two.npy[0], the first clip in two.npy."
        assert said in tab.stage.preview(PAGE)[tab.message]  # type: ignore[arg-type]
        WISHES.claim("page", GENERATE, chosen)
        assert said in list(tab.stage.work(PAGE))[-1][tab.stage.result]  # type: ignore[arg-type]

    def test_a_preview_that_takes_long_does_not_land_on_the_next_one(
        self, tab: generate.GenerateTab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shown = making.Stage.shown

        def slow(stage: making.Stage, *rest: Any) -> Any:
            monkeypatch.undo()
            WISHES.claim("page", PREVIEW, values_of(small(number=7)))
            return shown(stage, *rest)

        monkeypatch.setattr(making.Stage, "shown", slow)
        WISHES.claim("page", PREVIEW, values_of(small(number=3)))
        assert tab.stage.preview(PAGE) == {}  # type: ignore[arg-type]
        assert tab.stage.preview(PAGE)[tab.screen]  # type: ignore[arg-type]

    def test_files_of_what_is_no_longer_shown_are_not_offered(self, tab: generate.GenerateTab, monkeypatch: pytest.MonkeyPatch) -> None:
        WISHES.claim("page", GENERATE, values_of(small()))
        made = made_by(tab)
        assert len(next(tab.stage.write_files(PAGE, made))) == 3  # type: ignore[arg-type]

        def slow(*given: Any, **named: Any) -> Any:
            WISHES.claim("page", PREVIEW, values_of(small(number=7)))
            return download_files(*given, **named)

        monkeypatch.setattr(making, "download_files", slow)
        assert list(tab.stage.write_files(PAGE, made)) == []  # type: ignore[arg-type]


class TestClips:
    def test_one_clip_is_made_and_kept_and_no_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[tuple[int, int]] = []

        class Counting(MovingMnist):
            def fixed_clips(self, split: str, count: int, frames: int, first: int = 0) -> np.ndarray:
                asked.append((first, count))
                return super().fixed_clips(split, count, frames, first)

        monkeypatch.setattr("vidapp.data.source.MovingMnist", Counting)
        generation.numbered_clip.cache_clear()
        clip = generation.numbered_clip(Config().data, 150, 3)
        assert asked == [(150, 1)]
        assert clip.base is None or clip.base.nbytes == clip.nbytes
        assert np.array_equal(clip, MovingMnist(Config().data).fixed_clips("test", 151, 3)[150])
        generation.numbered_clip.cache_clear()

    def test_a_clip_that_is_not_there_is_named_with_how_many_there_are(self, tmp_path: Path) -> None:
        np.save(tmp_path / "clips.npy", np.random.default_rng(0).integers(0, 255, (9, 6, 32, 32), dtype=np.uint8))
        data = tiny_config(data__source=str(tmp_path / "clips.npy"), data__clip_frames=4, data__context_frames=2).data
        known = len(open_source(data).fixed_clips("test", 100, 4))
        assert len(generation.data_clip(data, known - 1, 2, 2).given_u8) == 2
        with pytest.raises(ValueError, match=f"no test clip {known}: .* has {known}, counted from 0"):
            generation.data_clip(data, known, 2, 2)

    def test_a_file_that_says_how_large_frames_are_takes_no_more_than_a_page_shows(self) -> None:
        config = Config()
        data = dataclasses.replace(config.data, size=512, channels=3)
        for made in (
            lambda: generation.data_clip(data, 0, 64, 100),
            lambda: generation.uploaded_clip("clip.npy", dataclasses.replace(config, data=data), 64, 100),
            lambda: drawn_clip(text_of([digit()]), data, 64, 100),
        ):
            with pytest.raises(ValueError, match="164 frames of 512x512 pixels are more than a page shows: 64 at most"):
                made()
        assert opening.pictures(data, 3).shape == (opening.EXAMPLES, 3, 512, 512)


def test_a_checkpoint_of_huge_clips_makes_few_of_them_for_the_mean_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def clip(source: Any, seed: int, step: int, sample: int, frames: int) -> np.ndarray:
        made.append(frames)
        return np.zeros((frames, 1, 4, 4), np.uint8)

    monkeypatch.setattr(MovingMnist, "training_clip", clip)
    generation.mean_frame.cache_clear()
    generation.mean_frame(tiny_config(data__size=512, data__clip_frames=256, data__channels=3).data)
    assert made == [20] * 4
    made.clear()
    generation.mean_frame(Config().data)
    assert made == [20] * generation.MEAN_CLIPS
    generation.mean_frame.cache_clear()


class TestClaims:
    def test_a_released_slider_generates_again_only_with_other_values_and_after_a_generation(self, tab: generate.GenerateTab) -> None:
        claim_again(PAGE, "", *values_of(small()))  # type: ignore[arg-type]
        assert WISHES.of("page") is None
        WISHES.claim("page", GENERATE, values_of(small()))
        made = made_by(tab)
        claim_again(PAGE, made, *values_of(small()))  # type: ignore[arg-type]
        assert WISHES.begin("page", GENERATE) is None
        claim_again(PAGE, made, *values_of(small(temperature=0.1)))  # type: ignore[arg-type]
        assert WISHES.begin("page", GENERATE) is not None

    def test_a_box_that_is_left_as_it_was_leaves_the_generation_alone(self, tab: generate.GenerateTab) -> None:
        claiming(GENERATE)(PAGE, *values_of(small()))
        made_by(tab)
        claiming(PREVIEW)(PAGE, *values_of(small()))
        assert WISHES.begin("page", PREVIEW) is None
        claiming(PREVIEW)(PAGE, *values_of(dataclasses.replace(small(), frames=5)))
        assert WISHES.begin("page", PREVIEW) is not None

    def test_one_after_what_the_page_opens_with_waits_for_nothing(self, tab: generate.GenerateTab) -> None:
        def late() -> None:
            raise AssertionError("its replay was asked for, which imports torch")

        GENERATIONS.offer(opening.KEY, late)
        claim_again(PAGE, opening.KEY, *values_of(dataclasses.replace(FIRST, temperature=0.1)))  # type: ignore[arg-type]
        GENERATIONS.offer(opening.KEY, opening.generation)
        assert WISHES.begin("page", GENERATE) is not None

    def test_more_frames_asked_for_while_some_are_made_do_not_end_them(self, tab: generate.GenerateTab) -> None:
        assert "press Generate first" in claim_more(PAGE, "")[0]
        WISHES.claim("page", GENERATE, values_of(small()))
        making = tab.stage.work(PAGE)
        next(making)
        assert "as soon as these frames are done" in claim_more(PAGE, "")[1], "where no frame that is made clears it"
        *_, done = making
        made = done[tab.stage.made]
        claim_more(PAGE, made)
        more = tab.stage.work(PAGE)
        next(more)
        claim_more(PAGE, made)
        *_, done = more
        assert len(GENERATIONS.get(done[tab.stage.made]).prediction_u8) == small().frames + MORE_FRAMES  # type: ignore[union-attr]

    def test_a_setting_that_cannot_be_does_not_end_what_is_made(self, tab: generate.GenerateTab) -> None:
        WISHES.claim("page", GENERATE, values_of(small()))
        begun = WISHES.begin("page", GENERATE)
        assert begun is not None
        assert "eed is empty" in claim_again(PAGE, "", *values_of(dataclasses.replace(small(), seed=None)))[0]
        assert WISHES.holds("page", begun.number)

    def test_a_checkpoint_that_comes_with_a_link_does_not_drive_its_generation_out(self) -> None:
        WISHES.claim("page", GENERATE, values_of(small(checkpoint="run:a:1")))
        claim_fit(PAGE, *values_of(small(checkpoint="run:a:1")))  # type: ignore[arg-type]
        assert WISHES.begin("page", GENERATE) is not None
        claim_fit(PAGE, *values_of(small(checkpoint="run:b:1")))  # type: ignore[arg-type]
        assert WISHES.begin("page", GENERATE) is None


class TestBeyondASlider:
    @given(st.sampled_from(list(SLIDERS)), st.one_of(st.none(), st.integers(-(10**6), 10**6)))
    def test_what_is_typed_becomes_the_end_of_the_slider_and_is_said(self, name: str, typed: int | None) -> None:
        kept, said = carried_on(values_of(dataclasses.replace(small(), **{name: typed})))
        low, high = SLIDERS[name]
        value = getattr(Chosen(*kept), name)
        assert low <= value <= high
        assert bool(said) == (value != typed)
        assert kept == values_of(dataclasses.replace(small(), **{name: value}))

    def test_the_clip_stays_and_one_sentence_says_so(self, tab: generate.GenerateTab) -> None:
        WISHES.claim("page", PREVIEW, values_of(dataclasses.replace(small(), frames=9999)))
        shown = tab.stage.preview(PAGE)  # type: ignore[arg-type]
        assert "Future frames 9999 became 100." in shown[tab.stage.message]
        assert shown[tab.stage.screen] is not None

    def test_a_generation_that_follows_says_it_too(self, tab: generate.GenerateTab) -> None:
        WISHES.claim("page", PREVIEW, values_of(small(top_k=-4)))
        claiming(GENERATE)(PAGE, *values_of(small(top_k=0)))
        result = list(tab.stage.work(PAGE))[-1]  # type: ignore[arg-type]
        assert "Top-k -4 became 0." in result[tab.stage.result]

    def test_it_is_said_where_nothing_is_generated(self, tab: generate.GenerateTab) -> None:
        assert "Temperature 99 became 2." in claim_again(PAGE, "", *values_of(small(temperature=99)))[0]
        assert WISHES.of("page") is None


class TestNewClip:
    @pytest.mark.parametrize(("source", "said"), [("upload", "upload another clip"), ("drawn", "draw another")])
    def test_a_clip_of_ones_own_stays(self, tab: generate.GenerateTab, source: str, said: str) -> None:
        assert said in claim_fresh(PAGE, *values_of(small(source=source)))  # type: ignore[arg-type]
        assert WISHES.of("page") is None

    def test_a_test_clip_is_generated(self, tab: generate.GenerateTab) -> None:
        claim_fresh(PAGE, *values_of(small(number=4)))  # type: ignore[arg-type]
        wish = WISHES.begin("page", GENERATE)
        assert wish is not None
        assert wish.values == values_of(small(number=4))


def checked(tab: generate.GenerateTab, path: Path) -> Iterator[Any]:
    generate.claim_dropped(PAGE, str(path))
    return tab.take_dropped(PAGE, str(path))


class TestDropped:
    def test_one_that_was_taken_out_or_exchanged_while_it_was_checked_changes_nothing(
        self, tab: generate.GenerateTab, tmp_path: Path
    ) -> None:
        for path in (write_tiny_checkpoint(tmp_path / "good.safetensors"), tmp_path / "model.pt"):
            for after in (None, str(tmp_path / "other.safetensors")):
                checking = checked(tab, path)
                next(checking)
                generate.claim_dropped(PAGE, after)
                assert list(checking) == []
        assert list(tab.take_dropped(PAGE, str(path))) == [], "one that waited meanwhile"

    @pytest.mark.parametrize("ending", ["pt", "pth", "ckpt", "bin"])
    def test_a_pickle_is_refused_in_place_of_what_was_said_before(self, tab: generate.GenerateTab, tmp_path: Path, ending: str) -> None:
        checking, refused = checked(tab, tmp_path / f"model.{ending}")
        assert f"Checking model.{ending}" in checking[tab.message]
        assert f"model.{ending} is a pickle, which is never opened: save the weights as .safetensors" in refused[tab.message]
        assert refused[tab.controls.dropped] is None

    def test_weights_that_are_not_finite_are_refused_at_the_drop(self, tab: generate.GenerateTab, tmp_path: Path) -> None:
        path = write_tiny_checkpoint(tmp_path / "nan.safetensors")
        raw = bytearray(path.read_bytes())
        length = struct.unpack("<Q", raw[:8])[0]
        header = json.loads(raw[8 : 8 + length])
        name, entry = next((name, entry) for name, entry in header.items() if entry.get("dtype") == "F16")
        place = 8 + length + entry["data_offsets"][0]
        raw[place : place + 2] = np.array([np.nan], np.float16).tobytes()
        path.write_bytes(raw)
        *_, refused = checked(tab, path)
        assert f"weight {name} is not finite" in refused[tab.message]

    def test_a_good_one_is_chosen(self, tab: generate.GenerateTab, tmp_path: Path) -> None:
        *_, taken = checked(tab, write_tiny_checkpoint(tmp_path / "good.safetensors"))
        assert taken[tab.controls.checkpoint].value == session.DROPPED_CHOICE


def test_only_test_clips_are_said_to_be_of_unseen_digits(tab: generate.GenerateTab) -> None:
    assert "no training has seen" not in tab.controls.source.info
    assert "no training has seen" in tab.controls.number.info
    assert tab.show_source("upload")[tab.controls.number].visible is False


class TestVariants:
    def test_each_film_is_what_its_settings_give_alone(self, tmp_path: Path) -> None:
        checkpoint = session.CheckpointCache().load(write_tiny_checkpoint(tmp_path / "tiny.safetensors"))
        asked = [variants.Variant("hot", {"temperature": 2.0, "top_k": 0}), variants.Variant("other", {"seed": 4})]
        grid = grid_of(checkpoint, small(), asked)
        assert grid.frames_u8.shape == (2, 3, 1, 32, 32)
        alone = grid_of(checkpoint, small(seed=4), [variants.Variant("", {})])
        np.testing.assert_array_equal(grid.frames_u8[1], alone.frames_u8[0])
        assert "<script" not in variants.seeds_html(grid)

    def test_every_film_of_a_grid_can_be_pressed(self) -> None:
        for variant in (*variants.sheet(), *variants.seeds(0, 4)):
            assert variants.picked(variant.changes) == variant.changes

    def test_all_are_drawn_where_what_is_expected_was_chosen(self, tmp_path: Path) -> None:
        checkpoint = session.CheckpointCache().load(write_tiny_checkpoint(tmp_path / "tiny.safetensors"))
        grids = [grid_of(checkpoint, small(choice=choice), variants.seeds(0, 4)) for choice in ("drawn", "expected")]
        np.testing.assert_array_equal(grids[0].frames_u8[1:], grids[1].frames_u8[1:])
        assert (grids[0].same, grids[1].same) == ((0,), ())

    @pytest.mark.parametrize("causal", [True, False])
    def test_it_can_be_left_after_each_decode_step(self, tmp_path: Path, causal: bool) -> None:
        config = tiny_config(model__causal=causal, recipe__clean_past=causal)
        checkpoint = session.CheckpointCache().load(write_tiny_checkpoint(tmp_path / "tiny.safetensors", config))
        *shares, grid = variants.futures_of(checkpoint, small(), variants.seeds(0, 4))
        assert isinstance(grid, variants.Grid)
        assert len(shares) >= (3 * 2 if causal else 4 * 2)
        assert shares == sorted(shares)
        assert (shares[0] < 0.5, shares[-1]) == (True, 1)

    def test_it_ends_when_nobody_wants_it_any_more(self, tab: generate.GenerateTab, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(variants_panel, "TELL_S", 0)
        variants_panel.claiming(variants_panel.SEEDS)(PAGE, 4, *values_of(small()))
        work = tab.variants.work(PAGE)  # type: ignore[arg-type]
        said = [next(work)[tab.variants.message] for _ in range(2)]
        assert "Loading the checkpoint" in said[0]
        assert "Decoding 4 futures together: 17 % done." in said[1]
        tab.variants.forget(PAGE)  # type: ignore[arg-type]
        assert list(work) == []

    def test_a_press_says_at_once_that_it_waits(self, tab: generate.GenerateTab) -> None:
        assert "Waiting for its turn" in variants_panel.claiming(variants_panel.SHEET)(PAGE, 4, *values_of(small()))
        *_, last = tab.variants.work(PAGE)  # type: ignore[arg-type]
        assert last[tab.variants.message] == ""
        assert last[tab.variants.grid].count('class="sprite"') == 16

    def test_so_many_at_once_that_they_would_not_fit_into_memory_are_refused(
        self, tab: generate.GenerateTab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = session.read_header(session.BUNDLED).config
        free = (sampling_memory(config) + sampling_memory(config, 16)) // 2
        monkeypatch.setattr("vidapp.preflight.free_memory", lambda: free)
        variants_panel.claiming(variants_panel.SHEET)(PAGE, 4, *values_of(small()))
        with pytest.raises(ValueError, match="of memory for 16 futures at once"):
            list(tab.variants.work(PAGE))  # type: ignore[arg-type]

    def test_what_would_keep_everybody_waiting_is_refused_with_what_to_lower(self) -> None:
        long = dataclasses.replace(small(), frames=100)
        assert variants.length_of(dataclasses.replace(long, steps=8), 16) == 20
        with pytest.raises(ValueError, match=r"16 futures of 20 frames in 32 steps .* lower future frames to 5 or steps .* to 8$"):
            variants.length_of(dataclasses.replace(long, steps=32), 16)
        assert variants.length_of(dataclasses.replace(long, steps=14), 9) == 20
        with pytest.raises(ValueError, match=r"steps .* to 14$"):
            variants.length_of(dataclasses.replace(long, steps=15), 9)

    def test_futures_that_are_equal_do_not_disagree(self) -> None:
        frames = np.zeros((2, 3, 1, 8, 8), np.uint8)
        assert variants.disagreement(frames).max() == 0
        frames[1, 2] = 255
        assert variants.disagreement(frames)[2].min() == 0.5
        assert variants.fire(variants.disagreement(frames)).shape == (3, 3, 8, 8)

    @pytest.mark.parametrize(
        "data", [None, {}, {"temperature": "x"}, {"frames": 5}, {"seed": 1.5}, {"top_k": True}, {"choice": "expected"}]
    )
    def test_only_films_of_a_grid_can_be_pressed(self, data: Any) -> None:
        with pytest.raises(ValueError, match="make the grid again"):
            variants.picked(data)

    def test_only_the_numbers_offered_can_be_asked_for(self) -> None:
        with pytest.raises(ValueError, match="choose 4 or 9"):
            variants.seeds(0, 5000)


def test_the_tiny_checkpoint_of_these_tests_can_be_drawn_for() -> None:
    assert drawn_clip(text_of([digit()]), tiny_config().data, 4, 3).given_u8.shape == (4, 1, 32, 32)
