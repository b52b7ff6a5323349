"""The device a run uses: which one, which precision is faster on it, how much memory is taken."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .config import Config
from .lent_gpu import gpu_is_lent
from .peak import forget_peak, peak_mib_of


def pick_device(name: str) -> torch.device:
    """The device of `run.device`; auto takes CUDA, then MPS, then the CPU. ValueError where the one asked for is missing.

    A GPU that is lent call by call is not there for whoever asks here: see `lent_gpu`.
    """
    available = {"cuda": torch.cuda.is_available() and not gpu_is_lent(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return exact(torch.device(next(kind for kind, there in available.items() if there)))
    if not available[name]:
        raise ValueError(f"run.device is {name!r} but this machine has none that torch can use: set run.device=auto")
    return exact(torch.device(name))


def exact(device: torch.device) -> torch.device:
    """The same, set up for what is computed here.

    Convolutions in float32 are in float32: rounded to TF32, as a GPU does unasked, four ids in 10,000 of the bundled tokenizer are others.
    Attention is not cuDNN's: it plans every new shape anew, for 50 ms, and a training's batches have new shapes all the time.
    """
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.enable_cudnn_sdp(False)
    return device


def to_device(values: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """Values of the host on `device`, without waiting for it: a GPU that is given pageable memory first finishes what it is doing."""
    tensor = torch.as_tensor(values)
    if device.type == "cuda" and torch.cuda.is_available():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


class Fastest:
    """Rates by what was measured, of each the fastest seen: other work on a machine only makes it look slower.

    What was measured within the last `fresh_s` seconds is not measured again, so what is said of a run does not swing.
    """

    def __init__(self, fresh_s: float = 60.0) -> None:
        self.fresh_s = fresh_s
        self.kept: dict[tuple[Any, ...], tuple[float, float]] = {}  # -> when, rate

    def __call__(self, measure: Callable[..., float], *what: Any) -> float:
        key = (measure, torch.get_num_threads(), *what)
        at, best = self.kept.get(key, (-math.inf, 0.0))
        if time.monotonic() - at > self.fresh_s:
            best = max(best, measure(*what))
            self.kept[key] = time.monotonic(), best
        return best


NAP_S, IN_A_ROW = 1e-3, 4
MOST_WRITERS = 8
LARGEST_MEASURED = 512  # width whose matrix product is timed: larger ones run at the same speed and take their time
FASTEST = Fastest()
"""Of this process: what the page says of a run's precision, and what the run then takes, comes of the same rates."""


def pick_precision(config: Config, device: torch.device) -> str:
    """`float32` or `bf16`. auto: bf16 on CUDA where the GPU computes in it itself; on a CPU where it was measured clearly faster."""
    asked = config.recipe.precision
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if device.type == "mps":
        return "float32"
    width = min(config.model.width, LARGEST_MEASURED)
    half, full = (FASTEST(matrix_rate, dtype, width) for dtype in (torch.bfloat16, torch.float32))
    return "bf16" if half > 1.2 * full else "float32"


def matrix_rate(dtype: torch.dtype, width: int, rows: int = 2048, seconds: float = 0.2) -> float:
    """FLOPs a second of a matrix product like the model's feed-forward layer on the CPU."""
    a, b = torch.ones(rows, width, dtype=dtype), torch.ones(width, 4 * width, dtype=dtype)
    return 2.0 * rows * width * 4 * width / shortest(lambda: a @ b, seconds)


def write_rate(seconds: float = 0.1) -> float:
    """Bytes a second that additions in place write on the CPU, to what lies in no near cache: one thread's, times the threads, of which a
    few are enough for all that memory gives. (Measured with all of them other work beside them makes it look twenty times slower.)"""
    a, b = (np.ones(2**21, np.float32) for _ in range(2))
    return min(torch.get_num_threads(), MOST_WRITERS) * a.nbytes / shortest(lambda: np.add(a, b, out=a), seconds)


def shortest(action: Callable[[], object], seconds: float) -> float:
    """Of all the times that it takes within so many seconds: other work on the machine has its share in most of them. Whoever has slept goes
    first: without a nap before some, threads that wait for one another would hardly ever be at work at once."""
    until, best = time.perf_counter() + seconds, math.inf
    while time.perf_counter() < until or best == math.inf:
        time.sleep(NAP_S)
        for _ in range(IN_A_ROW):
            start = time.perf_counter()
            action()
            best = min(best, time.perf_counter() - start)
    return best


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()


@contextlib.contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Within, a CPU computes with so many threads, 0 for as many as before; they belong to the whole process."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def forget_memory(device: torch.device) -> None:
    """From here on `memory_mib` begins anew."""
    if device.type != "cuda":
        forget_peak()
    elif torch.cuda.is_initialized():  # else nothing was taken, and there is nothing yet that could forget
        torch.cuda.reset_peak_memory_stats(device)


def memory_mib(device: torch.device) -> float:
    """Largest memory taken so far, or since `forget_memory`: of the device on CUDA, of this process elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return peak_mib_of() or 0.0
