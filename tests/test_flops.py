"""The FLOPs that we claim are those that torch counts while they happen."""

import pytest
import torch
from tiny import random_tokens, tiny, tiny_transformer
from torch.utils.flop_counter import FlopCounterMode

from vidapp.batches import TokenBatch, draw_masks
from vidapp.bench.sample import WAYS, clip_flops, decode
from vidapp.config import Config
from vidapp.flops import Pass, head_flops, pass_flops, step_flops
from vidapp.frame_pass import FramePass
from vidapp.masking import ClipMask, head_rows, hidden_tokens
from vidapp.objective import masked_logits
from vidapp.presets import preset
from vidapp.transformer import Cache, cached_view, clip_view

ATTENTIONS = ("full", "factorized", "framewise")


def sized(attention: str, **changes: object) -> Config:
    return tiny(model__attention=attention, model__layers=3, model__width=24, model__heads=3, **changes)


def rounding(config: Config, masks: list[ClipMask]) -> int:
    """What the head's rows that are no result cost, forward and backward."""
    share = len(masks) // config.recipe.micro_batches
    hidden = [hidden_tokens(masks[start : start + share]) for start in range(0, len(masks), share)]
    return 3 * head_flops(config, sum(head_rows(one) - one for one in hidden))


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("code_embedding", [True, False])
@pytest.mark.parametrize("clean_past", [True, False])
@pytest.mark.parametrize("micro_batches", [1, 2])
def test_a_training_steps_flops_are_those_that_torch_counts(
    attention: str, code_embedding: bool, clean_past: bool, micro_batches: int
) -> None:
    config = sized(
        attention,
        model__code_embedding=code_embedding,
        recipe__clean_past=clean_past,
        recipe__batch_size=8,
        recipe__micro_batches=micro_batches,
    )
    model, tokens = tiny_transformer(config, dtype=torch.float32).train(), random_tokens(config, clips=8)
    masks = draw_masks(config, 0, range(8))
    assert len({mask.objective for mask in masks}) > 1
    size = 8 // micro_batches
    with FlopCounterMode(display=False) as counted:
        for start in range(0, 8, size):
            batch = TokenBatch(tokens[start : start + size], masks[start : start + size])
            masked_logits(model, batch, clean_past=clean_past).losses_P.sum().backward()
    assert step_flops(config, masks) == counted.get_total_flops() - rounding(config, masks)


STEMS = [{}, {"model__stem_frames": 1}, {"model__stem_frames": 3, "model__pixel_embedding": True}]


@pytest.mark.parametrize("changes", STEMS)
def test_a_stem_costs_what_torch_counts(changes: dict[str, object]) -> None:
    config = sized("factorized", **changes)
    model, tokens = tiny_transformer(config, dtype=torch.float32).train(), random_tokens(config, clips=4)
    masks = draw_masks(config, 0, range(4))
    with FlopCounterMode(display=False) as counted:
        masked_logits(model, TokenBatch(tokens, masks), clean_past=True).losses_P.sum().backward()
    assert step_flops(config, masks) == counted.get_total_flops() - rounding(config, masks)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_pass_over_a_clip_and_one_over_new_frames_after_cached_ones_count_as_torch_does(attention: str) -> None:
    config = sized(attention)
    model, tokens = tiny_transformer(config, dtype=torch.float32), random_tokens(config)
    cache, places = Cache(), config.grid**2

    def counted(view: object, frames: slice, skip: int) -> int:
        with torch.no_grad(), FlopCounterMode(display=False) as mode:
            model.logits(model(tokens[:, frames], view, skip=skip))
        return mode.get_total_flops()

    heads = 2 * places
    assert pass_flops(config, Pass(2, 4, 4 * heads)) == counted(clip_view(4, True, tokens.device), slice(4), 0)
    assert pass_flops(config, Pass(2, 3, heads, skip=2)) == counted(cached_view(cache, 3, 2, tokens.device), slice(3), 2)
    assert pass_flops(config, Pass(2, 1, heads, cached=2)) == counted(cached_view(cache, 1, 0, tokens.device), slice(3, 4), 0)


IN_PLACE = {torch.ops.aten.addmm_: lambda _, a, b, out_shape=None, **rest: 2 * a[0] * a[1] * b[1]}


@pytest.mark.parametrize("waiting", [0, 2])
def test_a_lean_pass_of_cached_sampling_counts_as_torch_does(waiting: int) -> None:
    config = sized("factorized")
    model, tokens = tiny_transformer(config, dtype=torch.float32), random_tokens(config, clips=1)
    short, places_BM = FramePass(model, 1, model.token_table()), torch.tensor([[3, 0, 5]])
    short.logits(tokens[:, : 3 - waiting], tokens[:, 3:], places_BM)
    with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counted:
        short.logits(tokens[:, 3 - waiting : 3], tokens[:, 3:], places_BM)
    one = Pass(1, waiting + 1, 3, cached=3 - waiting, skip=waiting, table=False, lean=True)
    assert pass_flops(config, one) == counted.get_total_flops()


@pytest.mark.parametrize("steps", [3, 40])
@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("way", WAYS)
def test_a_clip_by_each_way_of_sampling_counts_as_torch_does(way: str, attention: str, steps: int) -> None:
    config = sized(attention, data__context_frames=2, sampling__steps=steps)
    transformer = tiny_transformer(config, dtype=torch.float32)
    with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counted:
        decode(transformer, config, 1, way)
    assert clip_flops(config, way) == counted.get_total_flops()


def test_a_second_computation_of_activations_is_no_progress() -> None:
    config = sized("factorized")
    masks = draw_masks(config, 0, range(4))
    assert step_flops(config.replace({"recipe.gradient_checkpointing": True}), masks) == step_flops(config, masks)


def test_base_costs_more_than_its_parameters_say_and_small_less() -> None:
    """Blocks of `base` hold about 8 times the parameters of `small`; attention over space and time grows with the width alone."""
    small, base = (preset(name).replace({"model.attention": "factorized"}) for name in ("small", "base"))
    masks = draw_masks(small, 0, range(4))
    assert 4 < step_flops(base, masks) / step_flops(small, masks) < 6.5
