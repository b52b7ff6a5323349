"""What this machine could do at best: the rates that the figures stand beside."""

import torch

from .effort import repeat, typical

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class MatrixRate:
    """FLOPs a second of one large square matrix product in a precision; asked again between measurements, since machines are shared."""

    def __init__(self, device: torch.device, precision: str, side: int) -> None:
        self.device, self.side = device, side * (4 if device.type == "cuda" else 1)
        shape = (self.side, self.side)
        drawn = torch.Generator(device).manual_seed(0)
        made = (torch.randn(shape, device=device, generator=drawn) for _ in range(2))  # not ones, of which a GPU makes more
        self.a, self.b = (matrix.to(DTYPES[precision]) for matrix in made)
        self.found: list[float] = []

    @torch.no_grad()
    def measure(self, seconds: float = 0.1) -> float:
        """The rate now."""

        def product() -> None:
            torch.matmul(self.a, self.b)
            wait(self.device)

        self.found.append(2 * self.side**3 / typical(repeat(product, seconds)))
        return self.found[-1]

    @property
    def typical(self) -> float:
        return typical(self.found)
