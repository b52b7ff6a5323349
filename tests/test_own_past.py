"""The past of the model's own making: what sampling would make of the given frames, and nothing where none is wanted."""

import pytest
import torch
from tiny import random_tokens, tiny, tiny_transformer
from torch import Tensor

from vidapp.config import SamplingConfig
from vidapp.own_past import with_own_past
from vidapp.randomness import torch_generator
from vidapp.rollout import future_tokens
from vidapp.transformer import VideoTransformer

FRAMES = 6
ATTENTIONS = ("factorized", "full", "framewise")


def model_and_tokens(attention: str = "factorized") -> tuple[VideoTransformer, Tensor]:
    config = tiny(data__clip_frames=FRAMES, model__attention=attention)
    return tiny_transformer(config), random_tokens(config, clips=3)


def own_past(model: VideoTransformer, tokens: Tensor, starts: list[int], clips: range) -> Tensor:
    return with_own_past(model, tokens, starts, [torch_generator(0, clip) for clip in clips])


def test_what_is_given_stays_and_so_does_a_clip_that_starts_at_its_end() -> None:
    model, tokens = model_and_tokens()
    before = tokens.clone()
    own = own_past(model, tokens, [3, FRAMES, 0], range(3))
    assert torch.equal(own[0, :3], tokens[0, :3])
    assert torch.equal(own[1], tokens[1])
    assert torch.equal(own[2, :1], tokens[2, :1]), "the first frame has nothing to go on from"
    for clip, start in ((0, 3), (2, 1)):
        assert not torch.equal(own[clip, start:-1], tokens[clip, start:-1])
    assert torch.equal(own[:, -1], tokens[:, -1]), "the last frame is nobody's past"
    assert torch.equal(tokens, before)
    assert 0 <= int(own.min()) <= int(own.max()) < model.codebook_size


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_sure_model_goes_on_as_its_sampler_does(attention: str) -> None:
    model, tokens = model_and_tokens(attention)
    with torch.no_grad():
        model.final_norm.weight *= 1e4  # so sure that no temperature matters
    own = own_past(model, tokens, [2, 2, 2], range(3))
    greedy = SamplingConfig(temperature=0.0, steps=1)
    sampled = future_tokens(model, tokens[:, :2], FRAMES - 3, greedy, 0, range(3))
    assert torch.equal(own[:, 2:-1], sampled)
    assert len(own[:, 2:-1].unique()) > 3


def test_a_clip_goes_on_in_its_own_way_whatever_is_beside_it() -> None:
    model, tokens = model_and_tokens()
    together = own_past(model, tokens, [1, 2, 4], range(3))
    for clip, start in enumerate([1, 2, 4]):
        alone = own_past(model, tokens[clip : clip + 1], [start], range(clip, clip + 1))
        assert torch.equal(alone[0], together[clip])
    assert not torch.equal(together, own_past(model, tokens, [1, 2, 4], range(3, 6)))


def test_clips_too_short_to_have_an_own_past_are_left_alone() -> None:
    model, tokens = model_and_tokens()
    for frames in (1, 2):
        assert torch.equal(own_past(model, tokens[:, :frames], [1, 1, 1], range(3)), tokens[:, :frames])
