"""The README's picture of how cost grows: `python -m vidapp bench growth --json > growth.json && PYTHONPATH=. python tests/draw_growth.py growth.json`.

One panel for frames, grid and width, both axes logarithmic; time of a training step a clip, and, dashed, what its arithmetic alone
would take at the rate of a matrix product.
"""

import json
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright
from plotly.graph_objects import Figure, Scatter
from plotly.subplots import make_subplots
from take_screenshots import chromium, save

from vidapp.plots import COLOURS

SIZE = (1366, 430)
TITLES = {"frames": "frames of 8x8 tokens", "grid": "tokens along a side, 20 frames", "width": "width, 20 frames of 8x8 tokens"}


def main() -> None:
    figures = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["growth"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        page.set_content(drawing(figures["rows"]).to_html(include_plotlyjs=True, config={"displayModeBar": False}))
        page.wait_for_selector(".scatterlayer .trace")
        page.wait_for_timeout(500)
        save("growth", page.screenshot(), SIZE[1])
        browser.close()


def drawing(rows: list[dict[str, Any]]) -> Figure:
    figure = make_subplots(rows=1, cols=len(TITLES), subplot_titles=list(TITLES.values()), horizontal_spacing=0.06)
    for place, axis in enumerate(TITLES, start=1):
        for colour, attention in zip(COLOURS, ("factorized", "full"), strict=False):
            line = [row for row in rows if row["axis"] == axis and row["attention"] == attention]
            sizes = [row["value"] for row in line]
            seconds = [row["seconds_per_clip"] for row in line]
            at_rate = [row["seconds_per_clip"] * row["model_flops_utilization"] for row in line]
            for name, values, dash in ((f"{attention}, measured", seconds, "solid"), (f"{attention}, arithmetic alone", at_rate, "dash")):
                mark = Scatter(x=sizes, y=values, name=name, line={"color": colour, "dash": dash}, showlegend=place == 1)
                figure.add_trace(mark, row=1, col=place)
            figure.update_xaxes(type="log", tickvals=sizes, ticktext=[str(size) for size in sizes], row=1, col=place)
    figure.update_yaxes(type="log", dtick=1)
    figure.update_yaxes(title_text="seconds a clip", row=1, col=1)
    return figure.update_layout(
        template="plotly_white", height=SIZE[1] - 16, legend={"orientation": "h", "y": -0.12}, margin={"t": 50, "b": 20}
    )


if __name__ == "__main__":
    main()
