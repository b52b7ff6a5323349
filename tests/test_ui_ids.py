"""Token ids that were made elsewhere, in the page: offered, looked at, and trained on with the settings that they need."""

import json
from typing import Any

import numpy as np
import pytest

from vidapp.config import Config
from vidapp.data.survey import survey
from vidapp.data.token_ids import ids_of
from vidapp.runs import list_runs
from vidapp.ui import api, data_view, sources
from vidapp.ui.drafts import Draft
from vidapp.ui.estimates import Estimates, at_once, notices_html

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
