"""Training on token ids that were made elsewhere: no frames, no decoder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny
from trainings import curve, differing, left_behind, train_to_end

from vidapp.checkpoint import load_checkpoint
from vidapp.cli import main
from vidapp.config import Config, DataConfig
from vidapp.data import token_ids
from vidapp.data.source import open_source
from vidapp.data.token_ids import TokenSource, colours_of, ids_of, settings_of
from vidapp.runs import open_run, runs_folder
from vidapp.tokenizer import new_tokenizer

CODES = 300


def grids(clips: int = 12, frames: int = 6, side: int = 4) -> np.ndarray:
    """Ids uint16 (N, T, h, w) that can be learnt: each frame is the one before plus one."""
    first = np.random.default_rng(0).integers(0, CODES, (clips, 1, side, side))
    return ((first + np.arange(frames)[None, :, None, None]) % CODES).astype(np.uint16)


def saved(folder: Path, ids: np.ndarray, **facts: Any) -> Path:
    np.save(folder / "ids.npy", ids)
    (folder / "ids.json").write_text(json.dumps({"codebook_size": CODES, **facts}))
    return folder / "ids.npy"


def data_of(path: Path, **changes: Any) -> DataConfig:
    return DataConfig(**{"source": str(path), "size": 4, "channels": 3, "clip_frames": 4, "context_frames": 2, **changes})


def config_for(path: Path, **changes: Any) -> Config:
    return tiny(**changes).replace({"data.source": str(path), **settings_of(str(path))})


@given(ids=st.lists(st.integers(0, 65535), min_size=1, max_size=20, unique=True))
def test_every_id_has_a_colour_of_its_own_and_comes_back_from_it(ids: list[int]) -> None:
    array = np.array(ids)[:, None, None]
    colours = colours_of(array)
    assert np.array_equal(ids_of(colours), array)
    assert len({tuple(colour.ravel()) for colour in colours}) == len(ids)


def test_ids_pass_through_frames_and_back_unchanged() -> None:
    tokenizer = new_tokenizer(
        tiny(
            tokenizer__quantizer="ids",
            tokenizer__downsampling=1,
            tokenizer__vq_codebook_size=65536,
            data__channels=3,
            data__source="ids.npy",
            data__size=16,
        ).tokenizer,
        3,
    )
    tokens = torch.arange(65536).reshape(16, 16, 16, 16)
    assert torch.equal(tokenizer.encode(tokenizer.decode(tokens)), tokens)
    assert int(tokenizer.encode(torch.rand(1, 2, 3, 8, 8)).max()) < 65536


@pytest.mark.parametrize("raw", [False, True])
def test_windows_are_those_of_the_file_and_no_clip_is_in_two_splits(raw: bool, tmp_path: Path) -> None:
    ids = grids()
    path = saved(tmp_path, ids)
    if raw:
        path = tmp_path / "ids.bin"
        ids.tofile(path)
        (tmp_path / "ids.json").write_text(json.dumps({"codebook_size": CODES, "shape": list(ids.shape), "dtype": "uint16"}))
    source = open_source(data_of(path))
    assert isinstance(source, TokenSource)
    seen: dict[str, set[int]] = {}
    for split in ("train", "validation", "test"):
        found = [ids_of(clip) for clip in source.fixed_clips(split, 100, 4)]
        seen[split] = set()
        for window in found:
            (clip,) = [number for number in range(len(ids)) if any(np.array_equal(ids[number, at : at + 4], window) for at in range(3))]
            seen[split].add(clip)
    assert set.union(*seen.values()) == set(range(12))
    assert sum(map(len, seen.values())) == 12
    assert source.training_clip(0, 1, 2, 3).shape == (3, 3, 4, 4)


def test_one_long_clip_is_split_by_time(tmp_path: Path) -> None:
    source = open_source(data_of(saved(tmp_path, grids(1, 40)[0])))
    assert all(len(source.fixed_clips(split, 1, 4)) == 1 for split in ("train", "validation", "test"))


def test_a_file_without_its_json_is_taken_for_frames(tmp_path: Path) -> None:
    np.save(tmp_path / "clip.npy", np.zeros((9, 32, 32), np.uint8))
    assert settings_of(str(tmp_path / "clip.npy")) == {}
    assert not isinstance(open_source(DataConfig(source=str(tmp_path / "clip.npy"), clip_frames=3, context_frames=1)), TokenSource)


@pytest.mark.parametrize(
    ("ids", "facts", "words"),
    [
        (grids(), {"codebook_size": "many"}, "codebook_size 'many': give a whole number"),
        (grids(), {"codebook_size": 10**9}, "from 2 to 65536"),
        (grids()[0, 0], {}, r"has shape \(4, 4\): give ids as"),
        (np.zeros((2, 5, 4, 6), np.uint8), {}, "with h = w"),
        (grids().astype(np.float32), {}, "holds float32: give ids as one of"),
        (np.array([None]), {}, r"has shape \(1,\): give ids as"),
        (np.full((2, 5, 4, 4), None), {}, "holds object: give ids as one of"),
    ],
)
def test_what_is_no_file_of_ids_is_refused_in_words(ids: np.ndarray, facts: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        settings_of(str(saved(tmp_path, ids, **facts)))


def test_a_raw_file_must_be_as_long_as_its_json_says(tmp_path: Path) -> None:
    (tmp_path / "ids.bin").write_bytes(b"\0" * 10)
    (tmp_path / "ids.json").write_text(json.dumps({"codebook_size": 8, "shape": [2, 3, 4, 4], "dtype": "uint8"}))
    with pytest.raises(ValueError, match="has 10 bytes, which are not the"):
        settings_of(str(tmp_path / "ids.bin"))
    (tmp_path / "ids.json").write_text(json.dumps({"codebook_size": 8}))
    with pytest.raises(ValueError, match='must say "shape"'):
        settings_of(str(tmp_path / "ids.bin"))


def test_ids_outside_of_the_codebook_are_refused_at_once_or_in_a_large_file_when_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = data_of(saved(tmp_path, grids(), codebook_size=50))
    with pytest.raises(ValueError, match=r"^ids.npy holds ids .* outside of \[0, 50\): correct codebook_size"):
        open_source(data)
    monkeypatch.setattr(token_ids, "LOOKED_THROUGH", 0)
    source = open_source(data)
    with pytest.raises(ValueError, match=r"outside of \[0, 50\): correct codebook_size"):
        source.fixed_clips("train", 10, 4)


def test_settings_that_ids_do_not_allow_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, grids())
    with pytest.raises(ValueError, match="given ids cannot be augmented"):
        config_for(path, recipe__rotation=5)
    with pytest.raises(ValueError, match="set sampling.choice=drawn"):
        config_for(path, sampling__choice="expected")
    with pytest.raises(ValueError, match="set data.size=4 data.channels=3"):
        open_source(data_of(path, size=8))
    with pytest.raises(ValueError, match="holds token ids: set tokenizer.quantizer=ids"):
        token_ids.refuse_mismatch(tiny().replace({"data.source": str(path)}))
    with pytest.raises(ValueError, match="is no file of ids with a JSON beside it"):
        token_ids.refuse_mismatch(config_for(path).replace({"data.source": str(tmp_path)}))


def test_a_training_on_ids_learns_them_has_one_phase_and_goes_on_exactly(tmp_path: Path) -> None:
    config = config_for(saved(tmp_path, grids(side=8)), recipe__learning_rate=1e-2, run__steps=60, run__validate_every=60, model__width=32)
    train_to_end("a", config, tmp_path / "runs")
    lines = curve(tmp_path / "runs" / "a")
    assert {line["phase"] for line in lines} == {"transformer"}
    assert not [name for line in lines for name in line if name.startswith("sample_")], "their colours are no pixels to measure"
    losses = [line["loss"] for line in lines if "loss" in line]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.2
    assert len(open_run("a", tmp_path / "runs").samples()) == 20
    for name, steps in (("whole", 6), ("part", 3)):
        train_to_end(name, config.replace({"run.steps": steps, "recipe.schedule": "constant"}), tmp_path / "runs")
    train_to_end("part", config.replace({"run.steps": 6, "recipe.schedule": "constant"}), tmp_path / "runs", resume=True)
    assert not differing(left_behind(tmp_path / "runs" / "part", 6), left_behind(tmp_path / "runs" / "whole", 6))


def test_the_command_line_takes_ids_says_what_it_sets_and_samples_ids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path, grids())
    plain = tiny(run__steps=2)
    (tmp_path / "config.json").write_text(plain.to_json())
    assert main(["train", "--config", str(tmp_path / "config.json"), "--data", str(path), "--run", "a"]) == 0
    told = capsys.readouterr().err
    assert f"note: {path} holds token ids: tokenizer.quantizer=ids tokenizer.vq_codebook_size=300" in told
    assert "model.code_embedding=false" in told
    checkpoint = open_run("a", runs_folder()).checkpoints()[0][1]
    assert load_checkpoint(checkpoint).tokenizer.codebook_size == CODES
    assert main(["sample", str(checkpoint), "--out", str(tmp_path / "future.npy")]) == 0
    future = np.load(tmp_path / "future.npy")
    assert future.shape == (2, 4, 4)
    assert future.dtype == np.int64
    assert 0 <= future.min() <= future.max() < CODES
    np.save(tmp_path / "given.npy", grids()[0])
    assert main(["sample", str(checkpoint), "--input", str(tmp_path / "given.npy"), "--out", str(tmp_path / "future.gif")]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(checkpoint), "--clips", "1"]) == 2
    assert "there are no frames to score" in capsys.readouterr().err
