"""Muon moves all matrices of one shape together, and each of them as torch's own does."""

import pytest
import torch
from torch import Tensor, nn

from vidapp.muon import Muon

SHAPES = [(6, 4), (4, 6), (4, 4), (6, 4), (6, 4)]


def matrices() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def steps(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], skips: list[Tensor | None]) -> None:
    for parameter in parameters:
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    generator = torch.Generator().manual_seed(1)
    for skip in skips:
        for parameter in parameters[:-1]:  # the last one never has a gradient
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        if isinstance(optimizer, Muon):
            optimizer.step(skip=skip)
        else:
            optimizer.step()


def test_it_takes_the_steps_of_torchs_own() -> None:
    mine, torchs = matrices(), matrices()
    steps(Muon(mine, lr=0.1, weight_decay=0.2, momentum=0.9), mine, [None] * 3)
    steps(torch.optim.Muon(torchs, lr=0.1, weight_decay=0.2, momentum=0.9), torchs, [None] * 3)
    for one, other, begun in zip(mine, torchs, matrices(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-3)  # products in bfloat16, some in another order
        assert torch.equal(one, begun) == (one is mine[-1])


@pytest.mark.parametrize("value", [float("nan"), 1.0])
def test_a_step_that_is_skipped_leaves_weights_and_momenta_as_they_are(value: float) -> None:
    parameters = matrices()
    optimizer = Muon(parameters, lr=0.1, momentum=0.9)
    steps(optimizer, parameters, [None])
    before = [tensor.detach().clone() for p in parameters for tensor in (p, optimizer.state[p]["momentum_buffer"])]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, value)
    optimizer.step(skip=torch.tensor(True))
    assert all(map(torch.equal, before, [tensor for p in parameters for tensor in (p, optimizer.state[p]["momentum_buffer"])]))
    if value == 1.0:
        optimizer.step(skip=torch.tensor(False))
        assert not any(map(torch.equal, before[::2], parameters))
