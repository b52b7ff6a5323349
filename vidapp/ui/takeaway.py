"""A draft to take away: the shell command that trains the same, and its config as a file."""

import re
from typing import Any

import gradio as gr

from .drafts import Draft
from .estimates import launch_command
from .theme import static

GPUS = 8  # in the example
NAME_LENGTH = 60


def takeaway(draft: Draft, **settings: Any) -> gr.HTML:
    """The component; its value is that of `takeaway_value`."""
    return gr.HTML(
        value=takeaway_value(draft),
        html_template=static("takeaway.html"),
        css_template=static("takeaway.css"),
        js_on_load=static("takeaway.js"),
        apply_default_css=False,
        **settings,
    )


def takeaway_value(draft: Draft) -> dict[str, Any]:
    if draft.refused or draft.unoffered:
        # nothing is taken away that differs from what the form shows, or that the page would not take back
        nothing = f"# None while a setting cannot be: {' '.join((draft.refusal or draft.unoffered).split())}"
        return {"command": nothing, "launch": nothing, "json": "", "name": ""}
    command = draft.command()
    return {
        "command": command,
        "launch": launch_command(command, GPUS),
        "json": draft.config.to_json() + "\n",
        "name": file_name(draft),
    }


def file_name(draft: Draft) -> str:
    """The preset and what is changed of it, as far as a name should go: `debug-layers-4-dropout-0.1.json`."""
    changed = [f"{key.partition('.')[2]}-{value}" for key, value in draft.changes.items()]
    name = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join([draft.preset, *changed]))
    return f"{name[:NAME_LENGTH].rstrip('-.')}.json"
