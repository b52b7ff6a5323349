"""Figures hold what they were given, in one style, and nothing that JSON cannot."""

import json
import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidapp.plots import (
    COLOURS,
    MOST_POINTS,
    error_curve,
    loss_figure,
    thinned,
)

VALUES = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.floats(-1e3, 1e3))


def test_plotly_waits_until_a_figure_is_made() -> None:
    code = "import sys; import vidapp.plots; sys.exit(any(name in sys.modules for name in ('plotly', 'numpy', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_error_curve_numbers_future_frames_from_one_and_keeps_looks_by_name() -> None:
    both = error_curve({"prediction": [1.0, 2.0], "repeat_last": [3.0, 4.0]})
    swapped = error_curve({"repeat_last": [3.0, 4.0], "prediction": [1.0, 2.0]})
    assert list(both.data[0].x) == [1, 2]
    assert [trace.name for trace in both.data] == ["prediction", "repeat the last frame"]
    assert both.data[0].line.color == swapped.data[1].line.color
    assert both.data[0].line.color != both.data[1].line.color
    assert both.data[0].line.dash != both.data[1].line.dash


def test_curves_of_a_loss_figure_have_steps_of_their_own() -> None:
    figure = loss_figure({"loss": ([1, 2, 3], [5.0, 4.0, 3.0]), "validation": ([2], [4.5])})
    assert [list(trace.x) for trace in figure.data] == [[1, 2, 3], [2]]
    assert figure.data[1].mode == "lines+markers"  # a line through one point would be invisible


def test_a_zoom_of_a_linear_axis_is_not_kept_on_a_logarithmic_one() -> None:
    axes = [loss_figure({"loss": ([1, 2], [5.0, 4.0])}, log=log).layout.yaxis for log in (False, True)]
    assert [axis.type for axis in axes] == ["linear", "log"]
    assert axes[0].uirevision != axes[1].uirevision


def test_all_figures_share_a_style_and_nothing_heavy() -> None:
    figures = [error_curve({"prediction": [1.0]}), loss_figure({})]
    for figure in figures:
        assert figure.layout.paper_bgcolor == "rgba(0,0,0,0)"
        assert figure.layout.uirevision == "keep"
        assert len(figure.to_json()) < 4000
    assert len({figure.layout.font.color for figure in figures}) == 1
    assert len(set(COLOURS)) == len(COLOURS)


def test_gaps_and_numbers_that_are_not_finite_become_gaps() -> None:
    figure = loss_figure({"loss": ([1, 2, 3, 4], [1.0, None, math.nan, math.inf])})
    assert list(figure.data[0].y) == [1.0, None, None, None]
    json.loads(figure.to_json())


def test_long_curves_are_thinned_without_losing_a_spike() -> None:
    steps, values = list(range(100_000)), [1.0] * 100_000
    values[77_777] = 99.0
    values[12_345] = -5.0
    some_steps, some_values = thinned(steps, values)
    assert len(some_steps) <= MOST_POINTS
    assert (some_steps[some_values.index(99.0)], some_steps[some_values.index(-5.0)]) == (77_777, 12_345)
    assert (some_steps[0], some_steps[-1]) == (0, 99_999)


@settings(max_examples=60, deadline=None)
@given(st.lists(VALUES, max_size=80), st.sampled_from([4, 10, 20]))
def test_thinning_keeps_order_bounds_and_real_points(values, most) -> None:
    steps = list(range(len(values)))
    some_steps, some_values = thinned(steps, values, most)
    assert len(some_steps) <= max(most, 0)
    assert some_steps == sorted(set(some_steps))
    finite = [value for value in values if value is not None and math.isfinite(value)]
    kept = [value for value in some_values if value is not None]
    assert all(
        math.isfinite(value) and value == values[step] for step, value in zip(some_steps, some_values, strict=True) if value is not None
    )
    if finite:
        assert (min(kept), max(kept)) == (min(finite), max(finite))


def test_a_curve_with_a_value_missing_is_refused() -> None:
    with pytest.raises(ValueError, match="2 steps but 1 values"):
        loss_figure({"loss": ([1, 2], [0.5])})


def test_code_use_orders_codes_by_use_and_leaves_unused_ones_out() -> None:
    from vidapp.plots import code_use_figure

    clip, many = code_use_figure({"this clip": [0, 6, 2, 0], "64 clips": [1, 1, 1, 5]}).data
    assert (list(clip.customdata), list(clip.y)) == ([1, 2], [75.0, 25.0])
    assert list(many.customdata) == [3, 0, 1, 2]
