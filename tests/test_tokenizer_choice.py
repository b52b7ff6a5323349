"""A new run takes a trained tokenizer only where it is the one that its config describes."""

from pathlib import Path
from typing import Any

import pytest

from vidapp.checkpoint import read_header, save_checkpoint
from vidapp.commands.patient import Case
from vidapp.config import Config
from vidapp.presets import PRESETS, preset
from vidapp.randomness import torch_generator
from vidapp.tokenizer import new_tokenizer
from vidapp.tokenizer_choice import ALL_BUNDLED, BUNDLED, called, choose_tokenizer
from vidapp.transformer import VideoTransformer

TINY = Config().replace({"model.width": 16, "model.layers": 1, "model.heads": 2, "tokenizer.levels": "4,4", "tokenizer.channels": 8})


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundled") / "bundled.safetensors"
    weights = VideoTransformer.new(TINY, torch_generator(0)).state_dict()
    save_checkpoint(path, TINY, new_tokenizer(TINY.tokenizer, TINY.data.channels, torch_generator(0)), weights, step=0, metrics={})
    return path


@pytest.mark.parametrize(
    "changes", [{}, {"data.source": "moving-mnist-full"}, {"data.clip_frames": 12}, {"model.width": 32}, {"recipe.learning_rate": 0.1}]
)
def test_moving_mnist_takes_the_bundled_tokenizer(bundled: Path, changes: dict[str, Any]) -> None:
    assert choose_tokenizer(TINY.replace(changes), bundled=[bundled]) == bundled


@pytest.mark.parametrize(
    "changes", [{"data.size": 32}, {"data.digits": 1}, {"data.channels": 3}, {"tokenizer.levels": "4,4,4"}, {"data.source": "clips"}]
)
def test_other_frames_or_settings_train_one_first(bundled: Path, changes: dict[str, Any]) -> None:
    assert choose_tokenizer(TINY.replace(changes), bundled=[bundled]) is None


def test_of_several_that_which_fits_is_taken(bundled: Path) -> None:
    """One for the settings that a new config has, and that of the bundled model."""
    assert choose_tokenizer(Config()) == BUNDLED
    for path in ALL_BUNDLED:
        config = read_header(path).config
        assert (
            choose_tokenizer(Config().replace({f"tokenizer.{name}": value for name, value in config.to_dict()["tokenizer"].items()}))
            == path
        )
    assert choose_tokenizer(TINY, bundled=[*ALL_BUNDLED, bundled]) == bundled


@pytest.mark.parametrize("name", PRESETS)
def test_no_preset_needs_a_tokenizer_trained_first(name: str) -> None:
    assert choose_tokenizer(preset(name)) in ALL_BUNDLED


def test_a_new_one_that_is_asked_for_is_trained_whatever_there_is(bundled: Path) -> None:
    new = TINY.replace({"recipe.tokenizer_source": "new"})
    assert choose_tokenizer(new, bundled=[bundled]) is None
    with pytest.raises(ValueError, match="leave one of them out"):
        choose_tokenizer(new, bundled)


def test_a_run_that_trained_its_own_is_checked_with_that(bundled: Path) -> None:
    assert Case(TINY.replace({"recipe.tokenizer_source": "new"}), checkpoint=bundled).tokenizer(None) == bundled


def test_without_a_bundled_checkpoint_one_is_trained(tmp_path: Path) -> None:
    assert choose_tokenizer(TINY, bundled=[tmp_path / "none.safetensors"]) is None


def test_a_given_tokenizer_is_taken_for_any_data_that_it_fits(bundled: Path) -> None:
    assert choose_tokenizer(TINY.replace({"data.source": "clips", "data.size": 128}), bundled) == bundled


@pytest.mark.parametrize(("key", "value"), [("tokenizer.levels", "4,4,4"), ("tokenizer.channels", 16), ("data.channels", 3)])
def test_a_given_tokenizer_that_does_not_fit_is_refused_by_setting(bundled: Path, key: str, value: object) -> None:
    with pytest.raises(ValueError, match="set the same") as caught:
        choose_tokenizer(TINY.replace({key: value}), bundled)
    assert key in str(caught.value)


def test_a_damaged_tokenizer_is_refused_by_name(bundled: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(bundled.read_bytes()[:-1])
    with pytest.raises(ValueError, match="damaged.safetensors"):
        choose_tokenizer(TINY, damaged)


def test_a_tokenizer_is_named_without_the_folders_of_the_machine(bundled: Path) -> None:
    assert called(BUNDLED) == called(BUNDLED.parent / ".." / "assets" / BUNDLED.name) == "the bundled tokenizer"
    assert called(bundled) == "the tokenizer of bundled.safetensors"
