"""The report of an examination: progress, a diagnosis, where it is lost, and a card for each check as it comes.

`look` is a public function of the server that bypasses the queue: it reads what is kept, and starts nothing.
"""

from typing import Any

import gradio as gr

from .examiner import EXAMINER, RUNNING
from .pace import Pace
from .theme import static

RUNNING_MS, IDLE_MS = 700, 4000
PACE = Pace(150)
EMPTY = "Nothing has been looked at yet. Say what you see, or run the checklist: what is found appears here as it is found."
EMPTY_READONLY = "Nothing has been looked at on this page yet. Run the quick checks: what is found appears here as it is found."
GONE = "This report is no longer kept: ask again."


def report_view(*, readonly: bool = False, **settings: Any) -> gr.HTML:
    """The component. Its value is {"key": key of a report}, empty for the newest one, or for none where `readonly`: that is a stranger's.

    Events: `settled` when a report has come to its end, `train_with` when its setting is to be tried; their data hold its `key`.
    """

    def look(asked: Any) -> dict[str, Any]:
        found = answer(asked, readonly=readonly)
        running = "running" in found or found.get("state") == RUNNING
        return {**found, "every_ms": PACE(RUNNING_MS if running else IDLE_MS)}

    return gr.HTML(
        value={"key": ""},
        html_template=static("report.html"),
        css_template=static("report.css"),
        js_on_load=static("say.js") + static("report.js"),
        server_functions=[look],
        apply_default_css=False,
        **settings,
    )


def key_of(value: Any) -> str:
    """The key in the component's value, which may be anything: it comes from a browser."""
    key = value.get("key") if isinstance(value, dict) else None
    return key if isinstance(key, str) else ""


def answer(asked: Any, *, readonly: bool = False) -> dict[str, Any]:
    """The report asked for, whole where it has changed since `serial`; never raises for bad input. readonly: nothing can be trained."""
    if readonly and not key_of(asked):
        return {"words": EMPTY_READONLY}
    report = EXAMINER.look(key_of(asked))
    if report is None:
        return {"words": GONE if key_of(asked) else EMPTY}
    found = report.to_dict() | ({"change": {}} if readonly else {})
    if key_of(asked) and found["serial"] == asked.get("serial"):
        short = {name: found[name] for name in ("state", "share", "what", "seconds")}
        return {"running": short} if found["state"] == RUNNING else {"same": True}
    return found
