"""Configs go to JSON and back unchanged, and refuse what a person got wrong by name."""

import dataclasses
import json
import math
import re
import typing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidapp.config import SECTIONS, Config, load_config, parse_assignments
from vidapp.presets import PRESETS, preset

FIELDS = {f"{name}.{field.name}": field for name, kind in SECTIONS.items() for field in dataclasses.fields(kind)}
KINDS = {f"{name}.{key}": kind for name, section in SECTIONS.items() for key, kind in typing.get_type_hints(section).items()}
BOUNDED = [key for key, field in FIELDS.items() if field.metadata["high"] is not None]


def values_of(key: str) -> st.SearchStrategy[Any]:
    """Values that one field accepts by itself."""
    facts, kind = FIELDS[key].metadata, KINDS[key]
    if facts["choices"]:
        return st.sampled_from(facts["choices"])
    if kind is bool:
        return st.booleans()
    if kind is int:
        return st.integers(facts["low"], facts["high"])
    if kind is float:
        return st.floats(facts["low"], facts["high"], allow_nan=False)
    if kind is str:
        return st.text(max_size=20)
    return st.lists(st.integers(int(facts["low"]), int(facts["high"])), max_size=3).map(tuple)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """A preset with a few settings drawn anew, each kept where the others allow it."""
    config = preset(draw(st.sampled_from(sorted(PRESETS))))
    for key in draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=6, unique=True)):
        try:
            config = config.replace({key: draw(values_of(key))})
        except ValueError:
            continue
    return config


@given(configs())
def test_a_config_survives_json(config: Config) -> None:
    assert Config.from_json(config.to_json()) == config
    assert Config.from_dict(config.to_dict()) == config
    assert config.differences(Config.from_json(config.to_json())) == {}


@given(configs(), configs())
def test_differences_are_what_turns_one_config_into_the_other(mine: Config, theirs: Config) -> None:
    differences = mine.differences(theirs)
    assert mine.replace({key: value for key, (_, value) in differences.items()}) == theirs


@given(configs())
def test_values_typed_as_text_mean_the_same_as_in_json(config: Config) -> None:
    texts = {}
    for key in FIELDS:
        section, _, name = key.partition(".")
        value = getattr(getattr(config, section), name)
        texts[key] = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    assert Config().replace(texts) == config


@given(st.sampled_from(sorted(SECTIONS)), st.text(min_size=1, max_size=12))
def test_an_unknown_setting_is_refused_by_name(section: str, name: str) -> None:
    if f"{section}.{name}" in FIELDS:
        return
    with pytest.raises(ValueError, match="unknown setting") as caught:
        Config.from_dict({section: {name: 1}})
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("key", ["modell.width", "model.widht", "width", "model.", ""])
def test_an_unknown_key_is_refused_by_name(key: str) -> None:
    with pytest.raises(ValueError, match="unknown"):
        Config().replace({key: 1})


@pytest.mark.parametrize("key", BOUNDED)
def test_a_value_out_of_bounds_names_key_value_and_bounds(key: str) -> None:
    facts = FIELDS[key].metadata
    for bad in (facts["low"] - 1, facts["high"] + 1):
        with pytest.raises(ValueError, match="must lie between") as caught:
            Config().replace({key: [bad] if typing.get_origin(KINDS[key]) is tuple else bad})
        assert key in str(caught.value)
        assert str(facts["low"]) in str(caught.value)
        assert str(facts["high"]) in str(caught.value)


@pytest.mark.parametrize("key", sorted(FIELDS))
def test_every_field_explains_itself(key: str) -> None:
    facts = FIELDS[key].metadata
    assert len(facts["help"]) > 10
    assert facts["help"].endswith(".")
    if KINDS[key] in (int, float):
        assert facts["choices"] or (facts["low"] is not None and facts["high"] is not None), "a number needs bounds"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"recipe.learning_rate": "fast"}, "recipe.learning_rate"),
        ({"recipe.learning_rate": math.nan}, "recipe.learning_rate"),
        ({"recipe.batch_size": 2.5}, "recipe.batch_size"),
        ({"model.layers": "2.5"}, "model.layers is '2.5': it must be a whole number"),  # as --set gives it
        ({"recipe.batch_size": True}, "recipe.batch_size"),
        ({"model.causal": "perhaps"}, "model.causal"),
        ({"model.attention": "sideways"}, "full, factorized, framewise"),
        ({"model.width": 190, "model.heads": 4}, "190"),
        ({"data.size": 60}, "tokenizer.downsampling"),
        ({"data.context_frames": 20}, "at most 19"),
        ({"data.channels": 2}, "data.channels"),
        ({"data.source": " "}, "data.source is empty"),
        ({"recipe.curriculum": "5,10,40"}, "recipe.curriculum"),
        ({"recipe.objective_future": 0, "recipe.objective_joint": 0, "recipe.objective_individual": 0}, "objective"),
        ({"tokenizer.levels": "64,64,64"}, "65536"),
        ({"model.causal": False}, "recipe.clean_past"),
        ({"sampling.top_k": 1001}, "1000"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        Config().replace(changes)
    assert named in str(caught.value)


def test_a_path_that_begins_like_built_in_data_is_a_path() -> None:
    assert Config().replace({"data.source": "moving-mnist-own", "data.size": 16}).data.size == 16
    with pytest.raises(ValueError, match="too small for 28-pixel digits"):
        Config().replace({"data.source": "moving-mnist-full", "data.size": 16})


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"model": 3}', '{"model": {"width": null}}', '{"nothing": {}}'])
def test_a_damaged_config_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"^cannot use the config {re.escape(str(path))}: \w"):
        load_config(path)


def test_a_picture_is_no_config_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"\x89PNG\xff")
    with pytest.raises(ValueError, match=r"config\.json: it is not a text file"):
        load_config(path)


def test_a_missing_config_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    with pytest.raises(ValueError, match=r"none\.json") as refused:
        load_config(path)
    assert str(refused.value) == f"cannot read the config {path}: No such file or directory", "its path once, and no number of an error"


def test_a_config_file_may_leave_settings_out(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model": {"width": 64}}))
    assert load_config(path) == Config().replace({"model.width": 64})


def test_assignments_are_split_at_the_first_equals_sign() -> None:
    assert parse_assignments(["data.source=a=b", " run.steps = 3 "]) == {"data.source": "a=b", "run.steps": "3"}
    with pytest.raises(ValueError, match=r"section\.name=value"):
        parse_assignments(["run.steps"])


def test_configs_cannot_be_changed_in_place() -> None:
    config = Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.model.width = 1  # type: ignore[misc]


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_are_whole_configs_that_describe_themselves(name: str) -> None:
    assert isinstance(preset(name), Config)
    assert PRESETS[name].__doc__


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="debug, tiny, small, base, scale-up"):
        preset("huge")


def test_pixels_of_more_codes_than_memory_should_hold_are_refused_before_any_are_drawn() -> None:
    many = {"tokenizer.quantizer": "vq", "tokenizer.vq_codebook_size": 65536, "tokenizer.downsampling": 32, "data.channels": 3}
    with pytest.raises(ValueError, match="model.pixel_embedding would hold"):
        Config().replace({**many, "model.pixel_embedding": True})
    assert Config().replace({**many, "model.pixel_embedding": False}).tokenizer.codebook_size == 65536
