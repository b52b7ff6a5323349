"""Settings that describe themselves: dataclass fields with help, unit, bounds and choices, checked when made."""

import dataclasses
import functools
import math
import types
import typing
from dataclasses import dataclass
from typing import Any, cast


def option(
    default: Any,
    help: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    first_order: bool = False,
) -> Any:
    """A dataclass field with its help, unit, inclusive bounds and choices; `first_order` ones are shown first."""
    facts = {"help": help, "unit": unit, "low": low, "high": high, "choices": choices, "first_order": first_order}
    return dataclasses.field(default=default, metadata=facts)


@dataclass(frozen=True, kw_only=True)
class Section:
    """A group of settings. Making one checks every field against its type, bounds and choices (ValueError)."""

    @classmethod
    def name(cls) -> str:
        """The section's name in JSON and in dotted keys: `model` for ModelConfig."""
        return cls.__name__.removesuffix("Config").lower()

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = check_field(self, field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)


def refuse_unknown(values: dict[str, Any], known: Any, what: str) -> None:
    for name in values:
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}: known are {', '.join(known)}")


def check_field(section: Section, field: dataclasses.Field[Any], value: Any) -> Any:
    """The value converted to the field's type; ValueError names the key, the value and what is allowed."""
    key = f"{section.name()}.{field.name}"
    kind = types_of(cast(Any, type(section)))[field.name]
    value = convert(key, value, kind)
    facts = field.metadata
    if facts["choices"] and value not in facts["choices"]:
        raise ValueError(f"{key} is {value!r}: use one of {', '.join(facts['choices'])}")
    for part in value if isinstance(value, tuple) else (value,):
        if isinstance(part, (int, float)) and not isinstance(part, bool):
            check_bounds(key, part, facts["low"], facts["high"])
    return value


@functools.cache
def types_of(kind: Any) -> dict[str, Any]:
    """The annotated type of each field of a section (its class): looked up once, since a form checks all of them at each edit."""
    return typing.get_type_hints(kind)


def check_bounds(key: str, value: float, low: float | None, high: float | None) -> None:
    if not math.isfinite(value):
        raise ValueError(f"{key} is {value}: it must be a finite number")
    if (low is not None and value < low) or (high is not None and value > high):
        raise ValueError(f"{key} is {value}: it must lie between {low} and {high}")


def convert(key: str, value: Any, kind: Any) -> Any:
    """Turn a JSON value or a text typed by a person into `kind` (bool, int, float, str or a tuple of ints)."""
    if isinstance(kind, types.GenericAlias):
        parts = [part for part in value.replace(" ", "").strip("[]()").split(",") if part] if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)):
            raise ValueError(f"{key} is {value!r}: give whole numbers with commas between them")
        return tuple(convert(key, part, int) for part in parts)
    if kind is bool:
        return convert_bool(key, value)
    if kind is str:
        if not isinstance(value, str):
            raise ValueError(f"{key} is {value!r}: it must be a text")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{key} is {value!r}: it must be a number")
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{key} is {str(value)[:60]!r}: it must be a number") from error
    if kind is int:
        if not math.isfinite(number) or number != int(number):
            raise ValueError(f"{key} is {value!r}: it must be a whole number")
        return int(number)
    return number


def convert_bool(key: str, value: Any) -> bool:
    texts = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in texts:
        return texts[value.lower()]
    raise ValueError(f"{key} is {value!r}: it must be true or false")
