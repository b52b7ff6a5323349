"""The page without a browser: forms from fields, words for states, refusals, and what is not there when it is read-only."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_checkpoint import tiny_config, write_tiny_checkpoint

from vidapp.config import Config
from vidapp.failures import STRANGERS
from vidapp.metrics import to_unit
from vidapp.presets import PRESETS, preset
from vidapp.run_reader import RunStatus
from vidapp.run_trash import discard
from vidapp.runs import RunWriter, open_run
from vidapp.ui import form, generation, live, messages, session, sources, words
from vidapp.ui.app import Serving, build
from vidapp.ui.choices import Chosen, chosen_from
from vidapp.ui.downloads import side_by_side
from vidapp.ui.drafts import Draft
from vidapp.ui.generation import Clip, Errors, errors_of, verdict
from vidapp.ui.kept import Generation, Kept
from vidapp.ui.live import Watcher, state_words
from vidapp.ui.player import Reel
from vidapp.ui.wiring import text_of

STATE_CHANGING = {"train_start", "train_stop"}


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Toasts that would have been shown."""
    shown: list[str] = []
    monkeypatch.setattr(gr, "Warning", shown.append)
    return shown


def chosen(**changes: Any) -> Chosen:
    default = Chosen("bundled", None, "test", 0, None, None, 4, 3, 0.8, 5, 2, "drawn", "confidence", True, 0)
    return dataclasses.replace(default, **changes)


def errors(model: list[float], repeat: float = 100.0, empty: float = 80.0) -> Errors:
    return Errors(model, [repeat] * len(model), [empty] * len(model), [10.0] * len(model))


class TestForm:
    @pytest.mark.parametrize("name", PRESETS)
    def test_every_setting_has_a_control_that_gives_its_value_back(self, name: str) -> None:
        config, keys = preset(name), form.all_keys()
        with gr.Blocks():
            controls = [form.control(key, config) for key in keys]
        values = [control.value for control in controls]
        assert form.changed(Config(), keys, values) == config

    def test_controls_carry_the_fields_own_help(self) -> None:
        with gr.Blocks():
            control = form.control("recipe.batch_size", Config())
        assert control.label == "Batch size (clips)"
        assert control.info == "Clips in an optimiser step."

    def test_an_emptied_number_is_refused_by_name(self) -> None:
        with pytest.raises(ValueError, match=r"recipe.batch_size is empty"):
            form.changed(Config(), ["recipe.batch_size"], [None])

    def test_what_the_config_refuses_is_refused_in_its_words(self) -> None:
        with pytest.raises(ValueError, match=r"model.width 100 must be divisible by model.heads 3"):
            form.changed(Config(), ["model.width", "model.heads"], [100, 3])

    def test_first_order_settings_come_first(self) -> None:
        assert "recipe.learning_rate" in form.first_order_keys("recipe")
        assert "recipe.beta2" not in form.first_order_keys("recipe")


class TestMessages:
    def test_a_person_gets_one_sentence_and_nothing_else_changes(self, warnings: list[str]) -> None:
        with gr.Blocks():
            box, other = messages.message_box(), gr.Textbox()

        def handler(value: str) -> dict[Any, Any]:
            raise ValueError(f"the value {value} is odd")

        update = messages.guarded(box)(handler)("<b>")
        assert list(update) == [box]
        assert "The value &lt;b&gt; is odd" in update[box]
        assert warnings == ["The value &lt;b&gt; is odd"], "Gradio would draw it"
        assert other not in update

    def test_a_page_is_told_the_same_once_and_again_later(self) -> None:
        toasts = messages.Toasts(held=2)
        told = [toasts.repeats(page, "no", now) for page, now in (("a", 0.0), ("a", 1.0), ("b", 1.0), ("a", 3.9), ("a", 4.1))]
        assert told == [False, True, False, True, False]
        assert not toasts.repeats("a", "another", 4.1)
        assert len(toasts.told) == 2

    def test_success_clears_the_line(self) -> None:
        with gr.Blocks():
            box, other = messages.message_box(), gr.Textbox()
        assert messages.guarded(box)(lambda: {other: "x"})() == {box: "", other: "x"}

    def test_what_no_person_asked_for_clears_nothing(self) -> None:
        with gr.Blocks():
            box, other = messages.message_box(), gr.Textbox()
        assert messages.guarded(box, clears=False)(lambda: {other: "x"})() == {other: "x"}

    def test_a_generator_may_fail_half_way(self, warnings: list[str]) -> None:
        with gr.Blocks():
            box, other = messages.message_box(), gr.Textbox()

        def handler():  # type: ignore[no-untyped-def]
            yield {other: "first"}
            raise ValueError("no second")

        updates = list(messages.guarded(box)(handler)())
        assert updates[0][other] == "first"
        assert "No second" in updates[1][box]

    def test_a_bug_is_owned_up_to_without_a_traceback(self) -> None:
        assert "Traceback" not in messages.sentence(KeyError("x"))
        assert "should not have happened" in messages.sentence(KeyError("x"))

    @pytest.mark.parametrize(
        ("error", "shown"),
        [
            ("there is none", "There is none"),
            ("mine.safetensors is damaged", "mine.safetensors is damaged"),
            ("run.steps is 0", "run.steps is 0"),
        ],
    )
    def test_sentences_begin_with_a_capital_names_stay_as_they_are(self, error: str, shown: str) -> None:
        assert messages.sentence(ValueError(error)) == shown

    def test_the_api_answers_with_a_sentence(self) -> None:
        def endpoint() -> None:
            raise ValueError("there is no run")

        with pytest.raises(gr.Error, match="There is no run"):
            messages.api_guarded(endpoint)()


class TestWords:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(3, "a few seconds"), (42, "about 40 s"), (840, "about 14 min"), (7500, "about 2 h 5 min"), (float("nan"), "an unknown time")],
    )
    def test_durations(self, seconds: float, text: str) -> None:
        assert words.duration(seconds) == text

    @pytest.mark.parametrize(("value", "text"), [(3.14159, "3.14"), (1234.5, "1,234"), (0.0003, "3.0e-04"), (0, "0"), (12.34, "12.3")])
    def test_numbers(self, value: float, text: str) -> None:
        assert words.short(value) == text

    @pytest.mark.parametrize("state", ["starting", "running", "paused", "finished", "stopped", "interrupted", "failed"])
    def test_every_state_is_a_sentence(self, state: str) -> None:
        text = state_words(RunStatus(name="a", state=state, step=5, total=10, error="the disk is full"), 60.0)
        assert text[0].isupper()
        assert state not in ("failed",) or "the disk is full" in text


class TestVerdict:
    def test_a_good_one_names_what_it_is_better_than_and_how_far(self) -> None:
        found = verdict(errors([20.0, 50.0, 120.0]), 3)
        assert found.headline.startswith("Better than repeating the last given frame and an all black frame, on average over 3 frames.")
        assert "for the first 2 frames" in found.headline
        assert "first 20.0, last 120, mean 63.3" in found.figures
        assert found.tone == "good"

    def test_one_frame_is_the_first_frame(self) -> None:
        assert verdict(errors([20.0, 90.0, 90.0]), 3).headline.endswith("for the first frame.")

    def test_a_failure_is_called_one(self) -> None:
        found = verdict(errors([150.0, 160.0]), 2)
        assert found.headline.startswith("No better than an all black frame")
        assert found.tone == "bad"

    @pytest.mark.parametrize("model", [[79.0, 79.0], [76.1, 76.1]])
    def test_a_hair_better_is_no_success(self, model: list[float]) -> None:
        found = verdict(errors(model), 2)
        assert found.headline.startswith("Hardly better than an all black frame")
        assert found.tone == "info"

    def test_the_mean_training_frame_has_to_be_beaten_too(self) -> None:
        with_mean = dataclasses.replace(errors([60.0, 60.0]), mean=[50.0, 50.0])
        assert verdict(with_mean, 2).headline.startswith("No better than the mean training frame")
        assert "pixel_mean" in with_mean.rows

    @given(
        st.lists(st.floats(0, 500), min_size=1, max_size=12),
        st.floats(0, 500),
        st.floats(0, 500),
        st.none() | st.floats(0, 2),
        st.none() | st.floats(0, 2),
    )
    def test_headline_and_tone_agree(
        self, model: list[float], repeat: float, empty: float, edges: float | None, light: float | None
    ) -> None:
        found = verdict(dataclasses.replace(errors(model, repeat, empty), edges=edges, light=light), len(model))
        assert (found.tone == "good") == found.headline.startswith("Better than")
        assert (found.tone == "good") <= (sum(model) / len(model) <= 0.95 * min(repeat, empty) + 1e-6)
        assert found.tone != "info" or found.headline.startswith("Hardly better")

    @pytest.mark.parametrize(("model", "drawn", "unlike"), [(300.0, 200.0, True), (300.0, 20.0, False), (50.0, 200.0, False)])
    def test_frames_that_the_tokenizer_cannot_draw_are_the_first_thing_said_of_a_prediction_that_fails(
        self, model: float, drawn: float, unlike: bool
    ) -> None:
        found = verdict(dataclasses.replace(errors([model] * 2), tokenizer=[drawn] * 2), 2)
        assert found.headline.startswith(generation.UNLIKE) == unlike

    @pytest.mark.parametrize(("level", "said"), [(0.0, "all black frame: nothing was predicted"), (0.3, "This is a blur")])
    def test_a_prediction_that_shows_nothing_is_no_success_however_small_its_error(self, level: float, said: str) -> None:
        squares = np.zeros((4, 1, 32, 32), np.uint8)
        squares[:, :, 8:24, 8:24] = 255
        clip = Clip(np.roll(squares, 16, axis=3), squares, "squares")
        checkpoint = SimpleNamespace(config=tiny_config(), encode=lambda frames: frames, decode=to_unit)
        scores = errors_of(checkpoint, clip, np.full(squares.shape, level, np.float32))  # type: ignore[arg-type]
        found = verdict(scores, 4)
        assert said in found.headline
        assert found.tone == "bad"

    def test_an_unknown_future_has_no_error(self) -> None:
        assert "not known" in verdict(None, 5).figures
        assert verdict(None, 5).tone == "info"

    def test_a_truth_shorter_than_the_future_is_said(self) -> None:
        assert "Truth is known for 2 of 5 frames" in verdict(errors([10.0, 20.0]), 5).figures


class TestChoices:
    def test_an_emptied_number_is_refused(self) -> None:
        values = [getattr(chosen(), field.name) for field in dataclasses.fields(Chosen)]
        values[-1] = None
        with pytest.raises(ValueError, match="seed is empty"):
            chosen_from(*values)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"temperature": None}, "temperature is empty"),
            ({"frames": 101}, "future frames is 101: give 1 to 100"),
            ({"given": 0}, "given frames is 0: give 1 to 64"),
            ({"number": -1}, "clip number is -1"),
            ({"steps": "many"}, "steps is 'many': give a number"),
        ],
    )
    def test_a_number_that_no_slider_gives_is_refused_by_name(self, changes: dict[str, Any], said: str) -> None:
        values = [getattr(chosen(**changes), field.name) for field in dataclasses.fields(Chosen)]
        with pytest.raises(ValueError, match=said):
            chosen_from(*values)

    @pytest.mark.parametrize("seed", [-1, 2**31])
    def test_seeds_are_whole_numbers_in_range(self, seed: int) -> None:
        values = [getattr(chosen(seed=seed), field.name) for field in dataclasses.fields(Chosen)]
        with pytest.raises(ValueError, match="seed"):
            chosen_from(*values)

    def test_a_test_clip_continues_into_its_truth(self) -> None:
        longer = chosen(given=4, frames=5).clip(Config())
        shorter = chosen(given=2, frames=2).clip(Config())
        assert longer.given_u8.shape == (4, 1, 64, 64)
        assert longer.truth_u8 is not None
        np.testing.assert_array_equal(longer.given_u8[:2], shorter.given_u8)

    def test_an_uploaded_clip_gives_its_rest_as_truth(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.npy"
        np.save(path, np.zeros((6, 40, 40), np.uint8))
        clip = chosen(source="upload", upload=str(path)).clip(tiny_config())
        assert clip.given_u8.shape == (4, 1, 32, 32)
        assert clip.truth_u8 is not None
        assert len(clip.truth_u8) == 2

    def test_an_upload_shorter_than_the_given_frames_says_what_to_do(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.npy"
        np.save(path, np.zeros((2, 40, 40), np.uint8))
        with pytest.raises(ValueError, match=r"has 2 frames but 4 are to be given: lower Given frames"):
            chosen(source="upload", upload=str(path)).clip(tiny_config())

    def test_a_dropped_file_cannot_name_a_folder_to_read(self, tmp_path: Path) -> None:
        config = tiny_config(data__source=str(tmp_path))
        with pytest.raises(ValueError, match="upload a clip"):
            chosen(checkpoint=session.DROPPED_CHOICE).clip(config)


class TestSession:
    def test_an_empty_house_says_what_to_do(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(session, "BUNDLED", tmp_path / "none.safetensors")
        assert session.checkpoint_choices() == []
        assert session.first_choice() is None
        with pytest.raises(ValueError, match="no checkpoint yet"):
            session.find_checkpoint(None)

    @pytest.mark.parametrize("choice", ["run:../../etc:5", "run:nobody:5", "run:x", "run:x:-1", "/etc/passwd", "dropped"])
    def test_forged_choices_are_refused(self, choice: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            session.find_checkpoint(choice)

    def test_checkpoints_of_runs_are_offered_and_found(self) -> None:
        with RunWriter.create("first", tiny_config()) as run:
            write_tiny_checkpoint(run.checkpoint_path(7))
        assert ("first, step 7", "run:first:7") in session.checkpoint_choices()
        assert session.find_checkpoint("run:first:7").name == "step-00000007.safetensors"
        assert session.newest_of_run("first") == "run:first:7"
        with pytest.raises(ValueError, match="no longer has a checkpoint of step 3"):
            session.find_checkpoint("run:first:3")

    def test_a_checkpoint_that_is_chosen_stays_as_long_as_it_is_there_and_the_best_of_a_run_is_offered(self) -> None:
        with RunWriter.create("long", tiny_config()) as run:
            for step in (1, 2, 3, 4, 5, 6):
                write_tiny_checkpoint(run.checkpoint_path(step))
            run.status("running", 6, 6, best_step=2)
        names = [label for label, value in session.checkpoint_choices() if value.startswith("run:long:")]
        assert names == ["long, step 6", "long, step 5", "long, step 4", "long, step 2 (best)"]
        choices, value, said = session.offered("run:long:1")
        assert (choices[-1], value, said) == (("long, step 1", "run:long:1"), "run:long:1", "")
        run.checkpoint_path(1).unlink()
        assert session.offered("run:long:1")[1:] == (
            "run:long:6",
            "long, step 1 is gone: runs keep their newest checkpoints and the best. long, step 6 is chosen now.",
        )
        discard("long")
        assert session.offered("run:long:1")[1:] == (
            session.BUNDLED_CHOICE,
            "long, step 1 is gone: its run has none any more, or is gone itself. Moving MNIST (bundled) is chosen now.",
        )
        assert session.offered(session.DROPPED_CHOICE)[1:] == (session.BUNDLED_CHOICE, "")
        assert session.offered("run:../../etc:5")[1] == session.BUNDLED_CHOICE

    def test_few_checkpoints_stay_loaded_and_each_is_loaded_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import vidapp.checkpoint

        loaded: list[str] = []
        monkeypatch.setattr(vidapp.checkpoint, "load_checkpoint", lambda path, device: loaded.append(path.name) or path)
        monkeypatch.setattr(session, "refuse_too_large", lambda path: None)  # the files of this test are no checkpoints
        paths = [tmp_path / name for name in "abc"]
        for path in paths:
            path.write_bytes(b"x" * 10)
        cache = session.CheckpointCache(held=2)
        for path in (paths[0], paths[0], paths[1], paths[2], paths[0]):
            cache.load(path)
        assert loaded == ["a", "b", "c", "a"]
        small = session.CheckpointCache(held=5, held_bytes=15)
        small.load(paths[0])
        small.load(paths[1])
        assert len(small.kept) == 1

    def test_a_small_file_whose_sampling_would_take_more_memory_than_is_free_is_refused_before_it_takes_any(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("vidapp.preflight.free_memory", lambda: 100 << 20)
        fine = {"data.size": 256, "tokenizer.downsampling": 8, "model.positions": "relative"}  # a grid of 32 x 32: 1,024 tokens a frame
        path = write_tiny_checkpoint(tmp_path / "fine.safetensors", tiny_config().replace(fine))
        assert path.stat().st_size < 1 << 20
        said = r"fine.safetensors would take about 0\.\d GiB of memory for a future, and 0\.1 are free here"
        with pytest.raises(ValueError, match=said):
            session.check(path)
        with pytest.raises(ValueError, match=said):
            session.CheckpointCache().load(path)
        session.check(write_tiny_checkpoint(tmp_path / "tiny.safetensors"))

    def test_the_config_assumed_of_the_bundled_checkpoint_is_its_own(self) -> None:
        config = session.read_header(session.BUNDLED).config
        assert (config.data, config.sampling) == (session.BUNDLED_CONFIG.data, session.BUNDLED_CONFIG.sampling)


class TestGenerations:
    def test_only_so_many_are_kept_and_keys_cannot_be_guessed(self) -> None:
        frames = np.zeros((2, 1, 8, 8), np.uint8)
        kept = Kept(held=2)
        keys = [kept.put(Generation(Clip(frames, None, "x"), frames)) for _ in range(3)]
        assert [kept.get(key) is not None for key in keys] == [False, True, True]
        assert min(len(key) for key in keys) > 20
        assert kept.get("") is None

    def test_a_large_one_drives_the_others_out_but_stays(self) -> None:
        kept = Kept(held_bytes=1000)
        small, large = (np.zeros((count, 1, 8, 8), np.uint8) for count in (1, 20))
        first, second = (kept.put(Generation(Clip(frames, None, "x"), frames)) for frames in (small, large))
        assert kept.get(first) is None
        assert kept.get(second) is not None


class TestSources:
    def test_own_clips_are_resolved_inside_their_folder(self) -> None:
        folder = sources.own_folder()
        (folder / "walks").mkdir(parents=True)
        assert ("your clips: walks", "own/walks") in sources.choices()
        assert sources.resolved(Config().replace({"data.source": "own/walks"})).data.source == str(folder / "walks")

    @pytest.mark.parametrize("source", ["own/../../x", "/etc", "own/nothing"])
    def test_nothing_else_can_be_named(self, source: str) -> None:
        with pytest.raises(ValueError, match="not offered here"):
            sources.resolved(Config().replace({"data.source": source}))


class TestWatcher:
    @pytest.mark.parametrize("request_", [None, 5, [], {}, {"run": 7}, {"run": "../../etc"}, {"run": "x" * 9999}, {"run": ["a"]}])
    def test_it_answers_whatever_is_asked(self, request_: Any) -> None:
        answer = Watcher().answer(request_)
        assert answer["run"] == ""
        json.dumps(answer, allow_nan=False)

    def test_it_tells_how_a_run_stands(self) -> None:
        with RunWriter.create("mine", tiny_config()) as run:
            run.log({"step": 1, "phase": "transformer", "loss": 6.5, "grad_norm": 2.0})
            run.status("running", 1, 10, phase="transformer")
            answer = Watcher().answer({"run": "mine", "epoch": "x", "serial": None, "sample": 3})
        assert answer["state"] == "running"
        assert answer["progress"] == 0.1
        assert answer["curves"]["transformer/loss"] == [[1], [6.5]]
        assert ("Loss", "6.5") in [row[:2] for row in answer["figures"]]
        json.dumps(answer, allow_nan=False)

    def test_the_transformers_sample_comes_before_the_tokenizers(self) -> None:
        from PIL import Image

        with RunWriter.create("mine", tiny_config()) as run:
            Image.new("L", (8, 8)).save(run.sample_path(300, "tokenizer-strip.png"))
            Image.new("L", (8, 8)).save(run.sample_path(20, "transformer-strip.png"))
        first = Watcher().answer({"run": "mine"})["sample"]
        assert first["caption"].startswith("Sample at step 20")
        assert Watcher().answer({"run": "mine", "sample": f"mine/{first['name']}"})["sample"] is None

    def test_a_picture_that_is_none_is_not_shown(self, tmp_path: Path) -> None:
        (tmp_path / "x.png").write_bytes(b"no picture")
        assert live.picture_uri(tmp_path / "x.png") is None

    def test_notices_of_the_trainer_are_shown(self) -> None:
        with RunWriter.create("mine", tiny_config()) as run:
            run.notify("warm-up is shortened")
            run.status("running", 1, 10)
            assert Watcher().answer({"run": "mine"})["notices"] == ["warm-up is shortened"]


class TestPlayer:
    def test_frames_appear_as_they_are_made(self) -> None:
        clip = np.zeros((4, 1, 8, 8), np.uint8)
        reel = Reel(clip, clip, 4)
        reel.add(clip[:1])
        value = reel.value(making=True)
        assert [len(value[name]) for name in ("given", "truth", "prediction")] == [4, 4, 1]
        assert value["total"] == 4
        reel.add(clip)
        assert len(reel.value()["prediction"]) == 4
        assert len(value["prediction"]) == 1
        assert all(uri.startswith("data:image/png;base64,") for uri in value["given"])

    def test_downloads_show_truth_beside_prediction(self) -> None:
        frames = np.zeros((3, 1, 64, 64), np.uint8)
        assert side_by_side(Clip(frames, frames, "x"), frames).shape == (6, 3, 264, 528)
        assert side_by_side(Clip(frames, None, "x"), frames).shape == (6, 3, 264, 264)


class TestServing:
    def test_the_default_is_this_machine_alone(self) -> None:
        assert Serving.from_environment() == Serving(host="127.0.0.1", port=7860, auth=None, readonly=False)

    def test_a_space_is_open_and_read_only_unless_said_otherwise(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SPACE_ID", "somebody/space")
        assert Serving.from_environment() == Serving(host="0.0.0.0", readonly=True)
        monkeypatch.setenv("VIDAPP_READONLY", "0")
        assert not Serving.from_environment().readonly

    def test_a_password_may_hold_colons(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VIDAPP_AUTH", "me:a:b")
        assert Serving.from_environment().auth == ("me", "a:b")

    @pytest.mark.parametrize(("name", "value"), [("VIDAPP_PORT", "http"), ("VIDAPP_AUTH", "secret"), ("VIDAPP_READONLY", "maybe")])
    def test_nonsense_is_refused_by_name(self, name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(ValueError, match=name) as caught:
            Serving.from_environment()
        assert "secret" not in str(caught.value)


class TestPage:
    def test_its_endpoints_are_named(self) -> None:
        names = set(build().get_api_info()["named_endpoints"])
        assert names == {"/generate", "/tokenize", "/train_start", "/train_stop", "/train_status", "/runs"}

    def test_read_only_means_that_nothing_that_changes_state_is_there(self) -> None:
        page = build(readonly=True)
        names = {fn.name for fn in page.fns.values()}
        assert not names & {*STATE_CHANGING, "start", "pause_or_continue", "stop", "save"}
        assert not [block for block in page.blocks.values() if block.elem_id in ("start", "pause", "stop", "save")]
        assert {"generate", "tokenize", "runs", "train_status"} <= names

    def test_strangers_hear_of_no_folder_and_have_nothing_fetched(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("VIDAPP_DATA", str(tmp_path / "disk7"))
        clips = sources.own_folder() / "mine"
        clips.mkdir(parents=True)
        draft = Draft.of("debug", {"data.source": "own/mine"})
        assert "disk7" in sources.own_help() + sources.refusal("/etc") + draft.command()
        monkeypatch.setenv(STRANGERS, "1")
        with pytest.raises(ValueError, match="there is no run 'nobody'") as caught:
            open_run("nobody")
        page = json.dumps(build(readonly=True).get_config_file(), default=str)
        for said in (sources.own_help(), sources.refusal("/etc"), draft.command(), str(caught.value), page):
            assert "disk7" not in said
            assert str(tmp_path) not in said
        assert "data.source=own/mine" in draft.command()
        assert "moving-mnist-full" not in [value for _, value in sources.choices()]
        assert "not offered" in sources.refusal("moving-mnist-full")

    def test_status_and_stop_never_wait_behind_sampling(self) -> None:
        page = build()
        limits = {fn.api_name: (fn.concurrency_limit, fn.concurrency_id) for fn in page.fns.values() if fn.api_name}
        assert limits["train_stop"][0] is None
        assert limits["train_status"][0] is None
        assert limits["generate"] == limits["tokenize"] == (1, "compute")

    def test_no_tab_holds_a_connection_open(self) -> None:
        assert not build().get_config_file().get("connect_heartbeat")

    def test_every_control_says_what_it_is_for(self) -> None:
        silent = [
            block.label
            for block in build().blocks.values()
            if isinstance(block, (gr.Slider, gr.Dropdown, gr.Number, gr.Checkbox, gr.Radio)) and block.visible and not block.info
        ]
        assert silent == []


def test_the_page_comes_up_before_torch_is_imported() -> None:
    import subprocess
    import sys

    code = "import sys; from vidapp.ui.app import build; build(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent, check=False).returncode == 0


def test_generation_grows_and_is_repeatable(tmp_path: Path) -> None:
    checkpoint = session.CheckpointCache().load(write_tiny_checkpoint(tmp_path / "tiny.safetensors"))
    clip = chosen(frames=3).clip(checkpoint.config)

    def frames(seed: int = 0, **settings: Any) -> list[np.ndarray]:
        sampling = generation.sampling_of(checkpoint.config, settings)
        return list(generation.predicted(checkpoint, clip.given_u8, 3, sampling, seed))

    parts = frames()
    assert [len(part) for part in parts] == [1, 2, 3]
    np.testing.assert_array_equal(parts[-1], frames()[-1])
    assert not np.array_equal(parts[-1], frames(seed=1)[-1])
    assert not np.array_equal(parts[-1], frames(temperature=2.0, top_k=0)[-1])
    found = generation.errors_of(checkpoint, clip, parts[-1])
    assert found is not None
    assert len(found.model) == 3


def test_a_top_k_above_the_codebook_means_all_of_it_and_is_said() -> None:
    config = tiny_config()
    assert generation.sampling_of(config, {"top_k": 100}).top_k == config.tokenizer.codebook_size == 64
    assert generation.adjusted(config, {"top_k": 100}) == "Top-k is 64, all codes that this checkpoint has: 100 were asked for."
    assert generation.adjusted(config, {"top_k": 64}) == ""
    assert generation.adjusted(config, {"top_k": 64, "choice": "drawn"}) == ""
    assert generation.adjusted(config, {"top_k": 64, "choice": "expected"}) == generation.IDLE


def test_given_frames_that_the_model_does_not_see_are_said() -> None:
    config = tiny_config()
    longest = config.data.clip_frames
    said = f"The model sees the last {longest - 1} of 40 given frames: it was trained on clips of {longest}."
    assert generation.adjusted(config, {"top_k": 5}, 40) == said
    assert generation.adjusted(config, {"top_k": 100}, 40).endswith(f"asked for. {said}")


@pytest.mark.parametrize(("data", "text"), [({"run": "a"}, "a"), ({"run": 3}, "3"), ({"run": ["a"]}, ""), ({}, ""), (None, ""), ([], "")])
def test_what_an_event_says_is_text_whatever_a_stranger_sends(data: Any, text: str) -> None:
    assert text_of(gr.EventData(None, data), "run") == text
