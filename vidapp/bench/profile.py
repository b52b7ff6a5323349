"""Where the time goes: the shares of a training step of `small` and `base`, and of a clip's future, by kind of operation."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from ..config import Config
from ..device import pick_device
from ..heap import freed_memory
from ..randomness import torch_generator
from ..transformer import VideoTransformer
from .effort import Effort
from .machine import wait
from .sample import decode
from .train import HEADLINE, base_config, new_phase

KINDS = {  # by the beginnings of torch's names, the first that fits
    "matrix products, attention's too": (
        "mm",
        "addmm",
        "bmm",
        "baddbmm",
        "linear",
        "mkldnn_linear",
        "_scaled_dot",
        "_flash_",
        "_efficient_",
    ),
    "softmax": ("_softmax",),
    "layer norm": ("native_layer_norm", "_fused_rms_norm"),
    "copies into another order or type": ("copy_", "cat", "_to_copy"),
    "loss, choice of tokens": ("_log_softmax", "nll_loss", "topk", "sort", "argmax"),
    "convolutions of the tokenizer": ("convolution", "mkldnn_convolution", "cudnn_convolution"),
    "random numbers": ("random_", "uniform_", "normal_", "bernoulli_"),
}
REST = "element by element, and what starts operations"
KERNELS = {  # by parts of the names of a GPU's kernels, the first that fits
    "convolutions of the tokenizer": ("fprop", "dgrad", "wgrad", "conv"),
    "matrix products, attention's too": ("nvjet", "gemm", "cutlass", "fmha", "flash", "sdpa"),
    "loss, choice of tokens": ("nll_loss", "LogSoftMax", "topk", "sort", "ArgMax"),
    "softmax": ("SoftMax", "softmax"),
    "layer norm": ("layer_norm", "GammaBeta", "LayerNorm"),
    "random numbers": ("distribution", "dropout"),
    "copies into another order or type": ("copy_kernel", "CatArray", "Memcpy"),
}
IDLE = "the GPU waits for the host"


def measure(effort: Effort) -> dict[str, object]:
    """The figures of the scope, a row for each kind with its share of everything measured."""
    device = pick_device("auto")
    found = {
        "small": step_shares(effort.config("small"), device),
        "base": step_shares(base_config(effort, device), device),
        "sampling": sampling_shares(effort.config("small"), device),
    }
    kinds = (*KINDS, REST, *([IDLE] if device.type == "cuda" else []))
    rows = [{"kind": kind, **{name: shares[kind] for name, shares in found.items()}} for kind in kinds]
    return {"rows": rows, "device": device.type, "precision": HEADLINE, "threads": torch.get_num_threads()}


def step_shares(config: Config, device: torch.device) -> dict[str, float]:
    """Of a training step, after two that are not looked at."""
    phase = new_phase(config, device, HEADLINE)
    with freed_memory(device.type, checkpointing=config.recipe.gradient_checkpointing) as freed:
        for step in range(2):
            phase.train_step(step, False)
            freed.look()
        return shares(lambda: phase.train_step(2, False), device)


def sampling_shares(config: Config, device: torch.device) -> dict[str, float]:
    """Of a clip's future with cached keys and values."""
    transformer = VideoTransformer.new(config, torch_generator(0, "bench")).to(device).eval()
    decode(transformer, config, 1, "cached")
    return shares(lambda: decode(transformer, config, 1, "cached"), device)


def shares(action: Callable[[], object], device: torch.device) -> dict[str, float]:
    """The share of each kind in the time that `action` takes; on CUDA in the time of the GPU, which has one of its own: IDLE."""
    on_gpu = device.type == "cuda"
    wait(device)
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as seen:
        start = time.perf_counter()
        action()
        wait(device)
        passed_us = 1e6 * (time.perf_counter() - start)
    taken = dict.fromkeys((*KINDS, REST), 0.0)
    for event in seen.key_averages():
        if not on_gpu:
            taken[kind_of(event.key)] += event.self_cpu_time_total
        elif event.device_type == DeviceType.CUDA and "#" not in event.key:  # what a kernel took, and no stretch that has a name
            taken[kind_of_kernel(event.key)] += event.self_device_time_total
    if on_gpu:
        taken[IDLE] = max(0.0, passed_us - sum(taken.values()))
    total = sum(taken.values())
    return {kind: share / total for kind, share in taken.items()}


def kind_of(name: str) -> str:
    """The kind of an operation of torch, e.g. `aten::mm`."""
    operation = name.removeprefix("aten::")
    return next((kind for kind, names in KINDS.items() if name != operation and operation.startswith(names)), REST)


def kind_of_kernel(name: str) -> str:
    """The kind of a GPU's kernel, e.g. `nvjet_sm90_tst_128x256_64x4_1x2_h_bz_coopA_TNN`."""
    return next((kind for kind, parts in KERNELS.items() if any(part in name for part in parts)), REST)


def table(figures: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows for people."""
    precision = figures["precision"]
    header = ["share of the time", f"a step of `small`, {precision}", f"a step of `base`, {precision}", "sampling with `small`, float32"]
    return header, [[row["kind"], *(f"{100 * row[name]:.0f}%" for name in ("small", "base", "sampling"))] for row in figures["rows"]]
