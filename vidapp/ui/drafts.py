"""The run that is yet to be started: a preset and what differs from it. Configure, Train and whoever proposes a change share one.

It lies in the page's own storage (`build`), so that it survives a reload, and everything that a page says is checked again here.
"""

import contextlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import gradio as gr

from ..config import Config, as_argument, field_of
from ..failures import told_to_strangers
from ..presets import PRESETS, preset
from ..run_tokenizers import tokenizer_in, trained_before
from . import form, sources
from .messages import said
from .wishes import Wishes
from .words import count

FIRST_PRESET = "debug"
STORAGE = "vidapp-draft"


@dataclass(frozen=True)
class Draft:
    """`changes`: dotted key -> value wherever the config is not the preset's. `data.source` is a choice of `sources`, no path.

    `refused`: what the form shows besides and the config cannot take, by dotted key, as it was given. It keeps its place, so that
    the form always shows what the page holds, and until it is corrected nothing is trained (`sound`).
    """

    preset: str
    changes: Mapping[str, Any]
    refused: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(name: str, changes: Mapping[str, Any]) -> "Draft":
        """The preset of that name with changes by dotted key; ValueError in the config's words for what cannot be."""
        return Draft.of_config(preset(name).replace(dict(changes)), name)

    @staticmethod
    def of_config(config: Config, name: str | None = None) -> "Draft":
        """The draft of a whole config, beside the preset of that name or the one that it differs least from."""
        config = sources.offered(config)
        if name is None:
            name = min(PRESETS, key=lambda known: len(config.differences(preset(known))))
        differences = config.differences(preset(name))
        return Draft(name, {key: plain(mine) for key, (mine, _) in differences.items()})

    @staticmethod
    def of_form(name: str, values: Mapping[str, Any]) -> "Draft":
        """The draft of a form over the preset of that name: what can be is taken, the rest kept as refused.

        ValueError for an unknown preset or key alone.
        """
        before = preset(name)
        refused = {key: values[key] for key in form.problems(before, values)}
        possible = {key: value for key, value in values.items() if key not in refused}
        try:
            config = before.replace(possible)
        except ValueError:
            config, clashing = take_what_goes(before, possible)
            refused |= clashing
        return Draft(name, Draft.of_config(config, name).changes, {key: plain(value) for key, value in refused.items()})

    @staticmethod
    def of_value(value: Any) -> "Draft":
        """The draft that a page holds; ValueError where that is none (any more): it may be old, or forged."""
        if not isinstance(value, dict) or not isinstance(value.get("changes"), dict) or not isinstance(value.get("refused", {}), dict):
            raise ValueError("what this page holds of the new run cannot be read: choose a preset")
        draft = Draft.of(str(value.get("preset")), value["changes"])
        return draft.edited(value["refused"]) if value.get("refused") else draft

    @staticmethod
    def held(value: Any) -> "Draft":
        """As `of_value`, but the first preset in place of what cannot be read."""
        try:
            return Draft.of_value(value)
        except ValueError:
            return FIRST

    @property
    def value(self) -> dict[str, Any]:
        """What the page holds of it, as JSON."""
        refused = {"refused": dict(self.refused)} if self.refused else {}
        return {"preset": self.preset, "changes": dict(self.changes), **refused}

    @property
    def config(self) -> Config:
        """The preset with its changes; what is refused is not in it: see `sound`."""
        return preset(self.preset).replace(dict(self.changes))

    @property
    def asked(self) -> dict[str, Any]:
        """Whatever the form shows that is not the preset's."""
        return {**self.changes, **self.refused}

    @property
    def refusal(self) -> str:
        """Why what is refused cannot be; empty where nothing is."""
        try:
            form.changed(self.config, list(self.refused), self.refused.values())
        except ValueError as error:
            return str(error)
        return ""

    @property
    def trouble(self) -> str:
        """Why the draft cannot be trained or looked at as a whole; empty where it can."""
        values = "a value" if len(self.refused) == 1 else "values"
        return f"Configure holds {values} that cannot be: {self.refusal}" if self.refused else ""

    @property
    def unoffered(self) -> str:
        """Why its data cannot be had here, though the config takes the name; empty where it can."""
        return sources.refusal(self.config.data.source)

    def sound(self) -> "Draft":
        """The draft itself, to be trained or looked at as a whole; ValueError where a value in the form cannot be."""
        if self.refused:
            raise ValueError(self.trouble)
        return self

    def edited(self, values: Mapping[str, Any]) -> "Draft":
        """With values of the form."""
        return Draft.of_form(self.preset, {**self.asked, **values})

    def without(self, key: str) -> "Draft":
        """That setting as the preset has it. Others that do not allow it are refused then."""
        field_of(key)
        return Draft.of_form(self.preset, {name: value for name, value in self.asked.items() if name != key})

    def on(self, name: str) -> "Draft":
        """The same on another preset. ValueError where the changes do not go with it."""
        Draft.of(name, self.changes)
        return Draft.of_form(name, self.asked)

    def moved(self, name: str) -> tuple["Draft", str]:
        """The same on another preset and nothing to say, or, where the changes do not go with it, that preset alone and what was dropped."""
        try:
            return self.on(name), ""
        except ValueError as error:
            return Draft.of(name, {}), f"{count(len(self.asked), 'change')} dropped, which did not go with {name}: {error}"

    def chips(self) -> list[dict[str, Any]]:
        """Each difference for the eye: key, label, the preset's value, this one, and whether it cannot be; what the config refuses first."""
        before, after = preset(self.preset), self.config
        cannot = {*self.refused, *(["data.source"] if self.unoffered else [])}
        values = {**self.refused, **{key: after.value(key) for key in self.changes if key not in self.refused}}
        return [
            {
                "key": key,
                "label": form.label_of(key),
                "before": shown(before.value(key)),
                "after": shown(value),
                "refused": key in cannot,
            }
            for key, value in values.items()
        ]

    def command(self) -> str:
        """The shell command that trains the same. Clips that are not on this machine keep the name that they were given; to strangers all
        do."""
        config = self.config
        with contextlib.suppress(ValueError):
            config = sources.resolved(config)
        if told_to_strangers():
            config = sources.offered(config)
        changes = [f"{key}={as_argument(mine)}" for key, (mine, _) in config.differences(preset(self.preset)).items()]
        earlier = None if told_to_strangers() else trained_before(config)
        tokenizer = ["--tokenizer", shlex.quote(as_typed(tokenizer_in(earlier)))] if earlier else []
        changed = ["--set", *map(shlex.quote, changes)] if changes else []
        return " ".join(["python -m vidapp train --preset", self.preset, *tokenizer, *changed])


def as_typed(path: Path) -> str:
    """A path as somebody in the working folder types it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def take_what_goes(config: Config, values: Mapping[str, Any]) -> tuple[Config, dict[str, Any]]:
    """`config` with as many of the values, each possible by itself, as go with it in their order; and the others."""
    left = {key: value for key, value in values.items() if form.read(config, key, value) != config.value(key)}
    while True:
        before = len(left)
        for key, value in list(left.items()):
            with contextlib.suppress(ValueError):
                config = config.replace({key: value})
                del left[key]
        if len(left) in (0, before):
            return config, left


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def shown(value: Any) -> str:
    """A value as a person reads it, also one that cannot be."""
    if value is None or value == "":
        return "empty"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


FIRST = Draft.of(FIRST_PRESET, {})


class Looks:
    """What a tab looks up of each page's draft. That takes a while: of drafts that follow on one another the newest alone is looked at."""

    def __init__(self) -> None:
        self.wishes = Wishes()

    def claim(self, request: gr.Request, draft: Draft) -> None:
        self.wishes.claim(request.session_hash, "look", (json.dumps(draft.value),))

    def begin(self, request: gr.Request) -> tuple[int, Draft] | None:
        """The page's newest draft and its number for `hold`, where nobody has begun with it."""
        wish = self.wishes.begin(request.session_hash, "look")
        return (wish.number, Draft.of_value(json.loads(wish.values[0]))) if wish else None

    def hold(self, request: gr.Request, number: int) -> bool:
        """Whether the page's newest draft still is that one."""
        return self.wishes.holds(request.session_hash, number)


class ShowsDraft(Protocol):
    """A tab in which the page's draft is seen and edited."""

    @property
    def message(self) -> gr.HTML: ...
    def show(self, draft: Draft) -> dict[Any, Any]: ...


def choose_preset(tab: ShowsDraft, name: str, held: Any) -> dict[Any, Any]:
    """Another preset was chosen in a tab: the changes are kept on it; where they do not go with it it is shown alone, and that is said."""
    draft = Draft.held(held)
    if name == draft.preset:
        return {tab.message: gr.skip()}  # the list was left as it was
    kept, dropped = draft.moved(name)
    return {**tab.show(kept), **({tab.message: said(dropped)} if dropped else {})}


def build() -> gr.BrowserState:
    """The page's draft. The key only has to be the same after a restart: nothing in it is secret."""
    return gr.BrowserState(FIRST.value, storage_key=STORAGE, secret=STORAGE)


def preset_control(elem_id: str) -> gr.Dropdown:
    return gr.Dropdown(list(PRESETS), value=FIRST.preset, label="Preset", info=preset_help(FIRST.preset), filterable=False, elem_id=elem_id)


def preset_help(name: str) -> str:
    """What a preset is for, in its own words."""
    return " ".join((PRESETS[name].__doc__ or "").split())
