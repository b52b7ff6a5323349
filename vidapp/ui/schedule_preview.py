"""What a recipe changes over a run, before it begins: learning rate, masks, objectives and clip length against the step."""

from typing import TYPE_CHECKING, Any

from ..config import Config
from ..plots import COLOURS, DASHES, GRID
from ..schedules import OBJECTIVES, clip_frames, learning_rate, mean_mask_ratio, objective_weights, own_past, progress_of

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

POINTS = 200
OWN_PAST = "own past"
ROWS = ("Learning rate over the steps", "Objectives and mask ratio", "Frames in a clip")
HEIGHTS = (0.4, 0.36, 0.24)


def curves(config: Config) -> dict[str, list[Any]]:
    """Name -> values at the steps of `step`; at most POINTS of them, first and last among them."""
    steps = steps_of(config.run.steps)
    places = [progress_of(step, config.run.steps) for step in steps]
    weights = [objective_weights(config.recipe, place) for place in places]
    frames = [clip_frames(config.recipe, config.data, place) for place in places]
    own = [own_past(config, count, place) for count, place in zip(frames, places, strict=True)]
    return {
        "step": steps,
        "learning rate": [learning_rate(step, config.run.steps, config.recipe) for step in steps],
        "mask ratio, mean": [mean_mask_ratio(config.recipe, place) for place in places],
        "frames": frames,
        **{name: [weight[name] for weight in weights] for name in OBJECTIVES},
        **({OWN_PAST: own} if any(own) else {}),
    }


def steps_of(total: int) -> list[int]:
    """Steps from the first to the last, denser at the beginning, where a warm-up is."""
    places = {round((total - 1) * (index / (POINTS - 1)) ** 2) for index in range(POINTS)}
    even = {round((total - 1) * index / (POINTS // 2)) for index in range(POINTS // 2 + 1)}
    return sorted(places | even)


def schedule_figure(config: Config) -> "Figure":
    """Three small charts over one axis of steps."""
    from plotly.subplots import make_subplots

    found = curves(config)
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, row_heights=HEIGHTS, vertical_spacing=0.11, subplot_titles=ROWS)
    look = 0
    for row, names in ((1, ["learning rate"]), (2, [*OBJECTIVES, "mask ratio, mean", *({OWN_PAST} & found.keys())]), (3, ["frames"])):
        for name in names:
            line = {"color": COLOURS[look % len(COLOURS)], "width": 2, "dash": DASHES[look % len(DASHES)] if row == 2 else "solid"}
            place = {"row": row, "col": 1}
            shape = "hv" if row != 1 else "linear"
            figure.add_scatter(
                x=found["step"], y=found[name], name=name, mode="lines", line={**line, "shape": shape}, showlegend=row == 2, **place
            )
            look += row == 2
    axis = {"gridcolor": GRID, "zeroline": False}
    figure.update_xaxes(showgrid=False, zeroline=False)
    figure.update_yaxes(**axis, rangemode="tozero", nticks=4)
    figure.update_yaxes(row=1, col=1, exponentformat="e", showexponent="all")
    figure.update_annotations(x=0, xanchor="left", font_size=11)
    figure.update_layout(legend={"orientation": "h", "x": 0, "y": -0.12, "yanchor": "top", "font": {"size": 10}}, hovermode="x")
    return figure
