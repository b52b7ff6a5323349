"""What is chosen on a tab, in the page's own address, and back: a reload, or a link that is handed on, shows the same again.

A query is what a stranger wrote: every value must be one that its control can have.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from .theme import static

LONGEST = 200  # characters of one value
Choices = Sequence[tuple[str, Any]]


@dataclass(frozen=True)
class Address:
    """The controls of a tab by their names in the query. `linked`: a box that is never seen; it changes where a page was opened with an
    address that names something of the tab. `lists`: what those offer now whose choices are not always the same; `own`: values
    that mean something of this very page, which no link can hold."""

    tab: str
    controls: Mapping[str, Any]
    linked: gr.Textbox
    lists: Mapping[str, Callable[[], Choices]] = field(default_factory=dict)
    own: tuple[str, ...] = ()

    def script(self) -> str:
        """JavaScript that puts the controls' values, in their order, into the address; those that they begin with need not be there."""
        first = [control.value for control in self.controls.values()]
        names, begun, own = (json.dumps(value) for value in (list(self.controls), first, self.own))
        held = f"value === null || value === {begun}[index] || {own}.includes(value) ? null : value"
        return kept(
            self.tab, f"(...values) => Object.fromEntries({names}.map((name, index) => [name, ((value) => {held})(values[index])]))"
        )

    def arrive(self, request: gr.Request) -> dict[Any, Any]:
        """The page was opened: what its address names is chosen."""
        named = self.named(dict(request.query_params or {}))
        return {**named, self.linked: str(request.query_params)} if named else {}

    def named(self, query: Mapping[str, str]) -> dict[Any, Any]:
        """The values that a link to this tab names, by control. ValueError for what a control cannot have."""
        if query.get("tab") != self.tab:
            return {}
        return {control: self.read(name, control, query[name]) for name, control in self.controls.items() if name in query}

    def read(self, name: str, control: Any, text: str) -> Any:
        said = f"the link says {name}={text[:60]!r}"
        if len(text) > LONGEST:
            raise ValueError(f"{said}...: it cannot be meant")
        if isinstance(control, (gr.Radio, gr.Dropdown)):
            offered = self.lists[name]() if name in self.lists else control.choices
            for _, value in offered:
                if str(value) == text:
                    return value
            raise ValueError(f"{said}: that is not offered here (any more)")
        return number_of(said, control, text) if isinstance(control, (gr.Slider, gr.Number)) else text


def number_of(said: str, control: gr.Slider | gr.Number, text: str) -> int | float:
    """A number that the control can have; ValueError for any other."""
    low, high = (-math.inf if control.minimum is None else control.minimum), (math.inf if control.maximum is None else control.maximum)
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{said}: that is no number") from None
    if not (low <= number <= high and math.isfinite(number)):
        raise ValueError(f"{said}: use {low:g} to {high:g}" if math.isfinite(high) else f"{said}: that cannot be meant")
    return int(number) if number == int(number) else number


def kept(tab: str, changes: str) -> str:
    """JavaScript that puts into the page's address, where it is that of `tab`, what `changes` makes of the values that it is given:
    an object of texts by their names in the query, null for a name that goes."""
    return static("address.js").replace("TAB", json.dumps(tab), 1).replace("CHANGES", changes, 1)
