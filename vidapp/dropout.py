"""Dropout (Srivastava et al., 2014) whose masks a CPU draws fast.

torch draws a CPU's masks value by value, on most processors with one thread: measured, a quarter of a training step of `base`. Here one
draw of 64 bits decides on four values in half precision, on two in float32.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

INTEGERS = {torch.bfloat16: torch.int16, torch.float16: torch.int16, torch.float32: torch.int32, torch.float64: torch.int64}


def dropped(x: Tensor, share: float) -> Tensor:
    """x with a share [0, 1) of its values zero and the others larger by 1 / (1 - share), drawn from torch's process-wide generator."""
    if not share:
        return x
    if x.device.type != "cpu" or x.dtype not in INTEGERS or torch.compiler.is_compiling():
        return F.dropout(x, share)
    return x * scales(x.shape, share, x.dtype)


def scales(shape: torch.Size, share: float, dtype: torch.dtype) -> Tensor:
    """What dropout multiplies by: 0 with probability `share` (to the bits of the type: 2^-16 for half precision), else 1 / (1 - share)."""
    count, integers = math.prod(shape), INTEGERS[dtype]
    bits = 8 * integers.itemsize
    drawn = torch.empty(-(-count * integers.itemsize // 8), dtype=torch.int64).random_(-(2**63), None)  # all 64 bits
    limit = min(round((1 - share) * 2**bits), 2**bits - 1) - 2 ** (bits - 1)  # a number of that type, also where the share is tiny
    kept = drawn.view(integers)[:count].lt_(limit)  # 0 or 1, in place
    return kept.mul_(bit_pattern(1 / (1 - share), dtype)).view(dtype).view(shape)


def bit_pattern(value: float, dtype: torch.dtype) -> int:
    """The bits of a number of a floating-point type, as a whole number."""
    return int(torch.tensor(value, dtype=dtype).view(INTEGERS[dtype]))
