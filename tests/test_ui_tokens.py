"""The Tokens tab without a browser: what the server answers to whoever asks, colours, and files to take away."""

import dataclasses
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from tiny_checkpoint import tiny_config, write_tiny_checkpoint

from vidapp.checkpoint import load_checkpoint
from vidapp.runs import RunWriter
from vidapp.ui import generation, messages, session, token_view, tokens
from vidapp.ui.token_colours import PALETTE, STEP, colour_of, ink_on
from vidapp.ui.token_files import grid_picture, token_files
from vidapp.ui.token_view import TokenView, Views, look, redraw, value_of
from vidapp.ui.words import short


@pytest.fixture
def view(tmp_path: Path) -> TokenView:
    checkpoint = load_checkpoint(write_tiny_checkpoint(tmp_path / "tiny.safetensors"))
    frames = np.random.default_rng(0).integers(0, 255, (6, 1, 32, 32), dtype=np.uint8)
    return tokens.view_of_clip(checkpoint, frames, "noise", can_guess=True)


def test_a_handler_that_has_nothing_to_show_leaves_the_page_as_it_is() -> None:
    with gr.Blocks():
        box = messages.message_box()

    def handler() -> Iterator[dict[Any, Any]]:
        yield from ()

    assert list(messages.guarded(box)(handler)()) == [{box: gr.skip()}]


@pytest.mark.parametrize(
    ("given", "known", "name", "judged"),
    [(None, 6, "Error a frame", slice(None)), (4, 5, "Error a future frame", slice(4, 5)), (4, 4, "Error a given frame", slice(4))],
)
def test_the_error_of_a_generation_is_that_of_its_future_as_in_its_verdict(
    view: TokenView, given: int | None, known: int, name: str, judged: slice
) -> None:
    shown = dataclasses.replace(view, given=given, truth_u8=view.truth_u8[:known])
    figures = {figure: value for figure, value, _ in tokens.figures_of(shown)}
    assert figures[name] == short(float(view.errors()[0][judged].mean()))


def test_clicks_that_wait_are_few_and_the_others_are_told_at_once(view: TokenView, monkeypatch: pytest.MonkeyPatch) -> None:
    key = value_of(view)["key"]
    monkeypatch.setattr(token_view, "WAITING", threading.BoundedSemaphore(1))
    with token_view.WAITING:
        assert look({"key": key, "frame": 0, "row": 0, "column": 0}) == {"trouble": token_view.BUSY}
    for _ in range(3):  # each gives its place back, also where it is refused
        assert "trouble" in look({"key": key, "frame": -1})
    assert "alone" in look({"key": key, "frame": 0, "row": 0, "column": 0})


def test_the_clips_of_a_file_that_was_dropped_are_never_opened_and_those_of_a_runs_checkpoint_are(tmp_path: Path) -> None:
    with RunWriter.create("mine", tiny_config()) as run:
        path = write_tiny_checkpoint(run.checkpoint_path(5))
    ours = tokens.chosen_from("test", 0, None, "run:mine:5", 4, "", "", "", None)
    theirs = tokens.chosen_from("test", 0, None, session.DROPPED_CHOICE, 4, "", "", "", str(path))
    assert [tokens.view_of(chosen).trusted for chosen in (ours, theirs)] == [True, False]
    gone = tokens.chosen_from("test", 0, None, session.DROPPED_CHOICE, 4, "", "", "", None)
    assert gone.checkpoint == session.first_choice()


@pytest.mark.parametrize(
    ("clips", "last", "label"), [(5, 4, "5 test clips"), (1, 1, "1 test clip"), (generation.TEST_CLIPS, 199, "64 test clips")]
)
def test_there_are_as_many_clips_to_choose_from_and_count_over_as_the_data_has(
    clips: int, last: int, label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gr.Blocks():
        tab = tokens.build()
    monkeypatch.setattr(tokens, "known_clips", lambda data: clips)
    updates = tab.fit(session.BUNDLED_CHOICE, None, 150)
    assert updates[tab.number].maximum == last
    assert (updates[tab.number].value == last) == (last < 150)
    assert updates[tab.counting].value == f"Count codes over {label}"


def test_every_colour_is_another_and_neighbouring_ids_differ() -> None:
    assert len(set(PALETTE)) == len(PALETTE) == 32
    assert {id * STEP % 32 for id in range(32)} == set(range(32))
    assert colour_of(5) == colour_of(5 + 32) != colour_of(6)
    assert (ink_on("#ffffff"), ink_on("#000000")) == ("#000000", "#ffffff")


def test_the_page_and_the_server_colour_alike() -> None:
    assert f"(id * {STEP}) % clip.palette.length" in token_view.static("tokens.js")


def test_a_view_answers_looks_and_redraws(view: TokenView) -> None:
    value = value_of(view)
    assert len(value["ids"]) == len(value["frames"]) == 6
    assert json.dumps(value)
    place = {"key": value["key"], "frame": 3, "row": 1, "column": 2}
    answer = look(place)
    assert len(answer["alone"]["guesses"]) == 5
    shares = [guess["probability"] for guess in answer["together"]["guesses"]]
    assert shares == sorted(shares, reverse=True)
    assert redraw({**place, "edits": []})["uri"] == value["drawn"][3]
    other = {"frame": 3, "row": 1, "column": 2, "id": (value["ids"][3][6] + 21) % 64}
    assert redraw({**place, "edits": [other]})["uri"] != value["drawn"][3]


def test_of_a_frame_that_was_always_given_it_is_said_that_nothing_was_learnt_to_predict_it(view: TokenView, tmp_path: Path) -> None:
    given = view.microscope.checkpoint.config.data.context_frames
    frames = np.concatenate([view.truth_u8] * 2)
    longer = value_of(tokens.view_of_clip(view.microscope.checkpoint, frames, "noise", can_guess=True))["key"]
    said = [look({"key": longer, "frame": frame, "row": 0, "column": 0})["untaught"] for frame in (0, given - 1, given)]
    assert said == [token_view.ALWAYS_GIVEN, token_view.ALWAYS_GIVEN, ""]
    joint = load_checkpoint(write_tiny_checkpoint(tmp_path / "joint.safetensors", tiny_config(recipe__objective_joint=0.1)))
    other = value_of(tokens.view_of_clip(joint, frames, "noise", can_guess=True))["key"]
    assert look({"key": other, "frame": 0, "row": 0, "column": 0})["untaught"] == ""


EDIT = {"frame": 0, "row": 0, "column": 0, "id": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"key": "guessed"},
        {"frame": 6},
        {"frame": -1},
        {"frame": 10**30},
        {"frame": "0"},
        {"row": None},
        {"row": True},
        {"column": 1.5},
        {"edits": "all"},
        {"edits": [EDIT] * 51},
        {"edits": [{**EDIT, "id": 64}]},
        {"edits": [{**EDIT, "row": 4}]},
        {"edits": [7]},
    ],
)
def test_whatever_is_asked_the_answer_is_one_sentence(view: TokenView, change: dict[str, Any]) -> None:
    asked = {"key": value_of(view)["key"], "frame": 0, "row": 0, "column": 0, "edits": [], **change}
    answer = look(asked)
    assert set(answer) == {"trouble"}
    assert "should not have happened" not in answer["trouble"]


@pytest.mark.parametrize("asked", [None, [], "x", 3, {}])
def test_nonsense_is_answered_too(asked: Any) -> None:
    assert set(look(asked)) == set(redraw(asked)) == {"trouble"}


def test_views_are_let_go_of_with_the_checkpoints_that_they_look_through(view: TokenView, tmp_path: Path) -> None:
    other = load_checkpoint(write_tiny_checkpoint(tmp_path / "other.safetensors"))
    frames = np.zeros((2, 1, 32, 32), np.uint8)
    of_other = [tokens.view_of_clip(other, frames, "black", can_guess=True) for _ in range(2)]
    own = sum(one.size for one in of_other)
    views = Views(held=48, held_bytes=own + other.size)
    keys = [views.put(one) for one in (view, *of_other)]
    assert [views.get(key) is not None for key in keys] == [False, True, True]
    assert views.bytes == own + other.size


def test_an_untrained_transformer_says_so_instead_of_guessing(view: TokenView, tmp_path: Path) -> None:
    checkpoint = view.microscope.checkpoint
    silent = tokens.view_of_clip(checkpoint, view.truth_u8, "noise", can_guess=False)
    assert "untrained" in look({"key": value_of(silent)["key"], "frame": 0, "row": 0, "column": 0})["trouble"]


def test_files_hold_the_ids(view: TokenView) -> None:
    with token_files(view) as paths:
        assert np.load(paths["npy"], allow_pickle=False).tolist() == view.tokens_THW.tolist()
        described = json.loads(Path(paths["json"]).read_text())
    assert (described["shape"], described["codebook_size"]) == ([6, 4, 4], 64)
    assert described["tokens"] == view.tokens_THW.tolist()
    assert not Path(paths["png"]).exists()


def test_a_sheet_of_very_many_tokens_stays_a_picture_that_opens() -> None:
    sheet = grid_picture(np.zeros((64, 64, 64), int))
    assert sheet.width * sheet.height <= 64_000_000


def test_a_list_that_is_only_passed_through_asks_for_nothing_new() -> None:
    page = SimpleNamespace(session_hash="passing")
    chosen = ("test", 3, None, "bundled", 20, "")
    tokens.claiming(tokens.SHOW)(page, *chosen, "", "")
    first = tokens.WISHES.of("passing")
    tokens.claiming(tokens.SHOW, left=True)(page, *chosen, "test 3", "")
    assert tokens.WISHES.of("passing") is first
    tokens.claiming(tokens.SHOW, left=True)(page, "test", 4, *chosen[2:], "test 3", "")
    assert tokens.WISHES.of("passing") is not first
