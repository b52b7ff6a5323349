"""Compare with a sick run: the curves of a run under those of a bundled example, with what there is to see in them."""

import html
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..plots import add_curve, add_level, empty_figure
from ..run_reader import RunReader
from ..sick_runs import HEALTHY, SICK_RUNS, Example, open_example
from .history import HISTORIES
from .plot import chart, figure_value

LOSS, SCORED = "transformer/loss", "transformer/validation_loss_full"
LONGER = 3  # times as long as the example: then its steps are stretched, or it would be a sliver
NONE = ""
Curve = tuple[list[float], list[float | None]]


@dataclass(frozen=True)
class SickCompare:
    """The controls: which example, what to see in it, and the curves."""

    choice: gr.Dropdown
    words: gr.HTML
    plot: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        return [self.words, self.plot]

    def show(self, run: RunReader | None, name: str | None) -> dict[Any, Any]:
        """The example's curves under those of a run; of the healthy one where no run is given. Nothing without a name.

        ValueError for an unknown example.
        """
        if not name:
            return {self.words: "", self.plot: None}
        if name not in SICK_RUNS:
            raise ValueError(f"there is no bundled example {name[:60]!r}: choose one of the list")
        example = SICK_RUNS[name]
        own = run or open_example(HEALTHY.name)
        return {self.words: words_html(example), self.plot: figure_of(own, example)}


def words_html(example: Example) -> str:
    return f'<p class="hint"><b>{html.escape(example.title)} (dashed).</b> {html.escape(example.see)}</p>'


def figure_of(own: RunReader, example: Example) -> dict[str, Any] | None:
    """Training and validation loss of both; None where the run has none yet."""
    mine, theirs = curves_of(own), curves_of(open_example(example.name))
    if not mine:
        return None
    times = stretch(mine, theirs)
    stretched = f", steps × {times:.2g}" if times > 1 else ""
    figure = empty_figure("step", "nats per masked token")
    for place, (label, key) in enumerate((("training", LOSS), ("validation", SCORED))):
        if key in mine:
            add_curve(figure, f"{own.name}: {label}", mine[key], look=0 if place else 5, plain=True)
        if key in theirs:
            steps, values = theirs[key]
            add_curve(
                figure, f"{example.title.lower()}: {label}{stretched}", ([step * times for step in steps], values), look=1 if place else 3
            )
    for name, level in levels_of(own).items():
        add_level(figure, name, level)
    return figure_value(figure)


def stretch(mine: dict[str, Curve], theirs: dict[str, Curve]) -> float:
    """By how much the example's steps are multiplied: 1 unless the run is several times as long."""
    last = [max((curve[0][-1] for curve in curves.values() if curve[0]), default=0.0) for curves in (mine, theirs)]
    share = last[0] / last[1] if last[1] else 1.0
    return share if share > LONGER else 1.0


def curves_of(run: RunReader) -> dict[str, Curve]:
    history = HISTORIES.follow(run, to_end=True)
    with history.lock:
        return {
            key: (list(map(float, curve.steps)), list(curve.values))
            for key in (LOSS, SCORED)
            if (curve := history.curves.get(key)) and curve.steps
        }


def levels_of(run: RunReader) -> dict[str, float]:
    history = HISTORIES.follow(run, to_end=True)
    entropy = history.newest.get("transformer", {}).get("unigram_entropy")
    return {} if entropy is None else {"token frequency alone": entropy}


def build() -> SickCompare:
    """Lay the part out."""
    with gr.Accordion("Compare with a sick run", open=False, elem_id="sick-compare"):
        choice = gr.Dropdown(
            [("none", NONE), *((example.title, example.name) for example in SICK_RUNS.values())], value=NONE, label="Bundled example",
            elem_id="sick-choice", info="Real runs of equal seed and length, each with one defect; the healthy one to see how it should look.",
        )  # fmt: skip
        words = gr.HTML("", elem_id="sick-words", apply_default_css=False, padding=False)
        plot = chart(label="Loss of the run and of the bundled example over the training step", elem_id="sick-chart")
    return SickCompare(choice, words, plot)
