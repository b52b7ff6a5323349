"""What is measured of each layer: every parameter in a layer, figures that are the step's own, nothing changed by looking."""

import math

import pytest
import torch
from test_train import phase_of
from tiny import TINY, tiny

from vidapp.config import Config
from vidapp.layers import layer_of, reading_order
from vidapp.transformer import VideoTransformer

KINDS = {
    "factorized": TINY,
    "full": tiny(model__attention="full", model__layers=2),
    "framewise": tiny(model__attention="framewise"),
    "relative": tiny(model__positions="relative"),
    "muon": tiny(recipe__optimizer="muon"),
    "micro-batches": tiny(recipe__micro_batches=2, recipe__gradient_checkpointing=True),
    "own past": tiny(recipe__own_past=1.0),
}


def test_every_parameter_has_a_layer_in_reading_order() -> None:
    with torch.device("meta"):
        model = VideoTransformer.of(tiny(model__layers=2))
    found = {layer_of(name, "factorized"): None for name, _ in model.named_parameters()}
    wanted = ["tokens", "positions", "1 space", "1 time", "1 mlp", "2 space", "2 time", "2 mlp", "head"]
    assert sorted(found, key=reading_order) == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_layers_add_up_to_the_whole(kind: str) -> None:
    """The layers' gradient norms make the norm of the line, and each block says how large its output is."""
    phase = phase_of(KINDS[kind])
    line = phase.train_step(0, measure=True)
    layers = line["layers"]
    assert math.sqrt(sum(norm**2 for norm in layers["gradient_norm"].values())) == pytest.approx(line["grad_norm"], rel=1e-3)
    assert list(layers["activation_rms"]) == [str(block + 1) for block in range(KINDS[kind].model.layers)]
    assert all(rms > 0 for rms in layers["activation_rms"].values())


def test_the_update_ratio_is_how_far_the_weights_moved() -> None:
    phase = phase_of(tiny(recipe__warmup_steps=0))
    phase.train_step(0, measure=False)
    head = [phase.model.head_bias, phase.model.final_norm.weight, phase.model.final_norm.bias]
    before = torch.cat([part.detach().clone().flatten() for part in head])
    ratio = phase.train_step(1, measure=True)["layers"]["update_ratio"]["head"]
    after = torch.cat([part.detach().flatten() for part in head])
    assert ratio == pytest.approx(float((after - before).norm() / before.norm()), rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_looking_changes_no_bit(kind: str) -> None:
    config: Config = KINDS[kind]
    seen, unseen = phase_of(config), phase_of(config)
    for step in range(2):
        seen.train_step(step, measure=True)
        unseen.train_step(step, measure=False)
    assert all(torch.equal(a, b) for a, b in zip(seen.model.parameters(), unseen.model.parameters(), strict=True))
    assert seen.model.watcher is None
