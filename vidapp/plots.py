"""Figures from plain lists, in one quiet style: transparent, so that they sit on a light and on a dark page.

Colours are Okabe and Ito's, told apart by most colour-blind eyes, and every curve has a dash of its own besides. Plotly is
imported when the first figure is made, not when the app starts.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from plotly.graph_objects import Figure

Value = float | None
Curve = tuple[Sequence[float], Sequence[Value]]
"""(x, y) of equal length; None or a non-finite number in y is a gap."""

MOST_POINTS = 2000
INK = "#7a7a7a"  # text and axes: readable on white and on near-black
GRID = "rgba(122, 122, 122, 0.22)"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
KNOWN = {  # one look for one thing, whichever figure it is in
    "prediction": 0,
    "repeat_last": 1,
    "reconstruction": 2,
    "pixel_mean": 4,
    "black": 5,
}
LABELS = {
    "repeat_last": "repeat the last frame",
    "pixel_mean": "mean training frame",
    "black": "all black",
    "reconstruction": "tokenizer alone",
}


def error_curve(
    per_frame: Mapping[str, Sequence[Value]], *, metric: str = "MSE", unit: str = "summed over the pixels of a frame"
) -> "Figure":
    """One error curve a name over the future frames, numbered from 1: `{"prediction": [...], "repeat_last": [...]}`."""
    figure = empty_figure("future frame", f"{metric} ({unit})" if unit else metric)
    for place, (name, errors) in enumerate(per_frame.items()):
        add_curve(figure, name, (list(range(1, len(errors) + 1)), errors), look=KNOWN.get(name, place), markers=True)
    longest = max((len(errors) for errors in per_frame.values()), default=0)
    step = max(1, math.ceil(longest / 10))
    figure.update_xaxes(dtick=step, tick0=step, range=[0.5, longest + 0.5] if longest else None)
    figure.update_yaxes(rangemode="tozero")
    return figure


def loss_figure(curves: Mapping[str, Curve], *, log: bool = False, y_title: str = "loss (nats per masked token)") -> "Figure":
    """Curves over steps: `{"one run": (steps, losses), "another": (steps, losses)}`, each with steps of its own."""
    figure = empty_figure("step", y_title)
    for place, (name, curve) in enumerate(curves.items()):
        add_curve(figure, name, curve, look=place)
    kind = "log" if log else "linear"
    figure.update_yaxes(type=kind, uirevision=kind)  # a zoom of the one axis means nothing on the other
    return figure


def code_use_figure(counts: "Mapping[str, Sequence[int] | NDArray[Any]]") -> "Figure":
    """How evenly a codebook is used: the share of the tokens that each used code has, most used first, on a log axis.

    counts: `{"this clip": how often each id occurs}`, the first as bars, others as lines. Hovering names the id.
    """
    figure = empty_figure("code, most used first", "share of the tokens (%)")
    for place, (name, used) in enumerate(counts.items()):
        order = sorted((id for id, count in enumerate(used) if count > 0), key=lambda id: (-int(used[id]), id))
        total = sum(int(used[id]) for id in order)
        points = {
            "x": list(range(1, len(order) + 1)),
            "y": [100 * int(used[id]) / total for id in order],
            "customdata": order,
            "name": name,
            "hovertemplate": "id %{customdata}: %{y:.3g} %",
        }
        if place == 0:
            figure.add_bar(**points, marker={"color": COLOURS[0], "line": {"width": 0}})
        else:
            figure.add_scatter(
                **points, mode="lines", line={"color": COLOURS[place % len(COLOURS)], "width": 2, "dash": DASHES[place % len(DASHES)]}
            )
    figure.update_layout(bargap=0.1)
    figure.update_yaxes(type="log")
    return figure


def empty_figure(x_title: str, y_title: str) -> "Figure":
    """A figure in the house style with nothing in it. `uirevision` keeps a person's zoom when new points come."""
    from plotly.graph_objects import Figure

    axis = {"gridcolor": GRID, "linecolor": INK, "zeroline": False, "automargin": True, "ticks": "outside", "tickcolor": GRID}
    layout = {
        "template": "none",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": INK, "size": 12},
        "margin": {"l": 56, "r": 12, "t": 28, "b": 44},
        "height": 300,
        "hovermode": "x unified",
        "hoverlabel": {"font": {"color": "#222222"}, "bgcolor": "#ffffff"},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "showlegend": True,
        "uirevision": "keep",
        "xaxis": {**axis, "title": {"text": x_title}, "showgrid": False},
        "yaxis": {**axis, "title": {"text": y_title}},
    }
    return Figure(layout=layout)


def add_curve(figure: "Figure", name: str, curve: Curve, *, look: int, markers: bool = False, plain: bool = False) -> None:
    """Draw a curve; `look` picks colour and dash, of which a plain one has none."""
    steps, values = thinned(*curve)
    colour, dash = COLOURS[look % len(COLOURS)], DASHES[look % len(DASHES)]
    figure.add_scatter(
        x=steps,
        y=values,
        name=LABELS.get(name, name),
        mode="lines+markers" if markers or len(steps) == 1 else "lines",  # a line through one point is nothing
        line={"color": colour, "dash": "solid" if plain else dash, "width": 2},
        marker={"color": colour, "size": 5},
        hovertemplate="%{y:.4g}",
    )


def add_level(figure: "Figure", name: str, level: float) -> None:
    """A named horizontal line; one that is no number is left out."""
    if not math.isfinite(level):
        return
    figure.add_shape(type="line", xref="paper", x0=0, x1=1, y0=level, y1=level, line={"color": INK, "width": 1, "dash": "dash"})
    figure.add_annotation(
        xref="paper",
        x=1,
        y=level,
        text=f"{name} {level:.3g}",
        showarrow=False,
        xanchor="right",
        yanchor="bottom",
        font={"size": 11, "color": INK},
    )


def thinned(steps: Sequence[float], values: Sequence[Value], most: int = MOST_POINTS) -> tuple[list[float], list[Value]]:
    """At most `most` points, the lowest and highest of each stretch among them, so that no spike is lost; gaps are None."""
    if len(steps) != len(values):
        raise ValueError(f"a curve has {len(steps)} steps but {len(values)} values: give one value a step")
    clean = [value if value is not None and math.isfinite(value) else None for value in values]
    if len(clean) <= most:
        return list(steps), clean
    stretch = math.ceil(2 * len(clean) / (most - 2))
    kept = {0, len(clean) - 1}
    for start in range(0, len(clean), stretch):
        places = range(start, min(start + stretch, len(clean)))
        known = [place for place in places if clean[place] is not None] or [start]
        kept |= {min(known, key=lambda place: clean[place] or 0.0), max(known, key=lambda place: clean[place] or 0.0)}
    order = sorted(kept)
    return [steps[place] for place in order], [clean[place] for place in order]
