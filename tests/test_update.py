"""A loss or gradient that is not finite touches nothing, wherever that is decided, and is said in a sentence that helps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import TINY, tiny, tiny_tokenizer
from tiny_checkpoint import write_tiny_checkpoint
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from vidapp.batches import TokenBatch, draw_masks
from vidapp.config import Config
from vidapp.data.source import open_source
from vidapp.device import autocast
from vidapp.objective import masked_logits
from vidapp.optimizer import Average, Optimizers
from vidapp.ranks import ALONE
from vidapp.run_folder import complete_steps
from vidapp.run_writer import Control, RunWriter
from vidapp.runs import open_run
from vidapp.tokenizer_phase import TokenizerPhase
from vidapp.train import train
from vidapp.transformer import VideoTransformer
from vidapp.transformer_phase import TransformerPhase
from vidapp.update import MOST_IN_A_ROW, Update

NAN, INF = float("nan"), float("inf")


class Net(nn.Module):
    """Small, with something for each optimiser, and a buffer that its forward pass changes."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.register_buffer("seen", torch.zeros(()))
        for parameter in self.parameters():
            parameter.data.copy_(torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += x.sum()
        return self.blocks[1](self.blocks[0](x).tanh())


class Case:
    """A net, its average and one update at a time."""

    def __init__(self, optimizer: str, policy: str, on_host: bool) -> None:
        recipe = tiny(recipe__optimizer=optimizer, recipe__schedule="constant").recipe
        self.net, held = Net(), Net()
        self.optimizers = Optimizers(self.net, recipe, 10)
        self.average = Average(self.net, held, 0.9)
        self.update = Update(self.net, self.optimizers, clip=1.0, policy=policy, advice="rest", ranks=ALONE, buffers=self.net.buffers())
        self.update.on_host = on_host
        self.held = held

    def step(self, step: int, factor: float = 1.0) -> None:
        self.update.begin()
        loss = (self.net(torch.full((2, 4), 0.5 + step)) * factor).square().mean()
        loss.backward()
        self.update.apply(step, loss.detach())
        self.average.update(step, self.update.skip, on_host=self.update.on_host)

    def state(self) -> list[Tensor]:
        tensors = [*self.net.state_dict().values(), *self.held.parameters(), *self.optimizers.tensors().values()]
        return [tensor.detach().clone() for tensor in tensors]


@pytest.fixture(params=[(optimizer, on_host) for optimizer in ("adamw", "muon") for on_host in (True, False)], ids=str)
def make(request: pytest.FixtureRequest) -> Any:
    optimizer, on_host = request.param
    return lambda policy: Case(optimizer, policy, on_host)


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


@pytest.mark.parametrize("factor", [NAN, INF, 1e30])  # the last one is finite, its square is not
def test_a_bad_step_moves_neither_weights_nor_momenta_nor_averages_nor_codebooks(make: Any, factor: float) -> None:
    case = make("skip")
    case.step(0)
    before = case.state()
    case.step(1, factor)
    assert same(case.state(), before)
    case.step(2)
    assert not same(case.state(), before)


def test_even_the_very_first_step_may_be_bad(make: Any) -> None:
    case, other = make("skip"), make("skip")
    case.step(0, NAN)
    case.step(1)
    other.step(1)
    assert same(case.state(), other.state())


def test_deciding_on_the_device_takes_the_very_steps_that_the_host_takes() -> None:
    for optimizer in ("adamw", "muon"):
        host, device = Case(optimizer, "stop", True), Case(optimizer, "stop", False)
        for step in range(4):
            host.step(step)
            device.step(step)
        close = [torch.allclose(one, other, rtol=1e-6, atol=0) for one, other in zip(host.state(), device.state(), strict=True)]
        assert all(close)
        assert same(list(host.net.state_dict().values()), list(device.net.state_dict().values()))


def test_a_stop_holds_everything_back_until_it_is_looked_at_and_names_the_first_step(make: Any) -> None:
    case = make("stop")
    case.step(0)
    before = case.state()
    case.step(1, NAN)
    for step in range(2, 5):
        case.step(step)
    assert same(case.state(), before)
    with pytest.raises(
        ValueError, match=r"the loss of step 2 is not finite .*weights were left as they are: rest, or set run.on_nonfinite=skip"
    ):
        case.update.check(lambda: None)


def test_skipped_steps_are_counted_and_noted(make: Any) -> None:
    case = make("skip")
    for step, factor in enumerate([1.0, NAN, 1.0, NAN, NAN]):
        case.step(step, factor)
    case.update.check(lambda: None)
    assert case.update.figures() == {"skipped_steps": 3}
    (notice,) = case.update.take_notices()
    assert "of step 2 is not finite" in notice
    assert "that step was skipped, and 2 later ones too (3 so far)" in notice
    case.step(5)
    case.update.check(lambda: None)
    assert case.update.take_notices() == []


def test_a_training_that_only_skips_stops(make: Any) -> None:
    case = make("skip")
    for step in range(MOST_IN_A_ROW):
        case.step(step, NAN)
    with pytest.raises(ValueError, match=f"nor were the {MOST_IN_A_ROW} steps up to now, all skipped: rest"):
        case.update.check(lambda: None)


# In a training


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the gradient (or the output) of a layer not finite at one step of the transformer phase."""

    def poison(layer: str, at: int, *, output: bool = False) -> None:
        original = TransformerPhase.train_step

        def train_step(self: TransformerPhase, step: int, measure: bool) -> dict[str, float]:
            hooks: list[Any] = []
            if step == at:
                module, _, name = layer.rpartition(".")
                target = self.model.get_submodule(module)
                if output:
                    hooks.append(target.register_forward_hook(lambda *_: _[2] * NAN))
                else:
                    hooks.append(getattr(target, name).register_hook(lambda gradient: gradient * INF))
            try:
                return original(self, step, measure)
            finally:
                for hook in hooks:
                    hook.remove()

        monkeypatch.setattr(TransformerPhase, "train_step", train_step)

    return poison


def run_training(config: Config, tmp_path: Path) -> Iterator[dict[str, Any]]:
    given = write_tiny_checkpoint(tmp_path / "given.safetensors", TINY)
    with RunWriter.create("a", config) as run:
        yield from train(config, run, tokenizer=given)


def test_a_gradient_that_is_not_finite_stops_the_run_and_names_step_layer_and_remedies(poisoned: Any, tmp_path: Path) -> None:
    poisoned("blocks.0.mlp_out.weight", 3)
    with pytest.raises(ValueError, match="not finite"):
        list(run_training(TINY, tmp_path))
    status = open_run("a").status()
    assert (status.state, status.step) == ("failed", 3)
    assert status.error == (
        "the gradient of step 4 is not finite (first in blocks.0.mlp_out.weight), so the weights were left as they are: "
        "lower recipe.learning_rate (now 0.0003), lengthen recipe.warmup_steps or set recipe.precision=float32, or set run.on_nonfinite=skip"
    )


def test_a_loss_that_is_not_finite_names_the_layer_it_comes_from(poisoned: Any, tmp_path: Path) -> None:
    poisoned("blocks.0.space.qkv.weight", 3, output=True)
    with pytest.raises(ValueError, match=r"the loss of step 4 is not finite \(first in the output of blocks.0.space.qkv\)"):
        list(run_training(TINY, tmp_path))


def test_a_skipped_step_is_counted_in_the_metrics_and_said_in_the_status(poisoned: Any, tmp_path: Path) -> None:
    poisoned("head_bias", 3)
    lines = [line for line in run_training(tiny(run__on_nonfinite="skip"), tmp_path) if "loss" in line]
    assert [line["skipped_steps"] for line in lines] == [0, 0, 0, 1, 1, 1]
    status = open_run("a").status()
    assert status.state == "finished"
    assert "the gradient of step 4 is not finite (first in head_bias): that step was skipped (1 so far)" in status.extra["notices"]


@pytest.fixture
def decided_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: the host looks at logged steps alone."""
    original = Update.__init__

    def init(self: Update, *arguments: Any, **settings: Any) -> None:
        original(self, *arguments, **settings)
        self.on_host = False

    monkeypatch.setattr(Update, "__init__", init)


RARELY = {"run__log_every": 100, "run__checkpoint_every": 100, "run__validate_every": 100}


@pytest.mark.usefixtures("decided_on_the_device")
@pytest.mark.parametrize(("every", "saved"), [({}, [0, 2, 3]), (RARELY, [0])])
def test_no_checkpoint_is_saved_and_no_run_ends_behind_a_step_that_nobody_looked_at(
    poisoned: Any, tmp_path: Path, every: dict[str, int], saved: list[int]
) -> None:
    poisoned("head_bias", 3)
    with pytest.raises(ValueError, match=r"step 4 is not finite .*weights were left as they are"):
        list(run_training(tiny(**{"run__log_every": 100, **every}), tmp_path))
    assert open_run("a").status().state == "failed"
    assert complete_steps(open_run("a").path) == saved


@pytest.mark.usefixtures("decided_on_the_device")
@pytest.mark.parametrize("asked", ["stop", "save"])
def test_nor_where_it_is_stopped_or_asked_to_save(poisoned: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    polls = iter(range(100))
    monkeypatch.setattr(RunWriter, "poll_control", lambda self: Control(**{asked: next(polls) == 5}))
    poisoned("head_bias", 3)
    with pytest.raises(ValueError, match="step 4 is not finite"):
        list(run_training(tiny(**RARELY), tmp_path))
    assert complete_steps(open_run("a").path) == [0]


@pytest.mark.usefixtures("decided_on_the_device")
def test_a_save_that_is_asked_for_behind_a_skipped_step_is_made_once_that_is_told(
    poisoned: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    polls = iter(range(100))
    monkeypatch.setattr(RunWriter, "poll_control", lambda self: Control(save=next(polls) == 5))
    poisoned("head_bias", 3)
    list(run_training(tiny(**RARELY, run__on_nonfinite="skip"), tmp_path))
    assert complete_steps(open_run("a").path) == [0, 5, 6]
    (notice,) = [text for text in open_run("a").status().extra["notices"] if "not finite" in text]
    assert notice == "the gradient of step 4 is not finite (first in head_bias): that step was skipped (1 so far)"


def test_frames_that_are_not_finite_leave_a_learned_codebook_alone() -> None:
    config = tiny(tokenizer__quantizer="vq", run__on_nonfinite="skip")
    phase = TokenizerPhase(config, open_source(config.data), torch.device("cpu"))
    phase.train_step(0, True)
    before = {name: tensor.clone() for name, tensor in phase.tokenizer.state_dict().items()}
    good = phase.batch
    phase.batch = lambda step: good(step) * NAN  # type: ignore[method-assign]
    phase.train_step(1, True)
    after = phase.tokenizer.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert "of step 2 is not finite" in phase.update.take_notices()[0]


def test_counts_survive_a_resume() -> None:
    config = tiny(run__on_nonfinite="skip")
    source, cpu = open_source(config.data), torch.device("cpu")
    phase = TransformerPhase(config, source, tiny_tokenizer(), cpu, "float32")
    phase.update.skipped += 3
    other = TransformerPhase(config, source, tiny_tokenizer(), cpu, "float32")
    phase.train_step(0, True)
    other.load(phase.tensors())
    assert other.update.figures() == {"skipped_steps": 3}


@pytest.mark.parametrize("policy", ["stop", "skip"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_on_a_gpu_no_step_waits_for_it_until_one_is_looked_at(optimizer: str, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On tensors that have no numbers, so that whatever asks for one of them fails: as a device would have to be waited for."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # such tensors cannot be pinned
    config = tiny(recipe__optimizer=optimizer, recipe__gradient_clip=0.5, recipe__gradient_checkpointing=True, model__dropout=0.1)
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("cuda"):
            model, averaged = VideoTransformer.of(config).train(), VideoTransformer.of(config)
            tokens = torch.zeros(4, 4, config.grid, config.grid, dtype=torch.int64)
        average = Average(model, averaged, 0.99)
        optimizers = Optimizers(model, config.recipe, 10)
        update = Update(model, optimizers, clip=0.5, policy=policy, advice="", ranks=ALONE)
        assert not update.on_host
        for step in range(2):
            update.begin()
            batch = TokenBatch(tokens, draw_masks(config, step, range(4)))
            with autocast(torch.device("cuda"), "bf16"):
                loss = masked_logits(model, batch, clean_past=True).losses_P.sum()
            for parameter in model.parameters():  # in place of the backward pass, which needs a real device
                parameter.grad = torch.zeros_like(parameter)
            update.apply(step, loss.detach())
            average.update(step, update.skip, on_host=update.on_host)
        with pytest.raises(DataDependentOutputException):
            update.check(lambda: None)
