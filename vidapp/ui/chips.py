"""How a draft is shown: its preset, and a chip for each setting that differs from it. A click resets that one."""

from typing import Any

import gradio as gr

from .drafts import Draft
from .theme import static


def chips(draft: Draft, **settings: Any) -> gr.HTML:
    """The component; its value is that of `chips_value`. Events: `reset` (its data holds `key`) and `reset_all`."""
    return gr.HTML(
        value=chips_value(draft),
        html_template='<div class="chips" tabindex="-1" role="group" aria-label="Settings that differ from the preset"></div>',
        css_template=static("chips.css"),
        js_on_load=static("chips.js"),
        apply_default_css=False,
        **settings,
    )


def chips_value(draft: Draft) -> dict[str, Any]:
    return {"preset": draft.preset, "chips": draft.chips()}
