import math

import pytest
import torch
import torch.nn.functional as F

from vidapp.attention import HALF_LANES, attend, fused, softmax


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("keys", [3, 40])
def test_it_and_its_gradients_are_those_of_torchs_own_attention(keys: int, with_bias: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(2, length, 3, 8, generator=generator, dtype=torch.float64) for length in (5, keys, keys)]
    bias = torch.randn(3, 5, keys, generator=generator, dtype=torch.float64) if with_bias else None
    found = []
    for own in (True, False):
        q, k, v = leaves = [part.clone().requires_grad_() for part in parts]
        added = None if bias is None else bias.clone().requires_grad_()
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))  # (2, heads, rows, d), as the transformer passes them
        y = attend(q / math.sqrt(8), k, v, added, 0.0) if own else F.scaled_dot_product_attention(q, k, v, added)
        y.square().sum().backward()
        found.append([y, *(leaf.grad for leaf in leaves), *([] if added is None else [added.grad])])
    for mine, torchs in zip(*found, strict=True):
        torch.testing.assert_close(mine, torchs)


@pytest.mark.parametrize("bias_shape", [None, (3, 5, 7), (1, 1, 3, 5, 7), (2, 1, 1, 5, 7), (2, 4, 3, 5, 7)])
def test_sequences_along_two_axes_attend_by_the_fused_kernel_too(bias_shape: tuple[int, ...] | None) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 4, 3, rows, 8, generator=generator, dtype=torch.float64) for rows in (5, 7, 7))
    bias = None if bias_shape is None else torch.randn(bias_shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(fused(q, k, v, bias, 0.0), attend(q, k, v, bias, 0.0))


@pytest.mark.parametrize("keys", [HALF_LANES - 3, HALF_LANES])
def test_few_scores_and_many_make_weights_of_their_own_type_that_sum_to_one(keys: int) -> None:
    scores = torch.randn(4, keys, generator=torch.Generator().manual_seed(0)).bfloat16()
    weights = softmax(scores)
    assert weights.dtype == torch.bfloat16
    torch.testing.assert_close(weights.double(), scores.double().softmax(-1), rtol=0.01, atol=0.001)
