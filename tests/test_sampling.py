"""Iterative decoding, driven by fakes whose logits are known: what is committed, in which order, with which probability."""

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import vidapp.sampling
from vidapp.config import SamplingConfig
from vidapp.randomness import torch_generator
from vidapp.sampling import ALIKE, DecodeStep, anywhere, decode, expected, masked_share, order_scores, sharpen, temperature_at

V = 6
MASK = V
LOGITS_V = torch.tensor([2.0, 1.0, 0.0, -1.0, 0.5, -3.0])
SEEDS = st.integers(0, 2**31 - 1)
settings_drawn = st.builds(
    SamplingConfig,
    temperature=st.floats(0, 3),
    anneal=st.booleans(),
    top_k=st.integers(0, V),
    top_p=st.floats(0.01, 1),
    steps=st.integers(1, 9),
    order=st.sampled_from(("confidence", "random", "fixed")),
    noise=st.floats(0, 10),
)


def constant(tokens: Tensor) -> Tensor:
    """The same logits everywhere."""
    return LOGITS_V.expand(*tokens.shape, V)


def contextual(tokens: Tensor) -> Tensor:
    """Logits that differ from place to place and with what the clip shows so far, as a network's do."""
    places = torch.arange(tokens[0].numel()).reshape(tokens.shape[1:])
    shown = torch.where(tokens == MASK, 0, tokens + 1).flatten(1).sum(dim=1).reshape(-1, *[1] * (tokens.ndim - 1))
    return 3 * torch.sin((places + shown)[..., None] * torch.arange(1, V + 1))


def generators(seed: int, clips: int) -> list[torch.Generator]:
    return [torch_generator(seed, "sample", clip) for clip in range(clips)]


def run(
    settings: SamplingConfig,
    tokens: Tensor | None = None,
    masked: Tensor | None = None,
    logits: Callable[[Tensor], Tensor] = contextual,
    seed: int = 0,
    own: Sequence[torch.Generator] | None = None,
) -> list[DecodeStep]:
    tokens = torch.zeros(2, 3, 4, dtype=torch.long) if tokens is None else tokens
    masked = torch.ones_like(tokens, dtype=torch.bool) if masked is None else masked
    return list(decode(anywhere(logits), tokens, masked, settings, own or generators(seed, len(tokens)), MASK))


def frequencies(**settings: float) -> Tensor:
    """How often each id comes out of 40,000 draws in one step."""
    (step,) = run(SamplingConfig(steps=1, **settings), torch.zeros(1, 200, 200, dtype=torch.long), logits=constant)
    return torch.bincount(step.tokens.flatten(), minlength=V) / 40_000


# ------------------------------------------------------------------ what holds for all settings


@given(settings_drawn, SEEDS, st.data())
def test_everything_is_decided_and_what_is_decided_stays(settings: SamplingConfig, seed: int, data: st.DataObject) -> None:
    generator = torch_generator(seed)
    tokens = torch.randint(V, (2, 1, 3, 3), generator=generator)
    masked = torch.rand(tokens.shape, generator=generator) < data.draw(st.sampled_from((0.0, 0.3, 1.0)))
    steps = run(settings, tokens, masked, seed=seed)
    assert [step.step for step in steps] == list(range(settings.steps))
    before_tokens, before_masked = torch.where(masked, MASK, tokens), masked
    for step in steps:
        assert torch.equal(step.tokens == MASK, step.masked)
        assert not (step.masked & ~before_masked).any()  # nothing decided is hidden again
        assert torch.equal(step.tokens[~before_masked], before_tokens[~before_masked])  # nor drawn again
        assert (step.confidence > 0).all()
        assert (step.confidence <= 1 + 1e-6).all()
        assert (step.confidence[~before_masked] == 1).all()
        before_tokens, before_masked = step.tokens, step.masked
    assert not before_masked.any()
    assert before_tokens.max() < V
    assert before_tokens.min() >= 0
    assert torch.equal(before_tokens[~masked], tokens[~masked])


@given(settings_drawn, SEEDS)
def test_arguments_are_not_changed_and_torchs_own_generator_is_left_alone(settings: SamplingConfig, seed: int) -> None:
    tokens, masked = torch.zeros(2, 2, 2, dtype=torch.long), torch.ones(2, 2, 2, dtype=torch.bool)
    masked[0, 0] = False
    before, state = (tokens.clone(), masked.clone()), torch.get_rng_state()
    steps = run(settings, tokens, masked, seed=seed)
    assert torch.equal(tokens, before[0])
    assert torch.equal(masked, before[1])
    assert torch.equal(state, torch.get_rng_state())
    assert len({step.tokens.data_ptr() for step in steps}) == len(steps)  # a history may be kept


@given(settings_drawn, SEEDS)
def test_a_clip_does_not_depend_on_its_batch(settings: SamplingConfig, seed: int) -> None:
    tokens = torch.randint(V, (3, 2, 3), generator=torch_generator(seed))
    together = run(settings, tokens, seed=seed)[-1].tokens
    alone = run(settings, tokens[2:], own=generators(seed, 3)[2:])[-1].tokens
    assert torch.equal(together[2:], alone)


def test_a_seed_decides_the_result() -> None:
    settings = SamplingConfig(temperature=1.0, top_k=0)
    one, same, other = (run(settings, seed=seed)[-1].tokens for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_network_sees_the_mask_exactly_where_nothing_is_decided() -> None:
    seen = []

    def watching(tokens: Tensor) -> Tensor:
        seen.append(tokens.clone())
        return contextual(tokens)

    steps = run(SamplingConfig(steps=4), logits=watching)
    assert len(seen) == 4
    assert (seen[0] == MASK).all()
    assert all(torch.equal(after, step.tokens) for after, step in zip(seen[1:], steps[:-1], strict=True))


def test_every_step_has_chances_of_its_own_in_the_order_of_the_clips_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a place: what its token is drawn with, and the noise of its order."""
    seen: list[tuple[Tensor, Tensor]] = []

    def scores(settings: SamplingConfig, confidence: Tensor, uniform: Tensor, places: Tensor, step: int) -> Tensor:
        seen.append((places, uniform))
        return order_scores(settings, confidence, uniform, places, step)

    def drawing(logits: Tensor, settings: SamplingConfig, step: int, uniform: Tensor, codes_VK: Tensor | None) -> Tensor:
        drawn.append(uniform)
        return choose(logits, settings, step, uniform, codes_VK)

    drawn: list[Tensor] = []
    order_scores, choose = vidapp.sampling.order_scores, vidapp.sampling.choose
    monkeypatch.setattr(vidapp.sampling, "order_scores", scores)
    monkeypatch.setattr(vidapp.sampling, "choose", drawing)
    run(SamplingConfig(steps=4), seed=7)
    own = [torch_generator(7, "sample", clip) for clip in range(2)]
    for uniform, (places, noise) in zip(drawn, seen, strict=True):
        for chances in (uniform, noise):
            fresh = torch.stack([torch.rand(3, 4, generator=generator) for generator in own]).flatten(1)
            assert torch.equal(chances, fresh.gather(1, places))


def test_the_network_is_asked_where_something_is_masked_and_nowhere_else() -> None:
    asked: list[Tensor] = []

    def watching(tokens: Tensor, places_BM: Tensor) -> Tensor:
        asked.append(places_BM)
        return anywhere(contextual)(tokens, places_BM)

    tokens, masked = torch.zeros(1, 4, 4, dtype=torch.long), torch.ones(1, 4, 4, dtype=torch.bool)
    masked[0, 0, :2] = False
    steps = list(decode(watching, tokens, masked, SamplingConfig(steps=4), generators(0, 1), MASK))
    hidden = [masked, *(step.masked for step in steps[:-1])]
    assert [places.tolist() for places in asked] == [[before.flatten().nonzero().flatten().tolist()] for before in hidden]


def test_the_network_is_not_asked_once_nothing_is_masked() -> None:
    masked = torch.zeros(1, 4, 4, dtype=torch.bool)
    calls = []

    def counting(tokens: Tensor) -> Tensor:
        calls.append(tokens)
        return contextual(tokens)

    tokens, settings = torch.zeros(1, 4, 4, dtype=torch.long), SamplingConfig(steps=3)
    assert [int(step.masked.sum()) for step in run(settings, tokens, masked, counting)] == [0, 0, 0]
    assert not calls
    masked[0, 0, 0] = True
    run(settings, tokens, masked, counting)
    assert len(calls) == 1


def test_clips_with_different_numbers_of_masks_are_decoded_together() -> None:
    masked = torch.zeros(2, 4, 4, dtype=torch.bool)
    masked[0], masked[1, 0, 0] = True, True
    steps = run(SamplingConfig(steps=4), torch.zeros(2, 4, 4, dtype=torch.long), masked)
    assert [int(step.masked[0].sum()) for step in steps] == [int(16 * masked_share(number, 4)) for number in range(4)]
    assert not steps[-1].masked.any()


# ------------------------------------------------------------------ schedule


@given(st.integers(1, 100))
def test_the_masked_share_falls_along_a_cosine_to_exactly_nothing(steps: int) -> None:
    shares = [masked_share(step, steps) for step in range(steps)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == 0.0
    assert all(0 < share < 1 for share in shares[:-1])
    if steps % 2 == 0:
        assert shares[steps // 2 - 1] == pytest.approx(0.5**0.5)


@given(st.floats(0.1, 3), st.integers(2, 64))
def test_annealing_lowers_the_temperature_to_a_tenth(temperature: float, steps: int) -> None:
    settings = SamplingConfig(temperature=temperature, anneal=True, steps=steps)
    values = [temperature_at(settings, step) for step in range(steps)]
    assert values[0] == temperature
    assert values[-1] == pytest.approx(0.1 * temperature)
    assert values == sorted(values, reverse=True)
    flat = SamplingConfig(temperature=temperature, anneal=False, steps=steps)
    assert {temperature_at(flat, step) for step in range(steps)} == {temperature}


def test_a_single_step_is_taken_at_the_temperature_itself() -> None:
    assert temperature_at(SamplingConfig(temperature=0.7, anneal=True, steps=1), 0) == 0.7


# ------------------------------------------------------------------ what is drawn


@pytest.mark.parametrize("temperature", [0.3, 0.5, 1.0, 2.0])
def test_temperature_acts_on_the_logits(temperature: float) -> None:
    expected = (LOGITS_V / temperature).softmax(-1)
    assert torch.allclose(frequencies(temperature=temperature, top_k=0), expected, atol=0.01)
    if temperature != 1.0:  # dividing probabilities instead would change nothing
        assert not torch.allclose(expected, LOGITS_V.softmax(-1), atol=0.05)


@pytest.mark.parametrize("temperature", [1e-40, 1e-12, 1e-7])
def test_a_temperature_next_to_zero_is_zero(temperature: float) -> None:
    assert frequencies(temperature=temperature, top_k=0).argmax() == LOGITS_V.argmax()
    assert frequencies(temperature=temperature, top_k=0).max() == 1.0


@pytest.mark.parametrize("steps", [1, 4, 32])  # in 32, the last decide nothing
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_that_has_diverged_is_not_sampled(value: float, steps: int) -> None:
    tokens = torch.zeros(1, 4, 4, dtype=torch.long)
    with pytest.raises(ValueError, match="no numbers .NaN.: its training has diverged"):
        list(decode(anywhere(lambda t: contextual(t) * value), tokens, tokens == 0, SamplingConfig(steps=steps), generators(0, 1), MASK))


@given(settings_drawn, SEEDS)
def test_temperature_zero_and_top_one_take_the_most_likely(settings: SamplingConfig, seed: int) -> None:
    tokens = torch.zeros(1, 4, 4, dtype=torch.long)
    likeliest = contextual(torch.full_like(tokens, MASK)).argmax(-1)
    for greedy in ({"temperature": 0.0}, {"top_k": 1}):
        single = SamplingConfig(**{**vars(settings), "steps": 1, **greedy})
        assert torch.equal(run(single, tokens, seed=seed)[-1].tokens, likeliest)


def test_top_k_leaves_the_k_most_likely_in_their_proportions() -> None:
    found = frequencies(temperature=1.0, top_k=3)
    kept = torch.tensor([0, 1, 4])
    assert found[kept].sum() == pytest.approx(1)
    assert torch.allclose(found[kept], LOGITS_V[kept].softmax(-1), atol=0.01)


def test_top_p_leaves_the_most_likely_that_hold_so_much_probability() -> None:
    """The probabilities are .56 .21 .12 .08 .03 .00: .56 and .21 together first reach .6."""
    found = frequencies(temperature=1.0, top_k=0, top_p=0.6)
    assert set(found.nonzero().flatten().tolist()) == {0, 1}
    assert torch.allclose(found[:2], LOGITS_V[:2].softmax(-1), atol=0.01)


def spread(choices: tuple[Tensor, Tensor], logits: Tensor) -> Tensor:
    """What remains of the logits at its ids, -inf elsewhere."""
    return torch.full_like(logits, float("-inf")).scatter(-1, choices[1], choices[0])


@given(
    st.lists(st.floats(-20, 20), min_size=1, max_size=12, unique=True),
    st.floats(0.05, 5),
    st.integers(0, 12),
    st.floats(0.01, 1),
)
def test_sharpening_keeps_the_likeliest_and_their_proportions(values: list[float], temperature: float, top_k: int, top_p: float) -> None:
    logits = torch.tensor(values, dtype=torch.float64)
    sharp = spread(sharpen(logits, temperature, top_k, top_p), logits)
    kept = torch.isfinite(sharp)
    assert kept[logits.argmax()]
    assert torch.allclose(sharp[kept], logits[kept] / temperature)
    assert not (~kept).any() or logits[kept].min() > logits[~kept].max()
    if top_k > 0:
        assert kept.sum() <= top_k
    if top_p < 1:
        scaled = spread(sharpen(logits, temperature, top_k, 1.0), logits).softmax(-1)
        assert scaled[kept].sum() >= top_p - 1e-9  # enough of it,
        assert scaled[kept].sum() - scaled[kept].min() < top_p + 1e-9  # and none too many
    else:
        assert kept.sum() == (min(top_k, len(values)) or len(values))


@given(st.lists(st.floats(-5, 5), min_size=V, max_size=V), st.integers(1, 4), SEEDS)
def test_what_is_expected_has_the_least_expected_squared_distance(values: list[float], dimensions: int, seed: int) -> None:
    logits, codes_VK = torch.tensor(values), torch.randn(V, dimensions, generator=torch_generator(seed))
    distances_VV = (codes_VK[:, None] - codes_VK[None]).square().sum(dim=-1)
    risks_V = distances_VV @ logits.softmax(dim=-1)
    assert risks_V[expected(logits, codes_VK)] == pytest.approx(float(risks_V.min()), rel=1e-4, abs=ALIKE + 1e-4)


def test_of_codes_that_are_drawn_alike_the_likeliest_is_expected() -> None:
    codes_VK, logits = torch.tensor([[0.0], [2.0], [2.0], [2.0], [9.0], [9.0]]), torch.tensor([0.1, 0.1, 0.4, 0.3, 0.05, 0.05]).log()
    assert int(expected(logits, codes_VK.double())) == 2


@pytest.mark.parametrize("order", ["confidence", "random", "fixed"])
@pytest.mark.parametrize("steps", [1, 4])
def test_what_is_expected_is_the_same_for_every_seed(steps: int, order: str) -> None:
    settings, tokens = SamplingConfig(choice="expected", steps=steps, order=order), torch.zeros(1, 2, 3, 4, dtype=torch.long)
    codes_VK, everything = torch.randn(V, 3, generator=torch_generator(0)), torch.ones_like(tokens, dtype=torch.bool)
    ends = [
        list(decode(anywhere(contextual), tokens, everything, settings, generators(seed, 1), MASK, codes_VK=codes_VK))[-1].tokens
        for seed in range(4)
    ]
    assert all(torch.equal(end, ends[0]) for end in ends)


def test_what_is_expected_need_not_be_what_is_likeliest_and_no_seed_or_temperature_changes_it() -> None:
    """Two patches close to each other with 0.3 each, and one far from them with 0.4."""
    codes_VK = torch.tensor([[0.0], [1.0], [9.0], [50.0], [50.0], [50.0]])
    logits = torch.tensor([0.3, 0.3, 0.4, 1e-9, 1e-9, 1e-9]).log()
    tokens = torch.zeros(1, 1, 2, 2, dtype=torch.long)
    for seed, temperature in ((0, 0.8), (1, 0.8), (0, 3.0)):
        settings = SamplingConfig(steps=1, choice="expected", temperature=temperature, top_k=1)
        (step,) = decode(
            anywhere(lambda tokens: logits.expand(*tokens.shape, V)), tokens, torch.ones_like(tokens, dtype=torch.bool), settings, generators(seed, 1), MASK,
            codes_VK=codes_VK,
        )  # fmt: skip
        assert (step.tokens == 1).all()
        assert step.confidence.mean() == pytest.approx(0.3)


def test_probability_zero_is_never_drawn() -> None:
    def impossible(tokens: Tensor) -> Tensor:
        return torch.tensor([float("-inf"), 0.0, float("-inf"), 0.0, float("-inf"), float("-inf")]).expand(*tokens.shape, V)

    (step,) = run(SamplingConfig(steps=1, temperature=1.0, top_k=0), torch.zeros(1, 100, 100, dtype=torch.long), logits=impossible)
    assert set(step.tokens.unique().tolist()) == {1, 3}


# ------------------------------------------------------------------ order


def commit_times(settings: SamplingConfig, logits: Callable[[Tensor], Tensor], seed: int = 0) -> Tensor:
    """The step in which each of 16 places of one clip is committed."""
    steps = run(settings, torch.zeros(1, 4, 4, dtype=torch.long), logits=logits, seed=seed)
    return torch.stack([step.masked[0].flatten() for step in steps]).sum(dim=0)


def surer_and_surer(tokens: Tensor) -> Tensor:
    """The later in raster order, the surer."""
    return torch.arange(16.0).reshape(1, 4, 4, 1) * torch.nn.functional.one_hot(torch.tensor(2), V)


def test_the_surest_are_committed_first() -> None:
    times = commit_times(SamplingConfig(order="confidence", noise=0.0, temperature=0.0, steps=8), surer_and_surer)
    assert times.tolist() == sorted(times.tolist(), reverse=True)
    assert len(times.unique()) > 4


def test_noise_shuffles_the_order_and_is_gone_at_the_end() -> None:
    quiet, noisy = (
        torch.stack(
            [commit_times(SamplingConfig(order="confidence", noise=noise, temperature=0.0), surer_and_surer, seed) for seed in range(30)]
        )
        for noise in (0.0, 100.0)
    )
    assert (quiet == quiet[0]).all()
    assert (noisy != noisy[0]).any(dim=0).all()
    correlation = torch.corrcoef(torch.stack([noisy.double().mean(dim=0), torch.arange(16.0).double()]))[0, 1]
    assert correlation > -0.9  # far from the order of confidence


def test_noise_on_the_order_falls_to_nothing_at_the_last_step() -> None:
    settings = SamplingConfig(order="confidence", noise=4.0, steps=4)
    sure, uniform = torch.tensor([[0.1, 0.5, 0.9]]), torch.tensor([[0.9, 0.2, 0.5]])
    gumbel = -(-uniform.log()).log()
    for step, share in enumerate((0.75, 0.5, 0.25, 0.0)):
        found = order_scores(settings, sure, uniform, torch.arange(3)[None], step)
        torch.testing.assert_close(found, sure.log() + 4.0 * share * gumbel)


def test_a_fixed_order_is_raster_order() -> None:
    times = commit_times(SamplingConfig(order="fixed", steps=8), surer_and_surer)
    assert times.tolist() == sorted(times.tolist())
    assert len(times.unique()) > 4


def test_a_random_order_knows_neither_confidence_nor_place() -> None:
    times = torch.stack([commit_times(SamplingConfig(order="random", steps=8), surer_and_surer, seed) for seed in range(200)]).double()
    assert (times.mean(dim=0) - times.mean()).abs().max() < 0.6
