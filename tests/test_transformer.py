"""The transformer: its size, who sees whom, and that training and cached sampling compute the same numbers."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import TINY, random_tokens, tiny, tiny_tokenizer, tiny_transformer
from torch import Tensor

from vidapp.attention import Attention
from vidapp.config import Config
from vidapp.presets import preset
from vidapp.randomness import torch_generator
from vidapp.stem import Stem
from vidapp.tokenizer import new_tokenizer
from vidapp.transformer import (
    Block,
    Cache,
    VideoTransformer,
    View,
    cached_view,
    clean_past_view,
    clip_view,
    code_features,
    place_offsets,
    squared_relu,
)

ATTENTIONS = ("full", "factorized", "framewise")
POSITIONS = ("learned", "relative", "relative and stem")
CPU = torch.device("cpu")
FRAMES = 4
all_kinds = pytest.mark.parametrize(("attention", "positions"), list(itertools.product(ATTENTIONS, POSITIONS)))


def make(attention: str = "full", positions: str = "learned", **changes: object) -> VideoTransformer:
    """Two layers on grids of 2 x 2, in float64, with weights that matter."""
    positions, stem, _ = positions.partition(" and stem")
    config = tiny(model__attention=attention, model__positions=positions, model__layers=2, data__size=32, tokenizer__downsampling=16)
    if stem:
        config = config.replace({"model.stem_frames": 1 if attention == "framewise" else 3})
    return tiny_transformer(config.replace({key.replace("__", "."): value for key, value in changes.items()}))


def tokens_of(clips: int = 2, frames: int = FRAMES, seed: int = 0) -> Tensor:
    return random_tokens(tiny(data__size=32, tokenizer__downsampling=16), clips, frames, seed)


def masked(tokens: Tensor, seed: int = 0) -> Tensor:
    """Half of the tokens hidden."""
    return torch.where(torch.rand(tokens.shape, generator=torch_generator(seed, "mask")) < 0.5, 16, tokens)


def with_other_frame(tokens: Tensor, frame: int) -> Tensor:
    changed = tokens.clone()
    changed[:, frame] = (changed[:, frame] + 1) % 16
    return changed


def changed_frames(one: Tensor, other: Tensor) -> list[int]:
    """Frames of (B, F, N, D) in which any clip differs by more than rounding."""
    return [frame for frame in range(one.shape[1]) if (one[:, frame] - other[:, frame]).abs().max() > 1e-9]


# ------------------------------------------------------------------ sizes


@pytest.mark.parametrize(("name", "part", "millions"), [("base", "total", 14.6), ("small", "blocks", 1.8), ("tiny", "blocks", 0.8)])
def test_presets_have_the_size_that_they_are_named_for(name: str, part: str, millions: float) -> None:
    with torch.device("meta"):
        counts = VideoTransformer.of(preset(name)).parameter_counts
    assert round(counts[part] / 1e6, 1) == millions


def test_counts_are_of_all_parameters() -> None:
    model = make()
    assert model.parameter_counts["total"] == sum(parameter.numel() for parameter in model.parameters())
    assert 0 < model.parameter_counts["blocks"] < model.parameter_counts["total"]


# ------------------------------------------------------------------ tokens in, logits out


def test_the_mask_id_lies_outside_the_codebook() -> None:
    model = make()
    assert model.mask_id == model.codebook_size == 16
    table = model.token_table()
    assert table.shape == (17, 16)
    tokens = tokens_of()
    logits = model.logits(model(torch.full_like(tokens, model.mask_id), clip_view(FRAMES, True, CPU)))
    assert logits.shape == (2, FRAMES, 4, 16)  # the mask itself can never be predicted


def test_tokens_are_embedded_through_their_code_vector_and_the_mask_is_not() -> None:
    model = make()
    before = model.token_table().detach().clone()
    model.features_VK += 1
    assert torch.equal(model.token_table()[-1], before[-1])
    assert ((model.token_table()[:-1] - before[:-1]).abs().amax(dim=1) > 1e-6).all()
    plain = make(model__code_embedding=False)
    assert torch.equal(plain.token_table(), plain.token_embedding.weight)
    assert "code_projection.weight" not in plain.state_dict()


@pytest.mark.parametrize("quantizer", ["fsq", "vq"])
def test_codes_are_compared_by_their_pixels_or_where_these_are_too_many_by_their_vectors(
    quantizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(tokenizer__quantizer=quantizer)
    tokenizer, model = tiny_tokenizer(config), VideoTransformer.new(config, torch_generator(0))
    model.take_codes(tokenizer)
    assert torch.equal(model.codes_VK, tokenizer.patches())
    monkeypatch.setattr("vidapp.tokenizer.LARGEST_FEATURES", 16 * 64 - 1)
    model.take_codes(tokenizer)
    assert torch.equal(model.codes_VK, tokenizer.codebook())


def test_tokens_can_be_embedded_through_the_pixels_of_their_patch() -> None:
    config = tiny(model__pixel_embedding=True)
    tokenizer = new_tokenizer(config.tokenizer, 1, torch_generator(0))
    model = VideoTransformer.new(config, torch_generator(0))
    model.take_codes(tokenizer)
    assert model.features_VK.shape == (16, 2 + 8 + 64)
    alone = tokenizer.decode(torch.tensor([[[[5]]]]))
    assert torch.allclose(model.features_VK[5, -64:], alone.detach().flatten().clamp(0, 1), atol=1e-6)
    with pytest.raises(ValueError, match="model.pixel_embedding adds pixels to the code embedding"):
        tiny(model__pixel_embedding=True, model__code_embedding=False)


# ------------------------------------------------------------------ the stem


def test_a_stem_shows_a_token_its_neighbours_in_its_own_frame_and_those_before() -> None:
    stem = Stem(tiny(model__stem_frames=3).model, grid=4).double()
    for parameter in stem.parameters():
        torch.nn.init.normal_(parameter)
    table = stem.table(torch.randn(17, 16, dtype=torch.float64))
    view, tokens = clip_view(FRAMES, True, CPU), random_tokens(TINY).flatten(2)[:1]

    def sums(tokens: Tensor) -> Tensor:
        return stem.own_frame(tokens, table) + stem.frames_before(tokens, stem.sources(view.allowed_BFK, view.times_F, view.times_F), table)

    changed = tokens.clone()
    changed[0, 1, 5] = (changed[0, 1, 5] + 1) % 16  # row 1, column 1
    moved = (sums(tokens) - sums(changed)).abs().amax(dim=-1)[0] > 1e-9
    around = torch.zeros(4, 4, dtype=torch.bool)
    around[:3, :3] = True
    assert torch.equal(
        moved, torch.stack([around & (frame >= 1) for frame in range(FRAMES)]).flatten(1)
    )  # frame 4 would not see it any more


def test_a_stem_is_a_convolution_over_the_embeddings() -> None:
    stem = Stem(tiny(model__stem_frames=1).model, grid=4).double()
    table, tokens = stem.table(torch.randn(17, 16, dtype=torch.float64)), random_tokens(TINY).flatten(2)
    weight = stem.own.weight.unflatten(1, (3, 3, -1)).permute(0, 3, 1, 2)
    image = F.embedding(tokens.flatten(0, 1), table).unflatten(1, (4, 4)).permute(0, 3, 1, 2)
    expected = F.conv2d(image, weight, padding=1).flatten(2).transpose(1, 2)
    assert torch.allclose(stem.own_frame(tokens, table).flatten(0, 1), expected, atol=1e-12)


@pytest.mark.parametrize("frames", [1, 3])
def test_a_stem_convolves_to_what_it_looks_up(frames: int) -> None:
    stem = Stem(tiny(model__stem_frames=frames).model, grid=4).double()
    table, tokens = stem.table(torch.randn(17, 16, dtype=torch.float64)), random_tokens(TINY).flatten(2)
    view = clean_past_view(FRAMES - 1, 2, FRAMES, CPU)
    passed = torch.cat([tokens[:, : FRAMES - 1], tokens[:, 2:]], dim=1)
    expected, sources = stem.own_frame(passed, table), None
    if stem.before:
        sources = stem.sources(view.allowed_BFK, view.times_F, view.key_times_K)
        expected = expected + stem.frames_before(passed, sources, table)
    torch.testing.assert_close(stem.sums(passed, passed, sources, table), expected)


def test_a_framewise_model_has_no_stem_that_looks_at_other_frames() -> None:
    with pytest.raises(ValueError, match="model.stem_frames 3 shows frames to each other"):
        tiny(model__attention="framewise", model__stem_frames=3)


def test_logits_of_some_positions_are_those_of_all() -> None:
    model = make()
    hidden = model(tokens_of(), clip_view(FRAMES, True, CPU))
    picked = hidden.flatten(0, 2)[[0, 7, 21]]
    assert torch.allclose(model.logits(picked), model.logits(hidden).flatten(0, 2)[[0, 7, 21]], atol=1e-12)


def test_tokens_and_times_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="4 frames of tokens were passed with times for 3"):
        make()(tokens_of(), clip_view(3, True, CPU))


@all_kinds
def test_a_clip_is_read_the_same_whatever_stands_beside_it(attention: str, positions: str) -> None:
    model, tokens = make(attention, positions), tokens_of(3)
    view = clip_view(FRAMES, True, CPU)
    together = model(tokens, view)
    assert torch.allclose(together[1:2], model(tokens[1:2], view), atol=1e-12)


# ------------------------------------------------------------------ who sees whom


@all_kinds
@pytest.mark.parametrize("frame", range(FRAMES))
def test_a_causal_frame_sees_itself_and_the_past_only(attention: str, positions: str, frame: int) -> None:
    model, tokens, view = make(attention, positions), tokens_of(), clip_view(FRAMES, True, CPU)
    seen_from = changed_frames(model(tokens, view), model(with_other_frame(tokens, frame), view))
    assert seen_from == ([frame] if attention == "framewise" else list(range(frame, FRAMES)))


@all_kinds
def test_without_causality_every_frame_sees_every_frame(attention: str, positions: str) -> None:
    model, tokens, view = (
        make(attention, positions, recipe__clean_past=False, model__causal=False),
        tokens_of(),
        clip_view(FRAMES, False, CPU),
    )
    seen_from = changed_frames(model(tokens, view), model(with_other_frame(tokens, 2), view))
    assert seen_from == ([2] if attention == "framewise" else [0, 1, 2, 3])


@all_kinds
@pytest.mark.parametrize("frame", range(FRAMES))
def test_individual_frames_see_no_other(attention: str, positions: str, frame: int) -> None:
    """The first clip is cut, the second is not: both in one batch, in one stream and in two."""
    model, tokens, cut = make(attention, positions), tokens_of(), torch.tensor([True, False])
    hidden_input = masked(tokens)
    view = clip_view(FRAMES, True, CPU, cut)
    one, other = (model(given, view)[:1] for given in (hidden_input, with_other_frame(hidden_input, frame)))
    assert changed_frames(one, other) == [frame]

    view = clean_past_view(FRAMES - 1, 0, FRAMES, CPU, cut)
    one, other = (
        model(torch.cat([given[:, :-1], given], dim=1), view)[:1, FRAMES - 1 :]
        for given in (hidden_input, with_other_frame(hidden_input, frame))
    )
    assert changed_frames(one, other) == [frame]


@all_kinds
def test_cutting_one_clip_leaves_the_others_as_they_were(attention: str, positions: str) -> None:
    model, tokens = make(attention, positions), tokens_of()
    together = model(tokens, clip_view(FRAMES, True, CPU, torch.tensor([True, False])))
    assert torch.allclose(together[1:], model(tokens[1:], clip_view(FRAMES, True, CPU)), atol=1e-12)


@all_kinds
def test_a_masked_frame_sees_the_clean_past_and_nothing_else(attention: str, positions: str) -> None:
    model, tokens, first = make(attention, positions), tokens_of(), 1
    view = clean_past_view(FRAMES - 1, first, FRAMES, CPU)
    hidden_input = masked(tokens)[:, first:]

    def second_stream(past: Tensor, hidden: Tensor) -> Tensor:
        return model(torch.cat([past[:, : FRAMES - 1], hidden], dim=1), view)[:, FRAMES - 1 :]

    before = second_stream(tokens, hidden_input)
    for frame in range(FRAMES - 1):  # a clean frame is seen by the masked frames after it
        later = [] if attention == "framewise" else [late - first for late in range(max(frame + 1, first), FRAMES)]
        assert changed_frames(before, second_stream(with_other_frame(tokens, frame), hidden_input)) == later
    for frame in range(FRAMES - first):  # a masked frame only by itself
        assert changed_frames(before, second_stream(tokens, with_other_frame(hidden_input, frame))) == [frame]


@pytest.mark.parametrize("attention", ["full", "factorized"])
def test_relative_positions_know_distances_in_time_and_learned_ones_times(attention: str) -> None:
    tokens, view = tokens_of(frames=2), clip_view(2, True, CPU)
    later = View(view.times_F + 1, view.key_times_K + 1, view.allowed_BFK)
    relative, learned = make(attention, "relative"), make(attention, "learned")
    assert torch.allclose(relative(tokens, view), relative(tokens, later), atol=1e-12)
    assert not torch.allclose(learned(tokens, view), learned(tokens, later))


def test_offsets_between_places_are_the_same_for_the_same_shift() -> None:
    offsets = place_offsets(3)
    assert offsets.shape == (9, 9)
    assert offsets.min() == 0
    assert offsets.max() == 24
    by_shift: dict[tuple[int, int], set[int]] = {}
    for one, other in itertools.product(range(9), repeat=2):
        shift = (one // 3 - other // 3, one % 3 - other % 3)
        by_shift.setdefault(shift, set()).add(int(offsets[one, other]))
    assert all(len(found) == 1 for found in by_shift.values())
    assert len(set.union(*by_shift.values())) == len(by_shift) == 25


# ------------------------------------------------------------------ training and sampling agree


def recomputed(model: VideoTransformer, tokens: Tensor, hidden_input: Tensor, frame: int) -> Tensor:
    """Hidden states of one masked frame after its clean past, in one plain pass."""
    clip = torch.cat([tokens[:, :frame], hidden_input[:, frame : frame + 1]], dim=1)
    return model(clip, clip_view(frame + 1, True, CPU))[:, -1]


def cached(model: VideoTransformer, tokens: Tensor, hidden_input: Tensor, frame: int, chunks: list[int]) -> Tensor:
    """The same through a cache that is filled in pieces ending at `chunks`, the last together with the masked frame."""
    cache, done = Cache(), 0
    for end in [*chunks, frame]:
        last = end == frame
        new = tokens[:, done:end] if not last else torch.cat([tokens[:, done:end], hidden_input[:, frame : frame + 1]], dim=1)
        if new.shape[1]:
            hidden = model(new, cached_view(cache, new.shape[1], end - done, CPU))
        done = end
        if last:
            break
    assert cache.frames == frame
    return hidden[:, -1]


@all_kinds
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_two_streams_a_cache_and_a_plain_pass_give_the_same_numbers(attention: str, positions: str, norm: str) -> None:
    model, tokens = make(attention, positions, model__norm=norm), tokens_of()
    hidden_input = masked(tokens)
    with torch.no_grad():
        for first in (0, 2):
            view = clean_past_view(FRAMES - 1, first, FRAMES, CPU)
            trained = model(torch.cat([tokens[:, :-1], hidden_input[:, first:]], dim=1), view)[:, FRAMES - 1 :]
            for frame in range(first, FRAMES):
                plain = recomputed(model, tokens, hidden_input, frame)
                assert torch.allclose(trained[:, frame - first], plain, atol=1e-10)
                assert torch.allclose(cached(model, tokens, hidden_input, frame, []), plain, atol=1e-10)
                assert torch.allclose(cached(model, tokens, hidden_input, frame, list(range(1, frame))), plain, atol=1e-10)


@all_kinds
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_frames_that_nobody_asks_for_are_left_out_and_change_nothing(attention: str, positions: str, norm: str) -> None:
    model = make(attention, positions, model__norm=norm, model__layers=2)
    tokens = tokens_of()
    view = clip_view(FRAMES, True, tokens.device)
    assert torch.allclose(model(tokens, view, skip=2), model(tokens, view)[:, 2:])
    caches = Cache(), Cache()
    first, second = (
        model(tokens, cached_view(cache, FRAMES, 3, tokens.device), skip=skip) for cache, skip in zip(caches, (0, 3), strict=True)
    )
    assert torch.allclose(first[:, 3:], second)
    assert all(torch.equal(a, b) for a, b in zip(caches[0].keys + caches[0].values, caches[1].keys + caches[1].values, strict=True))


@given(st.sampled_from(ATTENTIONS), st.sampled_from(POSITIONS), st.integers(0, 3), st.sets(st.integers(1, 2)), st.integers(0, 9))
@settings(max_examples=15)
def test_it_does_not_matter_in_which_pieces_a_cache_is_filled(
    attention: str, positions: str, frame: int, chunks: set[int], seed: int
) -> None:
    model, tokens = make(attention, positions), tokens_of(seed=seed)
    hidden_input = masked(tokens, seed)
    ends = [end for end in sorted(chunks) if end < frame]
    with torch.no_grad():
        found = cached(model, tokens, hidden_input, frame, ends)
        assert torch.allclose(found, recomputed(model, tokens, hidden_input, frame), atol=1e-10)


@all_kinds
def test_the_masked_frame_never_enters_the_cache(attention: str, positions: str) -> None:
    model, tokens, cache = make(attention, positions), tokens_of(), Cache()
    first = model(tokens, cached_view(cache, FRAMES, FRAMES - 1, CPU))[:, -1]
    again = model(tokens[:, -1:], cached_view(cache, 1, 0, CPU))[:, -1]
    model(masked(tokens)[:, -1:], cached_view(cache, 1, 0, CPU))
    once_more = model(tokens[:, -1:], cached_view(cache, 1, 0, CPU))[:, -1]
    assert cache.frames == FRAMES - 1
    assert torch.allclose(first, again, atol=1e-10)
    assert torch.equal(again, once_more)


@all_kinds
def test_the_backends_of_training_and_sampling_agree(attention: str, positions: str) -> None:
    model, tokens, view = make(attention, positions), tokens_of(), clip_view(FRAMES, True, CPU)
    with_gradient = model(tokens, view)
    with torch.no_grad():
        assert torch.allclose(model(tokens, view), with_gradient, atol=1e-10)


# ------------------------------------------------------------------ norm, dropout, gradients


def still_block(norm: str) -> Block:
    """A block whose branches add nothing."""
    block = make("factorized", model__norm=norm).blocks[0]
    for name, parameter in block.named_parameters():
        if name.endswith(("out.weight", "mlp_out.weight")):
            parameter.data.zero_()
    return block


def test_pre_ln_leaves_the_residual_stream_alone_and_post_ln_normalises_it() -> None:
    x = 3 + 5 * torch.randn(1, 2, 4, 16, generator=torch_generator(0), dtype=torch.float64)
    view, bias = clip_view(2, True, CPU), torch.zeros(1, 1, 1, 2, 2, dtype=torch.float64)
    assert torch.equal(still_block("pre")(x, view, 0, None, bias), x)
    post = still_block("post")
    expected = post.mlp_norm(post.time_norm(post.space_norm(x)))
    assert torch.allclose(post(x, view, 0, None, bias), expected, atol=1e-12)


def test_codes_share_features_with_the_codes_that_share_their_levels() -> None:
    codebook_VK = new_tokenizer(TINY.tokenizer, 1, torch_generator(0)).codebook()
    features_VK = code_features(codebook_VK, TINY.tokenizer.code_features)
    assert features_VK.shape == (16, 2 + 4 + 4)
    assert torch.equal(features_VK[:, :2], codebook_VK)
    one_hot_VK = features_VK[:, 2:]
    assert torch.equal(one_hot_VK.sum(dim=1), torch.full((16,), 2.0))
    for v in range(16):
        for w in range(16):
            shared = (codebook_VK[v] == codebook_VK[w]).sum()
            assert one_hot_VK[v] @ one_hot_VK[w] == shared
    assert torch.equal(code_features(codebook_VK, 2), codebook_VK)  # a learned codebook has no levels


def test_the_norms_place_is_the_configs_for_every_kind_of_attention() -> None:
    for attention in ATTENTIONS:
        pre, post = (make(attention, model__norm=norm) for norm in ("pre", "post"))
        assert all(block.pre for block in pre.blocks)
        assert not any(block.pre for block in post.blocks)
        post.load_state_dict(pre.state_dict())
        post.features_VK.copy_(pre.features_VK)
        view = clip_view(FRAMES, True, CPU)
        assert not torch.allclose(pre(tokens_of(), view), post(tokens_of(), view), atol=1e-3)


def test_dropout_acts_in_training_only() -> None:
    model, tokens, view = make(model__dropout=0.5), tokens_of(), clip_view(FRAMES, True, CPU)
    before = torch.get_rng_state()
    assert torch.equal(model(tokens, view), model(tokens, view))
    assert torch.equal(before, torch.get_rng_state())
    model.train()
    assert not torch.allclose(model(tokens, view), model(tokens, view))


@pytest.mark.parametrize("kept", ["residual", "attention"])
def test_dropout_acts_on_attention_and_on_what_each_branch_adds(kept: str) -> None:
    model, tokens, view = make(model__dropout=0.5).train(), tokens_of(), clip_view(FRAMES, True, CPU)
    for module in model.modules():
        if isinstance(module, Block if kept == "attention" else Attention):
            module.dropout = 0.0
    assert not torch.allclose(model(tokens, view), model(tokens, view))


@all_kinds
def test_gradient_checkpointing_gives_the_same_gradients(attention: str, positions: str) -> None:
    model, tokens = make(attention, positions, model__dropout=0.1).train(), tokens_of()
    view, found = clip_view(FRAMES, True, CPU), []
    for model.gradient_checkpointing in (False, True):
        torch.manual_seed(0)
        model.zero_grad()
        F.cross_entropy(model.logits(model(masked(tokens), view)).flatten(0, 2), tokens.flatten()).backward()
        found.append({name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None})
    assert set(found[0]) == set(found[1])
    assert all(torch.allclose(found[0][name], found[1][name], atol=1e-12) for name in found[0])


@all_kinds
def test_the_loss_reaches_every_weight(attention: str, positions: str) -> None:
    model, tokens = make(attention, positions), tokens_of()
    hidden = model(masked(tokens), clip_view(FRAMES, True, CPU))
    F.cross_entropy(model.logits(hidden).flatten(0, 2), tokens.flatten()).backward()
    unused = {name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()}
    assert unused == ({"time_bias"} if attention == "framewise" and positions != "learned" else set())  # no time, so no distance in time


def test_the_squared_relu_has_its_gradient() -> None:
    x = torch.tensor([-2.0, -0.1, 0.3, 1.5], dtype=torch.float64, requires_grad=True)
    assert torch.equal(squared_relu(x.clone()), x.relu() ** 2)
    assert torch.autograd.gradcheck(lambda x: squared_relu(x.clone()), (x,))


def test_under_autocast_the_numbers_stay_close() -> None:
    model, view = VideoTransformer.new(TINY, torch_generator(0)).eval(), clip_view(FRAMES, True, CPU)
    tokens = random_tokens()
    with torch.no_grad():
        exact = model(tokens, view)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(tokens, view)
    assert (rough.float() - exact).abs().max() < 0.1


# ------------------------------------------------------------------ making one


@pytest.mark.parametrize("positions", ["learned", "relative"])
def test_making_one_does_not_draw_from_torchs_own_generator(positions: str) -> None:
    before = torch.get_rng_state()
    one, same, other = (VideoTransformer.new(tiny(model__positions=positions), torch_generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("positions", ["learned", "relative"])
def test_a_new_one_predicts_nearly_uniformly(positions: str) -> None:
    model = VideoTransformer.new(tiny(model__positions=positions), torch_generator(0)).eval()
    log_probabilities = model.logits(model(random_tokens(), clip_view(FRAMES, True, CPU))).log_softmax(-1)
    assert torch.allclose(log_probabilities.exp(), torch.full_like(log_probabilities, 1 / 16), atol=0.05)


def test_weights_are_drawn_small_and_branch_outputs_smaller() -> None:
    model = VideoTransformer.new(preset("debug"), torch_generator(0))
    assert float(model.token_embedding.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert float(model.blocks[0].mlp_in.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert float(model.blocks[0].mlp_out.weight.detach().std()) == pytest.approx(0.01, rel=0.05)  # 0.02 / sqrt(2 x 2 layers)
    assert float(model.final_norm.weight.detach().min()) == 1


def test_frames_of_more_tokens_than_attention_can_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="data.size 512 with tokenizer.downsampling 4 makes 16384 tokens a frame"):
        Config().replace({"data.size": 512, "tokenizer.downsampling": 4})
