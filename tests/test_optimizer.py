"""Which weights are moved by what, at which rate, and that the state can be taken elsewhere and gone on with."""

import pytest
import torch
from tiny import TINY, random_tokens, tiny
from torch import Tensor, nn

from vidapp.config import Config
from vidapp.optimizer import Average, Optimizers, sort_parameters
from vidapp.randomness import torch_generator
from vidapp.schedules import learning_rate
from vidapp.transformer import VideoTransformer, clip_view

GO = torch.zeros((), dtype=torch.bool)


def new_model(config: Config = TINY) -> VideoTransformer:
    return VideoTransformer.new(config, torch_generator(0)).eval()


def take_steps(model: VideoTransformer, optimizers: Optimizers, steps: range) -> list[Tensor]:
    """Move `model` by the gradients of a few steps; returns its weights."""
    for step in steps:
        optimizers.zero_grad()
        hidden = model(random_tokens(seed=step), clip_view(4, True, torch.device("cpu")))
        nn.functional.cross_entropy(model.logits(hidden).flatten(0, 2), random_tokens(seed=step + 100).flatten()).backward()
        optimizers.step(step, GO, on_host=True)
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize("positions", ["learned", "relative"])
def test_muon_moves_the_matrices_of_the_blocks_and_adamw_the_rest(positions: str) -> None:
    model = new_model(tiny(model__positions=positions, recipe__optimizer="muon"))
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    hidden, matrices, others = ([name_of[id(p)] for p in group] for group in sort_parameters(model, "muon"))
    assert sorted([*hidden, *matrices, *others]) == sorted(name_of.values())
    assert all(name.startswith("blocks.") and name.endswith("weight") and "norm" not in name for name in hidden)
    assert "token_embedding.weight" in matrices
    assert not any("norm" in name or name.endswith("_bias") for name in matrices)
    assert "head_bias" in others
    assert sort_parameters(model, "adamw")[0] == []


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_rates_follow_the_schedule_from_their_own_peaks(optimizer: str) -> None:
    config = tiny(recipe__optimizer=optimizer)
    model = new_model(config)
    optimizers = Optimizers(model, config.recipe, 6)
    take_steps(model, optimizers, range(3))
    rates = [group["lr"] for one, _ in optimizers.all for group in one.param_groups]
    peaks = [config.recipe.learning_rate] * 2 + [config.recipe.muon_learning_rate] * (optimizer == "muon")
    assert rates == [learning_rate(2, 6, config.recipe, peak) for peak in peaks]


def test_weight_decay_is_for_matrices_alone() -> None:
    config = tiny(recipe__weight_decay=1.0, recipe__learning_rate=0.1, recipe__schedule="constant")
    model = new_model(config)
    for parameter in model.parameters():
        parameter.data.fill_(1.0)
        parameter.grad = torch.zeros_like(parameter)
    Optimizers(model, config.recipe, 6).step(0, GO, on_host=True)
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, torch.ones_like(parameter))}
    assert moved == {name for name, parameter in model.named_parameters() if parameter.ndim >= 2}


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_training_goes_on_exactly_from_the_state_as_tensors(optimizer: str) -> None:
    config = tiny(recipe__optimizer=optimizer)
    whole, first, second = new_model(config), new_model(config), new_model(config)
    expected = take_steps(whole, Optimizers(whole, config.recipe, 6), range(6))

    before = Optimizers(first, config.recipe, 6)
    take_steps(first, before, range(3))
    second.load_state_dict(first.state_dict())
    after = Optimizers(second, config.recipe, 6)
    after.load({name: tensor.clone() for name, tensor in before.tensors().items()})
    found = take_steps(second, after, range(3, 6))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_the_average_follows_at_once_in_short_runs_and_slowly_in_long_ones() -> None:
    source, held = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    source.weight.data.fill_(0.0)
    average = Average(source, held, 0.999)
    assert held.weight.item() == 0.0
    source.weight.data.fill_(1.0)
    average.update(0, GO, on_host=True)
    assert held.weight.item() == pytest.approx(0.9)  # 1 - 1/10
    held.weight.data.fill_(0.0)
    average.update(10**6, GO, on_host=True)
    assert held.weight.item() == pytest.approx(0.001, rel=1e-3)


def test_without_decay_the_average_is_the_weights_themselves() -> None:
    source, held = nn.Linear(3, 3), nn.Linear(3, 3)
    average = Average(source, held, 0.0)
    source.weight.data.fill_(2.0)
    average.update(5, GO, on_host=True)
    assert torch.equal(source.weight, held.weight)
