"""torch.compile for the transformer's blocks: where it is asked for or pays, and what is said where it cannot be had."""

import importlib.util
import os
import shutil

import torch

from .config import Config
from .lent_gpu import gpu_is_lent
from .preflight import preflight
from .transformer import VideoTransformer

BACKEND = "inductor"
PAYS_AFTER_S = 900.0  # of training, by the estimate: compiling takes a minute or two, to be earned back at about a fifth of the time
KINDS = 32  # of batches that are compiled for, at most
COMPILERS = ("c++", "g++", "clang++", "cl")


def compile_choice(config: Config, device: torch.device, before: object = None) -> tuple[bool, str | None]:
    """Whether the blocks are to be compiled, and a notice where that is not what one might expect.

    `before`: what the run that is resumed did (None: not known); auto stays with it. On a CPU auto never compiles: there it
    gave nothing.
    """
    asked = config.run.compile
    if asked == "off" or (asked == "auto" and device.type != "cuda"):
        return False, None
    obstacle = obstacle_to_compiling(device)
    if obstacle is not None:
        return False, f"run.compile={asked} trains without torch.compile: {obstacle}."
    if asked == "on":
        return True, None
    if isinstance(before, bool):
        return before, None
    return preflight(config).seconds >= PAYS_AFTER_S, None


def obstacle_to_compiling(device: torch.device) -> str | None:
    """What is missing on this machine; None where nothing is."""
    if device.type not in ("cuda", "cpu"):
        return f"it is not for {device.type}"
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        return "the package triton, which compiles for this GPU, is not installed"
    given = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ((given,) if given else COMPILERS)):
        return "there is no C++ compiler (install g++, or set CXX)"
    return None


def compile_blocks(model: VideoTransformer) -> None:
    """From now on every block runs compiled; all of them share what is compiled. Names of weights stay as they are.

    For sizes of any kind from the start: parts of a batch have other clips and frames in every step. What is left to tell apart (one
    clip or several, with a past or without, the last layer or another) is more than the few kinds that torch would allow for.
    """
    torch._dynamo.config.recompile_limit = max(KINDS, torch._dynamo.config.recompile_limit)
    triton = torch._inductor.config.triton
    triton.coalesce_tiling_analysis = False  # torch 2.11: an assertion of its own fails where sizes are open, for which it is not made yet
    triton.mix_order_reduction = False  # torch 2.10 on: known to compute some gradients wrong
    if torch.cuda.is_available() and not gpu_is_lent():
        torch.cuda.init()  # else compiling does, also for a CPU: within a checkpoint, which torch then refuses
    for block in model.blocks:
        block.compile(backend=BACKEND, dynamic=True)


def forget_compiled(model: VideoTransformer) -> None:
    for block in model.blocks:
        block._compiled_call_impl = None


def compiler_failed(error: Exception) -> bool:
    """Whether torch.compile itself failed, and not what it compiled."""
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
