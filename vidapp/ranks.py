"""The processes that share one training: the interface of their parts in it, and the one process that trains alone."""

import itertools
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


class Ranks:
    """One process that trains alone: what is summed over all ranks is its own."""

    rank = 0
    count = 1
    device: torch.device | None = None  # None: the config decides

    def share(self, samples: range) -> range:
        """This rank's part of a step's samples."""
        return split(samples, self.count)[self.rank]

    def sum_gradients(self, parameters: list[nn.Parameter], loss: Tensor) -> Tensor:
        """Sum gradients in place over all ranks, and return the sum of their losses."""
        return loss

    def sum(self, values: Tensor) -> Tensor:
        """The sum of `values` over all ranks."""
        return values

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` returns on the first rank; the others wait for it. An error there is raised everywhere."""
        return make()


ALONE = Ranks()


def split(samples: range, parts: int) -> list[range]:
    """`samples` as `parts` ranges in a row whose lengths differ by one at most, the longer ones first."""
    size, longer = divmod(len(samples), parts)
    ends = [samples.start + size * part + min(part, longer) for part in range(parts + 1)]
    return [range(start, end) for start, end in itertools.pairwise(ends)]
