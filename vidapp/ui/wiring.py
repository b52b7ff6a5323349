"""How events are registered: what shares the processor waits in one line, what is quick waits for nobody."""

from typing import Any

import gradio as gr

COMPUTE: dict[str, Any] = {"concurrency_id": "compute", "concurrency_limit": 1}
QUICK: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden"}


def in_turn(what: str) -> dict[str, Any]:
    """For quick events that show the same thing: one after the other, those of all pages, so that an older answer never lands on a newer
    one."""
    return beside(what, 1)


def beside(what: str, limit: int) -> dict[str, Any]:
    """For those that may take long on some page and see themselves to it that they land on nothing newer: so many at once."""
    return {"concurrency_id": what, "concurrency_limit": limit, "show_progress": "hidden"}


def text_of(event: gr.EventData, name: str) -> str:
    """What an event says under that name; empty where it says nothing, or something that no script of ours sends."""
    found = event._data.get(name, "") if isinstance(event._data, dict) else ""
    return found if isinstance(found, str) else str(found) if isinstance(found, int) else ""


PRIVATE: dict[str, Any] = {"api_visibility": "private"}  # not in the API's documentation; no protection, and not meant as one
AGAIN: dict[str, Any] = {
    "trigger_mode": "multiple"
}  # may be asked for again before it is done; else the browser drops what comes meanwhile
