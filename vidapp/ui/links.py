"""Addresses that reproduce what is on the page: a generation as the query of a link, and back.

`?tab=generate&checkpoint=bundled&clip=3&seed=1&temperature=0.8&...` names every setting that decides the frames. Nothing that
only one visitor has (an uploaded file) can be named; a query is what a stranger wrote, so every value is checked when it is used.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from ..config import field_of
from .address import kept
from .choices import Chosen
from .session import DROPPED_CHOICE
from .theme import static

# the name in a link -> the field of `Chosen`, and how its text is read
NUMBERS = {"clip": "number", "given": "given", "frames": "frames", "top_k": "top_k", "steps": "steps", "seed": "seed"}
SHARES = {"temperature": "temperature"}
TEXTS = {"checkpoint": "checkpoint", "draw": "drawing", "choice": "choice", "order": "order"}
FLAGS = {"anneal": "anneal"}
NAMES = {**TEXTS, **NUMBERS, **SHARES, **FLAGS}
NONE = f"Object.fromEntries({json.dumps(list(NAMES))}.map((name) => [name, null]))"  # JavaScript: nothing of a generation
CHOICES = {name: field_of(f"sampling.{name}").metadata["choices"] for name in ("choice", "order")}
LONGEST = 8192  # characters of one value
LONGEST_NUMBER = 12  # digits: no control holds more


def generation_of(query: Mapping[str, str]) -> dict[str, Any]:
    """The choices that a link names, by field of `Chosen`; none where it names no generation. ValueError for what cannot be read."""
    return {field: read(name, query[name]) for name, field in NAMES.items() if name in query}


def read(name: str, text: str) -> Any:
    """One value of a link; its range is checked where it is used."""
    if len(text) > (LONGEST_NUMBER if name in NUMBERS else LONGEST):
        raise ValueError(f"the link's {name} is {len(text)} characters long: it cannot be meant")
    try:
        if name in NUMBERS:
            return int(text)
        if name in SHARES:
            return float(text)
    except ValueError:
        raise ValueError(f"the link says {name}={text[:40]!r}: that is no number") from None
    if name in FLAGS:
        if text not in ("0", "1"):
            raise ValueError(f"the link says {name}={text[:40]!r}: use 1 or 0")
        return text == "1"
    if (known := CHOICES.get(name)) and text not in known:
        raise ValueError(f"the link says {name}={text[:40]!r}: use one of {', '.join(known)}")
    return text


def recipe(chosen: Chosen) -> str:
    """The settings of a generation as JSON by field, for `copy_script`. Paths of a visitor's files are left out."""
    fields = dataclasses.asdict(chosen)
    return json.dumps({name: value for name, value in fields.items() if name not in ("dropped", "upload")})


def copy_script(fields: list[str]) -> str:
    """JavaScript that copies the link of what is shown, its values as JSON by field (empty where nothing is generated yet, then that of the
    controls), and returns a line about it; the controls' values follow in the order of `fields`."""
    return static("link.js").replace("FIELDS", json.dumps(fields), 1).replace("QUERY", query_script(), 1)


def keep_script(opening: str) -> str:
    """JavaScript that puts the link of what is shown, its values as JSON by field, into the page's own address, where the page has made it
    (its key comes second, and is not that of the `opening`, of which no page has need) with the checkpoint that is chosen still."""
    query = f"Object.fromEntries(new URLSearchParams(({query_script()})(JSON.parse(shown))))"
    other = f"!shown || !made || made === {json.dumps(opening)} || JSON.parse(shown).checkpoint !== checkpoint"
    return kept("generate", f"(shown, made, checkpoint) => {other} ? {{}} : {{tab: 'generate', ...{NONE}, ...{query}}}")


def choose_script() -> str:
    """JavaScript that puts the checkpoint which was chosen into the page's own address, in place of what was generated with another one."""
    return kept("generate", f"(checkpoint) => ({{...{NONE}, checkpoint: checkpoint === {json.dumps(DROPPED_CHOICE)} ? null : checkpoint}})")


def query_script() -> str:
    """JavaScript from values by field to the query of a link; empty where a link cannot hold them."""
    return static("link-query.js").strip().replace("NAMES", json.dumps(NAMES), 1)
