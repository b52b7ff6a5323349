"""The optimisers of a recipe, their learning rates, and their state as plain tensors (never pickled)."""

import torch
from torch import Tensor, nn

from .config import RecipeConfig
from .muon import Muon
from .schedules import learning_rate

State = dict[str, Tensor]
HIDDEN = ("blocks.", "stem.own", "stem.before")
STATES = ({"step", "exp_avg", "exp_avg_sq"}, {"momentum_buffer"})  # of a parameter: AdamW's, Muon's
OTHERS = "the optimiser's state belongs to another training: delete this checkpoint's resume part to go on from the one before"


class Optimizers:
    """AdamW, or Muon (Jordan et al., 2024) on the hidden matrices with AdamW on the rest, under one schedule."""

    def __init__(self, module: nn.Module, recipe: RecipeConfig, steps: int) -> None:
        self.recipe, self.steps = recipe, steps
        hidden, matrices, others = sort_parameters(module, recipe.optimizer)
        groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
        adamw = torch.optim.AdamW([g for g in groups if g["params"]], lr=1.0, betas=(0.9, recipe.beta2), fused=True)
        self.all: list[tuple[torch.optim.Optimizer, float]] = [(adamw, recipe.learning_rate)]
        if hidden:
            muon = Muon(hidden, lr=1.0, weight_decay=recipe.weight_decay, momentum=0.95)
            for parameter in hidden:
                muon.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            self.all.append((muon, recipe.muon_learning_rate))

    def step(self, step: int, skip: Tensor, *, on_host: bool) -> None:
        """One update at the learning rates of `step`; nothing moves where `skip` (bool, a scalar) holds.

        With `on_host` that is looked up here and now, which on a GPU would wait for it; else the device decides.
        """
        if on_host and bool(skip):
            return
        for optimizer, peak in self.all:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, self.steps, self.recipe, peak)
            if on_host:
                optimizer.step()
            else:
                step_on_device(optimizer, skip)

    def zero_grad(self) -> None:
        for optimizer, _ in self.all:
            optimizer.zero_grad(set_to_none=True)

    def tensors(self) -> State:
        """The whole state by name, to be given back to `load`."""
        found: State = {}
        for number, (optimizer, _) in enumerate(self.all):
            for index, values in optimizer.state_dict()["state"].items():
                for name, value in values.items():
                    found[f"{number}.{index}.{name}"] = value if torch.is_tensor(value) else torch.tensor(value)
        return found

    def load(self, tensors: State) -> None:
        """Take up a state from `tensors`; ValueError where it belongs to other weights or another optimiser."""
        for number, (optimizer, _) in enumerate(self.all):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                owner, index, name = key.split(".", 2)
                if int(owner) >= len(self.all):
                    raise ValueError(OTHERS)
                if int(owner) == number:
                    if int(index) >= len(parameters) or value.shape not in (parameters[int(index)].shape, torch.Size()):
                        raise ValueError(OTHERS)
                    state.setdefault(int(index), {})[name] = laid_out(value, parameters[int(index)])
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def refuse_partial_state(tensors: State, *, whole: bool) -> None:
    """ValueError where a state by name, as `Optimizers.tensors` gives it, lacks a part or is not finite; `whole`: where there is none."""
    parts: dict[str, set[str]] = {}
    for key, value in tensors.items():
        owner, _, name = key.rpartition(".")
        parts.setdefault(owner, set()).add(name)
        if not value.is_floating_point() or not bool(value.isfinite().all()):
            raise ValueError(f"the optimiser's {key[:80]} is no finite number")
    if any(names not in STATES for names in parts.values()) or (whole and not parts):
        raise ValueError("the optimiser's state is not whole")


def laid_out(value: Tensor, like: Tensor) -> Tensor:
    """`value` in memory as `like` is (channels last, say): the fused kernels pair the two by place in memory, not by index."""
    return torch.empty_like(like, dtype=value.dtype, requires_grad=False).copy_(value) if value.shape == like.shape else value


def step_on_device(optimizer: torch.optim.Optimizer, skip: Tensor) -> None:
    """One update that the device leaves out where `skip` holds: both optimisers can."""
    if isinstance(optimizer, torch.optim.AdamW):
        optimizer.grad_scale, optimizer.found_inf = None, skip.float()  # type: ignore[attr-defined]  # as torch's own GradScaler hands it over
        optimizer.step()
    else:
        assert isinstance(optimizer, Muon)
        optimizer.step(skip=skip)


def sort_parameters(module: nn.Module, optimizer: str) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """(hidden matrices for Muon, other tensors of two or more axes, vectors)."""
    hidden, matrices, others = [], [], []
    for name, parameter in module.named_parameters():
        if optimizer == "muon" and name.startswith(HIDDEN) and parameter.ndim == 2:
            hidden.append(parameter)
        elif parameter.ndim >= 2 and "_bias" not in name:
            matrices.append(parameter)
        else:
            others.append(parameter)
    return hidden, matrices, others


class Average:
    """Exponential moving average of a module's weights, held by a second module; a warm-up keeps short runs from
    staying at their initial weights: decay = min(decay, (1 + n) / (10 + n)) at the n-th update."""

    def __init__(self, module: nn.Module, held_by: nn.Module, decay: float) -> None:
        self.decay = decay
        self.source: list[Tensor] = list(module.parameters())
        self.target: list[Tensor] = list(held_by.parameters())
        for target, source in zip(self.target, self.source, strict=True):
            target.data.copy_(source.data)

    @torch.no_grad()
    def update(self, step: int, skip: Tensor, *, on_host: bool) -> None:
        """Move the average towards the weights, unless `skip` (bool, a scalar) holds; `on_host` as in `Optimizers.step`."""
        weight = 1.0 - min(self.decay, (1 + step) / (10 + step))
        if on_host:
            if not bool(skip):
                torch._foreach_lerp_(self.target, self.source, weight)
            return
        ways = torch._foreach_sub(self.source, self.target)
        torch._foreach_mul_(ways, torch.where(skip, 0.0, weight))
        torch._foreach_add_(self.target, ways)
