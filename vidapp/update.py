"""One optimiser step that nothing non-finite gets through.

Whether a loss or gradient is finite is decided on the device: the update is held back there, and the host looks only
when it reads figures anyway (on a CPU, where looking costs nothing, at every step).
"""

import contextlib
import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from .optimizer import Optimizers
from .ranks import Ranks

MOST_IN_A_ROW = 100  # skipped steps: a training that only skips has ended without saying so


class Update:
    """The step from gradients to weights: summed over ranks, clipped, and held back where anything is not finite.

    policy: `stop` (from the first bad step on nothing moves until `check` raises) or `skip` (that step only). `buffers`
    are what the forward pass itself changes (a learned codebook); they are put back as well.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizers: Optimizers,
        *,
        clip: float,
        policy: str,
        advice: str,
        ranks: Ranks,
        buffers: Iterable[Tensor] = (),
    ) -> None:
        self.optimizers, self.clip, self.policy, self.advice, self.ranks = optimizers, clip, policy, advice, ranks
        self.names = [name for name, _ in module.named_parameters()]
        self.parameters = list(module.parameters())
        self.buffers = list(buffers)
        self.before = [buffer.clone() for buffer in self.buffers]
        device = self.parameters[0].device
        self.on_host = device.type == "cpu"
        self.skip = torch.zeros((), dtype=torch.bool, device=device)
        self.skipped = torch.zeros((), dtype=torch.int64, device=device)
        self.gradient_norms = torch.zeros(len(self.parameters), device=device)  # of each parameter in the last step, before clipping
        self.notices: list[str] = []
        self.unreported, self.in_a_row, self.first_step = (torch.zeros_like(self.skipped) for _ in range(3))
        self.places = torch.zeros(len(self.names) + 1, dtype=torch.bool, device=device)  # of the first unreported one; last: the loss

    def begin(self) -> None:
        """Before the forward pass."""
        self.optimizers.zero_grad()
        for buffer, before in zip(self.buffers, self.before, strict=True):
            before.copy_(buffer)

    @torch.no_grad()
    def apply(self, step: int, loss: Tensor) -> tuple[Tensor, Tensor]:
        """Move the weights by their gradients at the rate of `step`; returns (loss, gradient norm), both over all ranks.

        `loss` is this rank's part of it, a scalar.
        """
        loss = self.ranks.sum_gradients(self.parameters, loss.float())
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norms = iter(torch._foreach_norm(gradients))
        parts = torch.stack([*(next(norms).float() if p.grad is not None else loss.new_zeros(()) for p in self.parameters), loss])
        self.gradient_norms = parts[:-1]
        norm = torch.linalg.vector_norm(self.gradient_norms)
        self.note(step, ~torch.isfinite(parts), torch.isfinite(norm))
        if self.clip:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.clip, norm)
        self.optimizers.step(step, self.skip, on_host=self.on_host)
        for buffer, before in zip(self.buffers, self.before, strict=True):
            buffer.copy_(torch.where(self.skip, before, buffer))
        return loss, norm

    def note(self, step: int, places: Tensor, norm_finite: Tensor) -> None:
        """Keep what the host will want to know, without asking the device now."""
        bad = places.any() | ~norm_finite  # finite parts can still have a norm that overflows
        fresh = bad & (self.unreported == 0)
        self.first_step = torch.where(fresh, step, self.first_step)
        self.places = torch.where(fresh, places, self.places)
        self.skip = bad | (self.unreported > 0) if self.policy == "stop" else bad
        self.unreported = self.unreported + bad
        self.skipped = self.skipped + self.skip
        self.in_a_row = (self.in_a_row + 1) * self.skip

    @property
    def held_back(self) -> bool:
        """Whether steps were held back that `check` has not told of yet. Waits for the device."""
        return bool(self.unreported)

    def check(self, culprit: Callable[[], str | None]) -> None:
        """Ask what has been held back since the last time, and note it as a sentence.

        Raises ValueError under the policy `stop`, and under `skip` where nothing has moved for a long time. `culprit`
        names the layer whose output is not finite in the last step, where it is still to be found.
        """
        if self.held_back:  # on all ranks alike
            self.ranks.together(lambda: self.report(culprit))

    def report(self, culprit: Callable[[], str | None]) -> None:
        step, count, places = int(self.first_step), int(self.unreported), self.places.tolist()
        word = None
        if self.on_host or self.policy == "stop":
            with contextlib.suppress(Exception):  # it only helps the sentence, and no rank may leave the others waiting for its word
                word = culprit()
        found = self.ranks.first_word(word)
        self.unreported = torch.zeros_like(self.unreported)
        sentence = self.sentence(step, places, found)
        if self.policy == "stop":
            raise ValueError(f"{sentence}, so the weights were left as they are: {self.advice}, or set run.on_nonfinite=skip")
        if int(self.in_a_row) >= MOST_IN_A_ROW:
            raise ValueError(f"{sentence}, nor were the {int(self.in_a_row)} steps up to now, all skipped: {self.advice}")
        more = f", and {count - 1} later ones too" if count > 1 else ""
        self.notices.append(f"{sentence}: that step was skipped{more} ({int(self.skipped)} so far)")

    def take_notices(self) -> list[str]:
        """What has been noted since the last time."""
        taken, self.notices = self.notices, []
        return taken

    def figures(self) -> dict[str, float]:
        """`skipped_steps`, where steps may be skipped."""
        return {"skipped_steps": int(self.skipped)} if self.policy == "skip" else {}

    def tensors(self) -> dict[str, Tensor]:
        """What a resume needs."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """The counts of `tensors`; runs from before there were any start at 0."""
        if tensors:
            self.skipped, self.in_a_row = (tensors[name].to(self.skipped.device) for name in ("skipped", "in_a_row"))

    def sentence(self, step: int, places: list[bool], culprit: str | None) -> str:
        *layers, loss = places
        what = "the loss" if loss else "the gradient"
        first = next((name for name, bad in zip(reversed(self.names), reversed(layers), strict=True) if bad), None)
        where = f" (first in the output of {culprit})" if culprit else f" (first in {first})" if first else ""
        return f"{what} of step {step + 1} is not finite{where}"


@torch.no_grad()
def first_non_finite(module: nn.Module, run: Callable[[], object]) -> str | None:
    """The name of the first layer, in the order of the forward pass that `run` makes, whose output is not finite."""
    found: list[str] = []

    def look(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_: nn.Module, __: object, output: object) -> None:
            if not found and isinstance(output, Tensor) and not torch.isfinite(output).all():
                found.append(name)

        return hook

    hooks = [part.register_forward_hook(look(name)) for name, part in module.named_modules() if name and not list(part.children())]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def advice(rate: float, setting: str) -> str:
    """What helps against gradients that are not finite."""
    lower = f"lower {setting} (now {rate:g})" if math.isfinite(rate) else f"lower {setting}"
    return f"{lower}, lengthen recipe.warmup_steps or set recipe.precision=float32"
