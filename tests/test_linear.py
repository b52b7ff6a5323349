import pytest
import torch
import torch.nn.functional as F

from vidapp.linear import Linear


@pytest.mark.parametrize(("inputs", "outputs"), [(8, 24), (24, 8), (8, 8)], ids=["wider", "narrower", "as wide"])
def test_in_bf16_it_is_torchs_own_and_so_are_its_gradients(inputs: int, outputs: int) -> None:
    layer = Linear(inputs, outputs)
    found = []
    for way in (layer, lambda x: F.linear(x, layer.weight)):
        torch.manual_seed(0)
        x = torch.randn(3, 5, inputs, requires_grad=True)
        layer.weight.grad = None
        with torch.autocast("cpu", torch.bfloat16):
            y = way(x)
        y.float().square().sum().backward()
        assert y.dtype == torch.bfloat16
        assert ("Product" in y.grad_fn.name()) is (way is layer)
        assert x.grad is not None
        assert layer.weight.grad is not None
        assert layer.weight.grad.dtype == torch.float32
        found.append((y, x.grad, layer.weight.grad))
    for mine, torchs in zip(*found, strict=True):
        torch.testing.assert_close(mine, torchs, rtol=0.02, atol=0.02)


def test_in_float32_it_is_exactly_torchs_own() -> None:
    layer, x = Linear(8, 24), torch.randn(3, 5, 8)
    assert torch.equal(layer(x), F.linear(x, layer.weight))
