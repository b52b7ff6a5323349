"""What each layer does in one training step: the norm of its gradient, how far its weights move, how large the residual stream is.

Everything stays on the device until `figures` is asked for, which is at logged steps only.
"""

import math
from types import TracebackType

import torch
from torch import Tensor

from .transformer import VideoTransformer

DIGITS = 4  # significant ones: finer than a colour
POSITIONS = ("place_embedding", "time_embedding", "place_bias", "time_bias")
LayerFigures = dict[str, dict[str, float]]
"""gradient_norm and update_ratio by layer name (`tokens`, `positions`, `1 space`, `1 time`, `1 mlp`, ..., `head`), activation_rms by block."""


def layer_of(parameter: str, attention: str) -> str:
    """The layer that a parameter of the transformer belongs to, e.g. `2 mlp` of `blocks.1.mlp_in.weight`; blocks count from 1."""
    if parameter.startswith("blocks."):
        _, block, part, *_ = parameter.split(".")
        name = part.split("_")[0]
        return f"{int(block) + 1} {'attention' if attention == 'full' and name == 'space' else name}"
    if parameter in POSITIONS:
        return "positions"
    return "tokens" if parameter.startswith(("token_embedding", "code_projection", "stem")) else "head"


def reading_order(layer: str) -> tuple[int, int]:
    """From the tokens up to the head; within a block its parts stay as they are."""
    block, _, part = layer.partition(" ")
    return (1, int(block)) if part else ({"tokens": 0, "positions": 0}.get(layer, 2), layer == "positions")


class LayerLook:
    """A look at one step of `model`: made before its forward pass, which it watches as a context manager.

    with LayerLook(model) as look:
        forward and backward
    look.hold()  # before the update
    update
    look.figures(norms)
    """

    def __init__(self, model: VideoTransformer) -> None:
        self.model = model
        self.parameters: list[Tensor] = list(model.parameters())
        self.layers = [layer_of(name, model.config.attention) for name, _ in model.named_parameters()]
        self.squares: list[Tensor] = []
        self.places: list[tuple[int, int]] = []  # (block, values) of each
        self.before: list[Tensor] = []

    def __enter__(self) -> "LayerLook":
        self.model.watcher = self.see
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.model.watcher = None

    def see(self, block: int, x_BFND: Tensor) -> None:
        """Note how large the residual stream is behind a block."""
        self.squares.append(torch.linalg.vector_norm(x_BFND.detach(), dtype=torch.float32).square())
        self.places.append((block, x_BFND.numel()))

    def hold(self) -> None:
        """Keep the weights as they are before the update."""
        self.before = [parameter.detach().clone() for parameter in self.parameters]

    def sums(self) -> Tensor:
        """Float64 (blocks, 2) on the host: sum of squares of the residual stream behind each block, and of how many values."""
        found = torch.zeros(self.model.config.layers, 2, dtype=torch.float64)
        squares = torch.stack(self.squares).cpu().double() if self.squares else torch.zeros(0)
        for (block, count), square in zip(self.places, squares, strict=True):
            found[block] += torch.stack([square, square.new_tensor(count)])
        return found

    @torch.no_grad()
    def figures(self, gradient_norms: Tensor, sums_L2: Tensor) -> LayerFigures:
        """gradient_norms: (parameters,), before clipping. sums_L2: `sums`, of all processes. Waits for the device, once."""
        moved = torch.stack(torch._foreach_norm(torch._foreach_sub(self.parameters, self.before)))
        held = torch.stack(torch._foreach_norm(self.before))
        squares_3P = torch.stack([gradient_norms.float(), moved.float(), held.float()]).cpu().double().square()
        totals = {name: torch.zeros(3, dtype=torch.float64) for name in sorted(dict.fromkeys(self.layers), key=reading_order)}
        for name, values in zip(self.layers, squares_3P.T, strict=True):
            totals[name] += values
        roots = {name: values.sqrt().tolist() for name, values in totals.items()}
        return {
            "gradient_norm": {name: rounded(gradient) for name, (gradient, _, _) in roots.items()},
            "update_ratio": {name: rounded(step / weights) for name, (_, step, weights) in roots.items() if weights},
            "activation_rms": {
                str(block + 1): rounded(math.sqrt(total / count)) for block, (total, count) in enumerate(sums_L2.tolist()) if count
            },
        }


def rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
