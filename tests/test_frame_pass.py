"""The short way of cached sampling computes what the whole transformer computes."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import random_tokens, tiny, tiny_transformer
from torch import Tensor

from vidapp.frame_pass import LANES, FramePass
from vidapp.presets import preset
from vidapp.randomness import torch_generator
from vidapp.sampling import at_places, every_place
from vidapp.transformer import VideoTransformer, clip_view

LONGEST = 6


@cache
def make(positions: str = "relative", norm: str = "pre", **changes: object) -> VideoTransformer:
    config = tiny(
        tokenizer__downsampling=16, model__layers=2, model__attention="factorized", model__positions=positions, model__norm=norm,
        data__clip_frames=LONGEST, data__context_frames=LONGEST - 1, **changes,
    )  # fmt: skip
    return tiny_transformer(config)


def tokens_of(model: VideoTransformer, clips: int, frames: int, seed: int = 0) -> Tensor:
    return random_tokens(tiny(tokenizer__downsampling=16), clips, frames, seed) % model.codebook_size


def masked_frame(model: VideoTransformer, clips: int) -> Tensor:
    frame = tokens_of(model, clips, 1, seed=9)
    frame[..., ::2] = model.mask_id
    return frame


def some_places(clips: int, seed: int) -> Tensor:
    """Of the 4 of a frame, another choice for each clip, in any order."""
    generator = torch_generator(seed, "places")
    count = int(torch.randint(1, 5, (), generator=generator))
    return torch.rand(clips, 4, generator=generator).argsort(dim=1)[:, :count]


@torch.no_grad()
def by_the_transformer(model: VideoTransformer, decided: Tensor, masked: Tensor) -> Tensor:
    clip = torch.cat([decided, masked], dim=1)
    hidden = model(clip, clip_view(clip.shape[1], True, clip.device))
    return model.logits(hidden[:, -1])


@given(
    st.sampled_from(("learned", "relative")), st.sampled_from(("pre", "post")), st.sampled_from((0, 1, 3)), st.integers(1, 3),
    st.lists(st.integers(0, 2), min_size=1, max_size=4), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60)
def test_it_gives_the_transformers_logits_however_the_past_comes_in(
    positions: str, norm: str, stem: int, clips: int, counts: list[int], seed: int
) -> None:
    model = make(positions, norm, model__stem_frames=stem)
    counts = [count for place, count in enumerate(counts) if sum(counts[: place + 1]) < LONGEST]
    past, masked = tokens_of(model, clips, sum(counts), seed), masked_frame(model, clips)
    short, end = FramePass(model, clips, model.token_table()), 0
    for count in counts:
        places = some_places(clips, seed + end)
        logits = short.logits(past[:, end : end + count], masked, places)
        end += count
        assert logits.shape == (clips, places.shape[1], model.codebook_size)
        assert torch.allclose(logits, at_places(by_the_transformer(model, past[:, :end], masked), places), atol=1e-9)


@pytest.mark.parametrize("positions", ["learned", "relative"])
def test_it_stays_so_where_the_frames_come_to_fill_a_processors_lanes(positions: str) -> None:
    config = tiny(
        tokenizer__downsampling=16, model__layers=2, model__attention="factorized", model__positions=positions, data__clip_frames=LANES + 4,
        data__context_frames=2,
    )  # fmt: skip
    model = tiny_transformer(config)
    past, masked = tokens_of(model, 2, LANES + 3), masked_frame(model, 2)
    short, start = FramePass(model, 2, model.token_table()), 0
    for end in range(LANES - 3, LANES + 4):
        logits = short.logits(past[:, start:end], masked, every_place(masked))
        again = short.logits(past[:, :0], masked, every_place(masked))
        start, expected = end, by_the_transformer(model, past[:, :end], masked).flatten(1, -2)
        assert torch.allclose(logits, expected, atol=1e-9)
        assert torch.allclose(again, expected, atol=1e-9)


@pytest.mark.parametrize("stem", [0, 3])
def test_one_frame_is_seen_again_and_again_and_leaves_no_trace(stem: int) -> None:
    model = make(model__stem_frames=stem)
    past, masked = tokens_of(model, 2, 3), masked_frame(model, 2)
    short = FramePass(model, 2, model.token_table())
    places = every_place(masked)
    first = short.logits(past, masked, places)
    short.logits(past[:, :0], tokens_of(model, 2, 1, seed=5), places)
    assert torch.allclose(short.logits(past[:, :0], masked, places), first, atol=1e-12)
    short.restart()
    assert torch.allclose(short.logits(past[:, :0], masked, places), by_the_transformer(model, past[:, :0], masked), atol=1e-9)


def test_at_real_size_in_single_precision_logits_differ_by_no_more_than_a_ten_thousandth() -> None:
    config = preset("small").replace({"model.attention": "factorized"})
    model = VideoTransformer.new(config, torch_generator(0, "test")).eval()
    past, masked = random_tokens(config, 1, 10), torch.full((1, 1, config.grid, config.grid), model.mask_id)
    short = FramePass(model, 1, model.token_table())
    for _ in range(2):
        logits = short.logits(past if not short.frames else past[:, :0], masked, every_place(masked))
        assert float((logits - by_the_transformer(model, past, masked)).abs().max()) <= 1e-4


@pytest.mark.parametrize(
    ("changes", "training"),
    [
        ({"model__attention": "full"}, False),
        ({"model__causal": False, "recipe__clean_past": False}, False),
        ({"model__dropout": 0.1}, True),
    ],
)
def test_what_it_cannot_compute_is_left_to_the_transformer(changes: dict[str, object], training: bool) -> None:
    model = tiny_transformer(tiny(**changes)).train(training)
    assert not FramePass.fits(model)
    assert FramePass.fits(tiny_transformer(tiny(**changes | {"model__attention": "factorized", "model__causal": True})).eval())
