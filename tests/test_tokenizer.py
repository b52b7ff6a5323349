"""The tokenizer, with either quantizer: ids in range, codes that lead back to their ids, gradients, and no draw from torch's own generator."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import TINY, roughen, tiny_tokenizer
from torch import Tensor

from vidapp.config import TokenizerConfig
from vidapp.randomness import torch_generator
from vidapp.tokenizer import Tokenizer, new_tokenizer

QUANTIZERS = ("fsq", "vq")
both_quantizers = pytest.mark.parametrize("quantizer", QUANTIZERS)


def config_of(quantizer: str, **changes: object) -> TokenizerConfig:
    return replace(TINY.tokenizer, quantizer=quantizer, **changes)


def make(quantizer: str, colours: int = 1, seed: int = 0, **changes: object) -> Tokenizer:
    return new_tokenizer(config_of(quantizer, **changes), colours, torch_generator(seed, "tokenizer"))


def frames_of(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch_generator(seed, "frames"))


def ids_of(tokenizer: Tokenizer, codes_VK: Tensor) -> Tensor:
    """Ids of code vectors, by the quantizer's own way back."""
    if tokenizer.config.quantizer == "fsq":
        return tokenizer.quantizer.codes_to_indices(codes_VK).long()
    return tokenizer.eval().quantize(codes_VK[None, None])[1].flatten()


# ------------------------------------------------------------------ frames <-> ids


@given(
    st.sampled_from(QUANTIZERS),
    st.sampled_from((2, 4, 8, 16, 32)),
    st.sampled_from((1, 3)),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(8, 10),
)
@settings(max_examples=20)
def test_frames_become_a_grid_of_ids_and_ids_frames(
    quantizer: str, downsampling: int, colours: int, clips: int, frames: int, blocks: int, width: int
) -> None:
    tokenizer = make(quantizer, colours, downsampling=downsampling, channels=width, encoder_blocks=blocks, decoder_blocks=blocks).eval()
    pixels = frames_of(clips, frames, colours, 32, 32)
    with torch.no_grad():
        tokens = tokenizer.encode(pixels)
        drawn = tokenizer.decode(tokens)
    assert tokens.shape == (clips, frames, 32 // downsampling, 32 // downsampling)
    assert tokens.dtype == torch.int64
    assert tokens.min() >= 0
    assert tokens.max() < tokenizer.codebook_size
    assert drawn.shape == pixels.shape
    assert torch.isfinite(drawn).all()


@given(st.lists(st.integers(3, 12), min_size=1, max_size=4), st.integers(0, 100), st.floats(0.1, 100))
@settings(max_examples=30)
def test_fsq_ids_stay_in_range_however_far_out_a_vector_lies(levels: list[int], seed: int, scale: float) -> None:
    tokenizer = new_tokenizer(replace(TINY.tokenizer, levels=tuple(levels)), 1)
    vectors = scale * torch.randn(1, 5, 5, len(levels), generator=torch_generator(seed))
    codes, ids, _ = tokenizer.quantize(vectors)
    assert ids.min() >= 0
    assert ids.max() < tokenizer.codebook_size
    assert torch.allclose(tokenizer.codes(ids), codes, atol=1e-6)


@pytest.mark.parametrize("levels", [(3,), (4, 4), (8, 5, 5, 5), (7, 3, 4)])
def test_every_fsq_id_has_a_code_of_its_own_that_leads_back_to_it(levels: tuple[int, ...]) -> None:
    tokenizer = new_tokenizer(replace(TINY.tokenizer, levels=levels), 1)
    codes = tokenizer.codebook()
    assert codes.shape == (tokenizer.codebook_size, len(levels))
    assert len(codes.unique(dim=0)) == tokenizer.codebook_size
    assert ids_of(tokenizer, codes).tolist() == list(range(tokenizer.codebook_size))
    assert codes.abs().max() <= 1


def test_every_vq_id_has_a_code_of_its_own_that_leads_back_to_it() -> None:
    tokenizer = make("vq")
    codes = tokenizer.codebook()
    assert codes.shape == (16, 4)
    assert ids_of(tokenizer, codes).tolist() == list(range(16))


@both_quantizers
def test_codes_keep_the_shape_of_their_ids(quantizer: str) -> None:
    tokenizer = make(quantizer)
    ids = torch.arange(12).reshape(2, 3, 2)
    assert torch.equal(tokenizer.codes(ids).reshape(12, -1), tokenizer.codebook()[:12])


@both_quantizers
def test_training_and_encoding_agree_on_the_ids(quantizer: str) -> None:
    tokenizer = make(quantizer).eval()
    pixels = frames_of(3, 1, 16, 16)
    drawn, tokens, _ = tokenizer(pixels)
    assert torch.equal(tokens, tokenizer.encode(pixels[:, None])[:, 0])
    assert torch.allclose(drawn, tokenizer.decode(tokens[:, None])[:, 0], atol=1e-6)


@both_quantizers
def test_a_frame_has_the_same_ids_whatever_stands_beside_it(quantizer: str) -> None:
    tokenizer = make(quantizer).eval()
    pixels = frames_of(2, 3, 1, 16, 16)
    alone = torch.stack([tokenizer.encode(clip[None, frame : frame + 1])[0, 0] for clip in pixels for frame in range(3)])
    assert torch.equal(tokenizer.encode(pixels).flatten(0, 1), alone)


@both_quantizers
@pytest.mark.parametrize("downsampling", [2, 4, 8])
@pytest.mark.parametrize(("overlap", "reached"), [(True, {2, 3, 4}), (False, {3})])
def test_a_token_depends_on_its_patch_and_with_overlap_on_the_margin_around_it(
    quantizer: str, downsampling: int, overlap: bool, reached: set[int]
) -> None:
    """What is still keeps its ids, however much moves elsewhere in the frame."""
    tokenizer = make(quantizer, downsampling=downsampling, encoder_blocks=2, overlap=overlap).eval()
    roughen(tokenizer, torch_generator(1))
    pixels = frames_of(1, 8, 1, 8 * downsampling, 8 * downsampling)
    changed = pixels.clone()
    changed[..., 3 * downsampling : 4 * downsampling, 3 * downsampling : 4 * downsampling] += 5
    _, rows, columns = (tokenizer.encode(pixels) != tokenizer.encode(changed))[0].nonzero().T
    assert len(rows) > 0
    assert {*rows.tolist(), *columns.tolist()} <= reached


@both_quantizers
def test_ids_do_not_depend_on_autocast_in_the_quantizer(quantizer: str) -> None:
    tokenizer = make(quantizer).eval()
    vectors = torch.randn(2, 4, 4, tokenizer.config.code_dim, generator=torch_generator(0))
    with torch.autocast("cpu", torch.bfloat16):
        inside = tokenizer.quantize(vectors)[1]
    assert torch.equal(inside, tokenizer.quantize(vectors)[1])


# ------------------------------------------------------------------ learning


@both_quantizers
def test_the_gradient_reaches_every_weight_of_encoder_and_decoder(quantizer: str) -> None:
    tokenizer = make(quantizer).train()
    roughen(tokenizer, torch_generator(1))  # at first residual branches are zero, and so may all codes be
    pixels = frames_of(4, 1, 16, 16)
    drawn, _, own_loss = tokenizer(pixels)
    (F.mse_loss(drawn, pixels) + own_loss).backward()
    for name, parameter in tokenizer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@both_quantizers
def test_a_few_steps_on_one_batch_halve_its_error(quantizer: str) -> None:
    tokenizer = make(quantizer).train()
    pixels = F.interpolate(frames_of(4, 1, 2, 2), scale_factor=8.0)
    optimizer = torch.optim.AdamW(tokenizer.parameters(), lr=1e-2)
    errors = []
    torch.manual_seed(0)  # VQ's restart of dead codes draws from it
    for _ in range(40):
        drawn, _, own_loss = tokenizer(pixels)
        optimizer.zero_grad()
        (F.mse_loss(drawn, pixels) + own_loss).backward()
        optimizer.step()
        errors.append(float(F.mse_loss(drawn.detach(), pixels)))
    assert errors[-1] < 0.5 * errors[0]


def test_fsq_has_no_loss_of_its_own_and_vq_pulls_vectors_to_their_codes() -> None:
    vectors = torch.randn(2, 4, 4, 4, generator=torch_generator(0))
    assert float(make("fsq", levels=(4, 4, 4, 4)).train().quantize(vectors)[2]) == 0
    for seed in range(3):
        tokenizer = make("vq", seed=seed).eval()
        nearest = tokenizer.quantize(vectors)[0]
        own_loss = tokenizer.train().quantize(vectors.clone().requires_grad_())[2]
        assert float(own_loss.detach()) == pytest.approx(0.25 * float(F.mse_loss(nearest, vectors)), rel=1e-5)


def test_vq_moves_its_codes_to_the_data_and_restarts_dead_ones() -> None:
    tokenizer = make("vq").train()
    vectors = 5 + torch.randn(4, 4, 4, 4, generator=torch_generator(0))  # far from every code
    torch.manual_seed(0)
    for _ in range(3):
        tokenizer.quantize(vectors)
    used = tokenizer.eval().quantize(vectors)[1].unique()
    assert len(used) >= 12
    assert (tokenizer.codebook()[used] - 5).abs().max() < 5


@both_quantizers
def test_encoding_leaves_the_tokenizer_as_it_was(quantizer: str) -> None:
    tokenizer = make(quantizer).eval()
    before = {name: tensor.clone() for name, tensor in tokenizer.state_dict().items()}
    tokenizer.encode(frames_of(2, 2, 1, 16, 16))
    assert all(torch.equal(before[name], tensor) for name, tensor in tokenizer.state_dict().items())


# ------------------------------------------------------------------ making one


@both_quantizers
def test_making_and_using_one_does_not_draw_from_torchs_own_generator(quantizer: str) -> None:
    before = torch.get_rng_state()
    tokenizer = make(quantizer).eval()
    new_tokenizer(config_of(quantizer), 3)
    tokenizer.decode(tokenizer.encode(frames_of(1, 1, 1, 16, 16)))
    assert torch.equal(before, torch.get_rng_state())


@both_quantizers
def test_the_weights_are_a_function_of_the_generator(quantizer: str) -> None:
    one, same, other = (make(quantizer, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


@both_quantizers
def test_a_new_one_can_be_filled_from_anothers_weights(quantizer: str) -> None:
    source = make(quantizer).eval()
    empty = new_tokenizer(config_of(quantizer), 1)
    empty.load_state_dict(source.state_dict())
    pixels = frames_of(1, 2, 1, 16, 16)
    tokens = source.encode(pixels)
    assert torch.equal(empty.eval().encode(pixels), tokens)
    assert torch.equal(empty.decode(tokens), source.decode(tokens))


def test_depth_does_no_harm_at_the_start() -> None:
    shallow, deep = (make("fsq", encoder_blocks=blocks, decoder_blocks=blocks).eval() for blocks in (0, 3))
    for name, tensor in shallow.named_parameters():
        assert torch.isfinite(tensor).all(), name
    block = deep.get_submodule("encoder.1")
    x = torch.randn(1, 8, 4, 4, generator=torch_generator(0))
    assert torch.equal(block(x), x)


def test_codebook_and_sizes_are_the_configs() -> None:
    assert tiny_tokenizer().codebook_size == 16
    assert make("vq", vq_codebook_size=7).codebook().shape == (7, 4)
    assert make("vq", vq_code_dim=3).codebook().shape == (16, 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"levels": ()}, "tokenizer.levels is empty"),
        ({"levels": (4, 2)}, "tokenizer.levels is 2"),
        ({"levels": (4,) * 100_000}, "tokenizer.levels has 100000 entries"),
        ({"levels": (64, 64, 64)}, "make 262144 codes: use at most 65536"),
        ({"downsampling": 3}, "tokenizer.downsampling is 3"),
    ],
)
def test_what_no_quantizer_can_do_is_refused_by_setting(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        TokenizerConfig(**changes)
    assert len(str(caught.value)) < 300
