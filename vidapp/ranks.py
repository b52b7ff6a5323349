"""The processes that share one training: the interface of their parts in it, and the one process that trains alone.

The first rank alone writes and decides; what it decides, finds or loads the others get from it.
"""

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
    here = 1  # of them, on this machine
    device: torch.device | None = None  # None: the config decides

    def share(self, samples: range) -> range:
        """This rank's part of a step's samples."""
        return split(samples, self.count)[self.rank]

    def sum_gradients(self, parameters: list[nn.Parameter], loss: Tensor) -> Tensor:
        """Sum gradients in place over all ranks, and return the sum of their losses. On a GPU the host does not wait for them."""
        return loss

    def settle(self) -> None:
        """Wait until gradients that were asked for are there: to be called before the host reads what depends on them."""

    def sum(self, values: Tensor) -> Tensor:
        """The sum of `values` over all ranks."""
        return values

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make`, called on the first rank only, returns there: anything that JSON holds. An error there is raised everywhere."""
        return make()

    def tensors_from_first(self, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """As `from_first`, of tensors by name; elsewhere they arrive on the CPU."""
        return make()

    def first_word(self, word: str | None) -> str | None:
        """What the first rank that has a word says; None where none has."""
        return word

    def together(self, make: Callable[[], T]) -> T:
        """What `make`, called on every rank, returns on this one. An error on any is raised on all."""
        return make()


ALONE = Ranks()


def split(samples: range, parts: int) -> list[range]:
    """`samples` as `parts` ranges in a row whose lengths differ by one at most, the longer ones first."""
    size, longer = divmod(len(samples), parts)
    ends = [samples.start + size * part + min(part, longer) for part in range(parts + 1)]
    return [range(start, end) for start, end in itertools.pairwise(ends)]
