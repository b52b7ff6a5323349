"""Plotly charts drawn by Plotly's own script, which the app serves itself: Gradio's copy is of an older major version."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import plotly

from .theme import static

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"


def serve_plotly() -> str:
    """Let the app serve the script (this one file); returns the path that pages ask for."""
    gr.set_static_paths([PLOTLY])
    return PLOTLY.as_posix()


def with_plotly(script: str) -> str:
    """A component's script with `loadPlotly(props.plotly)` at hand."""
    return static("plotly.js") + static(script)


def chart(value: dict[str, Any] | None = None, *, label: str, **settings: Any) -> gr.HTML:
    """A chart of one figure: its value is {"data": traces, "layout": layout}, None for an empty place. `label` is read out."""
    return gr.HTML(
        value=value,
        html_template='<div class="chart-box" hidden><div class="plot" role="img"></div></div>',
        css_template=".chart-box { color: var(--body-text-color); } .plot { width: 100%; height: calc(clamp(230px, 20vw, 340px) * var(--page-scale, 1)); }",
        js_on_load=with_plotly("chart.js"),
        plotly=serve_plotly(),
        title=label,
        apply_default_css=False,
        **settings,
    )


def figure_value(figure: "Figure") -> dict[str, Any]:
    """A Plotly figure as the value of a `chart`; its height is left to the place that it is shown in."""
    parts = json.loads(figure.to_json())
    return {"data": parts["data"], "layout": {name: value for name, value in parts["layout"].items() if name not in ("height", "template")}}
