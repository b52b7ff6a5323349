import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidapp.dropout import INTEGERS, dropped

TYPES = pytest.mark.parametrize("dtype", INTEGERS, ids=str)


@TYPES
@pytest.mark.parametrize("share", [0.05, 0.1, 0.5, 0.9])
def test_a_share_is_zero_and_the_rest_larger_by_as_much(dtype: torch.dtype, share: float) -> None:
    torch.manual_seed(0)
    values = 200_000
    y = dropped(torch.ones(values, dtype=dtype), share)
    kept = y[y != 0]
    assert abs(1 - len(kept) / values - share) < 5 * math.sqrt(share * (1 - share) / values)
    assert (kept == torch.tensor(1 / (1 - share), dtype=dtype)).all()


@TYPES
def test_neighbours_are_dropped_independently(dtype: torch.dtype) -> None:
    """The values that one draw of 64 bits decides on, too."""
    torch.manual_seed(0)
    zero = dropped(torch.ones(200_000, dtype=dtype), 0.5) == 0
    for apart in range(1, 9):
        both = (zero[apart:] & zero[:-apart]).double().mean()
        assert abs(float(both) - 0.25) < 0.006


@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.sampled_from(list(INTEGERS)))
def test_any_shape_keeps_its_shape_and_type(shape: list[int], dtype: torch.dtype) -> None:
    y = dropped(torch.ones(shape, dtype=dtype), 0.3)
    assert y.shape == torch.Size(shape)
    assert y.dtype == dtype


def test_the_same_seed_drops_the_same_and_the_next_draw_others() -> None:
    x = torch.ones(1000)
    torch.manual_seed(3)
    first, second = dropped(x, 0.5), dropped(x, 0.5)
    torch.manual_seed(3)
    assert torch.equal(dropped(x, 0.5), first)
    assert not torch.equal(first, second)


def test_the_gradient_is_that_of_what_was_kept() -> None:
    x = torch.randn(50, 4, dtype=torch.float64, requires_grad=True)
    y = dropped(x, 0.25)
    y.sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad * x, y)


@TYPES
@pytest.mark.parametrize("share", [1e-5, 1e-9, 1e-17])
def test_next_to_nothing_is_dropped_of_the_tiniest_share(dtype: torch.dtype, share: float) -> None:
    assert float((dropped(torch.ones(1000, dtype=dtype), share) == 0).double().mean()) < 0.01


def test_nothing_is_dropped_of_a_share_of_nothing() -> None:
    x = torch.randn(5)
    assert dropped(x, 0.0) is x
