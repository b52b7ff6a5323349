"""Controls derived from config fields: one dotted key, one control. A field that is added to a config appears here by itself."""

import dataclasses
import math
from abc import ABCMeta
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import gradio as gr

from ..config import SECTIONS, Config, field_of
from ..fields import check_field, types_of

LISTED = 5  # problems told at once


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


ALIKE = {"data.channels": "colour channels", "tokenizer.channels": "tokenizer channels"}


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
    """`recipe.learning_rate` -> `Learning rate`, with its unit where it has one. No two of different sections are called the same."""
    name = ALIKE.get(key) or key.partition(".")[2].replace("_", " ")
    unit = field_of(key).metadata["unit"]
    return f"{name[0].upper()}{name[1:]}" + (f" ({unit})" if unit and unit not in name else "")


def shown(config: Config, key: str) -> Any:
    """The value as its control shows it: sequences as `5, 10, 20`."""
    return in_control(config.value(key))


def in_control(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else value


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
        step = 1 if kind is int else step_of(field_of(key).default, facts["high"])
        return gr.Number(precision=None, step=step, **given)  # a precision of 0 would cut 2.5 to 2 before anybody could object
    return gr.Textbox(**given)


def slider(key: str, config: Config, minimum: float, maximum: float, step: float, **settings: Any) -> gr.Slider:
    """A setting as a slider over the part of its range that is worth dragging through."""
    given = {"label": label_of(key), "info": field_of(key).metadata["help"], "elem_id": "field-" + key.replace(".", "-"), **settings}
    return Slider(minimum, maximum, value=config.value(key), step=step, **given)


def step_of(default: Any, high: float) -> float:
    """What an arrow key adds: a tenth of the default's magnitude, or of its distance from 1 where that is less (0.999)."""
    sizes = [size for size in (abs(default), 1 - abs(default)) if size > 0] if default else [high]
    return float(f"1e{math.floor(math.log10(min(sizes)) + 1e-9) - 1}")


def read(config: Config, key: str, value: Any) -> Any:
    """A control's value as the setting's type; ValueError where it is empty or whatever the setting refuses by itself."""
    if value is None:
        raise ValueError(f"{key} is empty: give a value, e.g. {shown(config, key)}")
    return check_field(getattr(config, key.partition(".")[0]), field_of(key), value)


def problems(config: Config, values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with each of the values by itself, by key; ValueError for a key that is unknown."""
    found: dict[str, str] = {}
    for key, value in values.items():
        field_of(key)
        try:
            read(config, key, value)
        except ValueError as error:
            found[key] = str(error)
    return found


def changed(config: Config, keys: Sequence[str], values: Iterable[Any]) -> Config:
    """`config` with the controls' values; ValueError that names all that are empty or refused, or why they do not go together."""
    changes = dict(zip(keys, values, strict=True))
    found = list(problems(config, changes).values())
    if found:
        rest = f"; and {len(found) - LISTED} more" if len(found) > LISTED else ""
        raise ValueError("; ".join(found[:LISTED]) + rest)
    return config.replace(changes)
