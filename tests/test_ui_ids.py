"""Token ids that were made elsewhere, in the page: offered, looked at, and trained on with the settings that they need."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import tiny
from tiny_checkpoint import write_tiny_checkpoint

from vidapp.config import Config
from vidapp.data.survey import survey
from vidapp.data.token_ids import colours_of, ids_of
from vidapp.runs import list_runs
from vidapp.ui import api, data_view, generation, session, sources, tokens, variants
from vidapp.ui.choices import DRAWN, Chosen
from vidapp.ui.downloads import download_files
from vidapp.ui.drafts import Draft
from vidapp.ui.estimates import Estimates, at_once, notices_html
from vidapp.ui.generation import Agreement, Clip, verdict

CODES, SIDE = 300, 4


@pytest.fixture(autouse=True)
def ids() -> np.ndarray:
    """The ids int16 (N, T, h, w) that lie among the own clips as ids.npy: each frame is the one before plus one."""
    first = np.random.default_rng(0).integers(0, CODES, (12, 1, SIDE, SIDE))
    made: np.ndarray = ((first + np.arange(8)[None, :, None, None]) % CODES).astype(np.int16)
    folder = sources.own_folder()
    folder.mkdir(parents=True)
    np.save(folder / "ids.npy", made)
    (folder / "ids.json").write_text(json.dumps({"codebook_size": CODES}))
    return made


def chosen(**changes: Any) -> Config:
    return Config().replace({"data.source": "own/ids.npy", **{key.replace("__", "."): value for key, value in changes.items()}})


def test_the_json_beside_them_is_no_clip() -> None:
    assert [value for _, value in sources.choices() if value.startswith("own/")] == ["own/ids.npy"]
    with pytest.raises(ValueError, match="not offered here"):
        sources.resolved(chosen(data__source="own/ids.json"))


def test_they_bring_the_settings_that_they_need_and_it_is_said() -> None:
    found = sources.resolved(chosen())
    assert (found.tokenizer.quantizer, found.tokenizer.codebook_size, found.grid, found.data.channels) == ("ids", CODES, SIDE, 3)
    said = sources.set_by_data(chosen(), found)
    assert said.startswith("ids.npy holds token ids, so these are set: ")
    assert "tokenizer.vq_codebook_size=300" in said
    assert "model.code_embedding=false" in said
    assert sources.resolved(sources.offered(found)) == found
    assert sources.set_by_data(found, found) == ""


def test_they_are_looked_at_in_their_own_grid_an_id_a_colour(ids: np.ndarray) -> None:
    looked = data_view.Chosen("own/ids.npy", "train", 64, 1, 6, 4, 0.5, 0.0, 0.5, 0.0, 3, "4, 6")
    source = data_view.opened(looked.data)
    windows = {ids[clip, first : first + 6].tobytes() for clip in range(12) for first in range(3)}
    clips = data_view.clips_of(source, looked)
    assert len(clips) == data_view.CLIPS
    assert all(ids_of(clip.frames).astype(np.int16).tobytes() in windows for clip in clips)
    assert [clip.frames.shape for clip in data_view.at_lengths(source, looked)] == [(4, 3, SIDE, SIDE), (6, 3, SIDE, SIDE)]
    assert data_view.augmented(source, looked) == []
    assert "grids of 4 × 4, 300 codes" in survey(source).words


def test_their_settings_are_refused_on_other_data() -> None:
    with pytest.raises(ValueError, match="moving-mnist is no file of ids"):
        sources.resolved(sources.resolved(chosen()).replace({"data.source": "moving-mnist", "data.size": 64}))


def test_the_command_names_all_that_they_need() -> None:
    command = Draft.of("debug", {"data.source": "own/ids.npy"}).command()
    assert "tokenizer.quantizer=ids" in command
    assert f"data.size={SIDE}" in command


def test_what_a_run_on_them_takes_has_no_tokenizer_to_train() -> None:
    estimate = Estimates().of(chosen(recipe__batch_size=1))
    assert estimate.new_tokenizer == ""
    assert "ids.npy holds token ids" in notices_html(estimate)
    assert {name: estimate.values[name] for name in at_once(chosen(recipe__batch_size=1))} == at_once(chosen(recipe__batch_size=1))


def test_a_script_that_starts_a_training_needs_to_name_the_data_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Config] = []
    monkeypatch.setattr(api.jobs, "start_training", lambda config, run, tokenizer: asked.append(config) or "mine")
    monkeypatch.setattr(api, "train_status", lambda run: {"run": run})
    api.train_start("debug", {"data.source": "own/ids.npy", "run.steps": 3})
    assert (asked[0].tokenizer.quantizer, asked[0].data.size, asked[0].run.steps) == ("ids", SIDE, 3)
    with pytest.raises(ValueError, match="holds token ids: set tokenizer.vq_codebook_size=300"):
        api.train_start("debug", {"data.source": "own/ids.npy", "tokenizer.vq_codebook_size": 10})
    assert len(asked) == 1
    assert list_runs() == []


@pytest.fixture
def checkpoint(tmp_path: Path) -> Any:
    """One that has learnt nothing of them."""
    config = sources.resolved(tiny().replace({"data.source": "own/ids.npy"}))
    return session.CHECKPOINTS.load(write_tiny_checkpoint(tmp_path / "ids.safetensors", config))


def test_a_file_of_them_can_be_continued(ids: np.ndarray, checkpoint: Any, tmp_path: Path) -> None:
    path = tmp_path / "one.npy"
    np.save(path, ids[0])
    clip = generation.uploaded_clip(str(path), checkpoint.config, 3, 2)
    assert clip.truth_u8 is not None
    assert np.array_equal(ids_of(np.concatenate([clip.given_u8, clip.truth_u8])), ids[0, :5])
    np.save(path, ids[0].astype(np.float32) / CODES)
    with pytest.raises(ValueError, match="holds float32 of shape"):
        generation.uploaded_clip(str(path), checkpoint.config, 3, 2)
    np.save(path, ids[0, :, :2, :2])
    with pytest.raises(ValueError, match="grids of 2 x 2 tokens, the checkpoint 4 x 4"):
        generation.uploaded_clip(str(path), checkpoint.config, 3, 2)
    with pytest.raises(ValueError, match=r"clip.mp4 is no .npy"):
        generation.uploaded_clip(str(tmp_path / "clip.mp4"), checkpoint.config, 3, 2)


def test_what_is_generated_of_them_is_taken_away_as_ids(ids: np.ndarray, checkpoint: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", ids[0])
    clip = generation.uploaded_clip(str(tmp_path / "one.npy"), checkpoint.config, 3, 2)
    assert clip.truth_u8 is not None
    with download_files(clip, clip.truth_u8, ids=True) as paths:
        assert np.array_equal(np.load(paths["npy"]), ids[0, 3:5])
        again = generation.uploaded_clip(paths["npy"], checkpoint.config, 1, 1)  # it can be gone on with
    assert np.array_equal(again.given_u8, clip.truth_u8[:1])


HEADER = b"\x93NUMPY\x01\x00"


def npy(shape: str) -> bytes:
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}".encode()
    return HEADER + len(text).to_bytes(2, "little") + text + b"\0" * 200


@pytest.mark.parametrize(
    "content",
    [
        npy("(1" + "0" * 30 + ", 4, 4)"),
        npy("(-5, 4, 4)"),
        npy("(True, 4, 4)"),
        npy("(0, 4, 4)"),
        HEADER + b"\x04\x00{[[[",
        b"PK\x03\x04" + b"\0" * 80,
    ],
    ids=["huge", "negative", "a bool", "no frames", "no header", "a zip"],
)
def test_a_damaged_or_hostile_file_of_them_is_refused_in_a_sentence(content: bytes, checkpoint: Any, tmp_path: Path) -> None:
    path = tmp_path / "bad.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^bad.npy .{10,}"):
        generation.uploaded_clip(str(path), checkpoint.config, 3, 2)


def test_a_drawing_has_no_ids(checkpoint: Any) -> None:
    chosen = Chosen("bundled", None, "test", 0, None, "a drawing", 3, 2, 0.8, 5, 2, "drawn", "confidence", True, 0)
    with pytest.raises(ValueError, match="a drawing has none"):
        dataclasses.replace(chosen, source=DRAWN).clip(checkpoint.config)


def test_nothing_can_be_expected_of_them(checkpoint: Any) -> None:
    with pytest.raises(ValueError, match="set it to drawn"):
        generation.sampling_of(checkpoint.config, {"top_k": 5, "choice": "expected"})


@pytest.mark.parametrize("changes", [{}, {"model.pixel_embedding": False}, {"model.stem_frames": 2}])
def test_the_preset_motion_trains_on_them(ids: np.ndarray, changes: dict[str, Any]) -> None:
    config = api.configured("motion", {"data.source": "own/ids.npy", **changes})
    assert (config.tokenizer.quantizer, config.model.pixel_embedding, config.model.code_embedding) == ("ids", False, False)
    with pytest.raises(ValueError, match="model.code_embedding=true"):
        api.configured("motion", {"data.source": "own/ids.npy", "model.pixel_embedding": True})


def test_a_generation_of_them_is_judged_by_the_ids_that_are_true(ids: np.ndarray, checkpoint: Any) -> None:
    clip = Clip(colours_of(ids[0, :2]), colours_of(ids[0, 2:5]), "a clip")
    guess = ids[0, 2:6].copy()
    guess[1, :2] += 1
    found = generation.errors_of(checkpoint, clip, colours_of(guess) / np.float32(255))
    assert found == Agreement([1.0, 0.5, 1.0], [0.0, 0.0, 0.0])
    said = verdict(found, 4)
    assert said.headline == "More ids are the true ones than by repeating the last given frame, on average over 3 frames."
    assert said.figures == (
        "Ids that are the true ones: first 100 %, last 100 %, mean 83 %. For comparison: repeating the last given frame 0 %. "
        "Truth is known for 3 of 4 frames."
    )
    assert said.tone == "good"


@pytest.mark.parametrize(
    ("model", "repeat", "words", "tone"),
    [
        (0.5, 0.4, "More ids", "good"),
        (0.41, 0.4, "Hardly more ids", "info"),
        (0.3, 0.4, "No more ids", "bad"),
        (1.0, 1.0, "No more", "info"),
    ],
)
def test_copying_is_what_they_are_held_against(model: float, repeat: float, words: str, tone: str) -> None:
    found = verdict(Agreement([model], [repeat]), 1)
    assert found.headline.startswith(words)
    assert found.tone == tone


def test_a_script_hears_of_true_ids_and_of_no_error_in_pixels(checkpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "chosen_checkpoint", lambda choice, dropped: "bundled")
    monkeypatch.setattr(session.CHECKPOINTS, "load", lambda path: checkpoint)
    report, _, _ = next(api.generate(given=2, frames=2))
    assert report["squared_error_per_frame"] is None
    assert {name: len(shares) for name, shares in report["true_ids_per_frame"].items()} == {"prediction": 2, "repeat_last": 2}
    assert "true ones" in report["verdict"]


def test_their_colours_are_measured_nowhere(ids: np.ndarray, checkpoint: Any) -> None:
    chosen = Chosen("bundled", None, "test", 0, None, None, 2, 2, 0.8, 5, 2, "drawn", "confidence", True, 0)
    *_, grid = variants.futures_of(checkpoint, chosen, variants.seeds(0, 4))
    assert isinstance(grid, variants.Grid)
    assert grid.errors is None
    assert generation.mean_frame_for(checkpoint.config, trusted=True) is None
    view = tokens.view_of_clip(checkpoint, colours_of(ids[0]), "ids", can_guess=True)
    assert not {"Error a frame", "PSNR"} & {name for name, _, _ in tokens.figures_of(view)}
