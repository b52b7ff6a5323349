"""Controls derived from config fields: one dotted key, one control. A field that is added to a config appears here by itself."""

import dataclasses
from abc import ABCMeta
from collections.abc import Iterable, Sequence
from typing import Any, cast

import gradio as gr

from ..config import SECTIONS, Config, field_of
from ..fields import types_of


def as_it_is(self: gr.Slider, payload: float) -> float:
    """What a handler is given of a slider's number box that may have been left empty or out of range."""
    return payload


# Gradio's own slider raises before any handler has a say, and a person sees nothing of it: with this one the handler says what is missing.
# Made by ABCMeta since Gradio's metaclass writes a .pyi file beside the source of every component.
Slider: type[gr.Slider] = ABCMeta.__new__(
    cast(Any, type(gr.Slider)),
    "Slider",
    (gr.Slider,),
    {"__module__": __name__, "is_template": True, "preprocess": as_it_is},  # is_template: drawn as what it is derived from
)


def first_order_keys(*sections: str) -> list[str]:
    """Dotted keys of the settings that are shown first, in the order of their definition."""
    return [key for key in all_keys(*sections) if field_of(key).metadata["first_order"]]


def all_keys(*sections: str) -> list[str]:
    return [f"{section}.{field.name}" for section in sections or SECTIONS for field in dataclasses.fields(SECTIONS[section])]


def kind_of(key: str) -> Any:
    """The annotated type of a setting: bool, int, float, str or a tuple of ints."""
    section, _, name = key.partition(".")
    return types_of(cast(Any, SECTIONS[section]))[name]


def label_of(key: str) -> str:
    """`recipe.learning_rate` -> `Learning rate`, with its unit where it has one."""
    name = key.partition(".")[2].replace("_", " ")
    unit = field_of(key).metadata["unit"]
    return f"{name[0].upper()}{name[1:]}" + (f" ({unit})" if unit and unit not in name else "")


def value_of(config: Config, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(config, section), name)


def shown(config: Config, key: str) -> Any:
    """The value as its control shows it: sequences as `5, 10, 20`."""
    value = value_of(config, key)
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value


def control(key: str, config: Config, **settings: Any) -> gr.components.Component:
    """The control of one setting, showing its value in `config`; bounds are checked by the config, which says what is wrong."""
    facts = field_of(key).metadata
    kind = kind_of(key)
    given = {
        "value": shown(config, key),
        "label": label_of(key),
        "info": facts["help"],
        "elem_id": "field-" + key.replace(".", "-"),
        "min_width": 150,
        **settings,
    }
    if kind is bool:
        return gr.Checkbox(**given)
    if "choices" in given:
        return gr.Dropdown(**given)
    if facts["choices"]:
        return gr.Dropdown(choices=list(facts["choices"]), **given)
    if kind in (int, float):
        return gr.Number(precision=0 if kind is int else None, **given)
    return gr.Textbox(**given)


def slider(key: str, config: Config, minimum: float, maximum: float, step: float, **settings: Any) -> gr.Slider:
    """A setting as a slider over the part of its range that is worth dragging through."""
    given = {"label": label_of(key), "info": field_of(key).metadata["help"], "elem_id": "field-" + key.replace(".", "-"), **settings}
    return Slider(minimum, maximum, value=value_of(config, key), step=step, **given)


def changed(config: Config, keys: Sequence[str], values: Iterable[Any]) -> Config:
    """`config` with the controls' values; ValueError for an empty number or whatever the config refuses."""
    changes: dict[str, Any] = {}
    for key, value in zip(keys, values, strict=True):
        if value is None:
            raise ValueError(f"{key} is empty: give a value, e.g. {shown(config, key)}")
        changes[key] = value
    return config.replace(changes)
