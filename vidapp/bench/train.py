"""A training step of `small` and `base`, whole: clips, encoding, masks, both passes, clipping, the optimiser, the average."""

import time
from dataclasses import dataclass
from typing import Any

import torch

from ..batches import draw_masks
from ..compiling import compile_choice
from ..config import Config
from ..data.source import open_source
from ..device import pick_device, pick_precision
from ..feed import Feed, micro_batches, workers_for
from ..flops import step_flops
from ..heap import freed_memory
from ..randomness import torch_generator
from ..ranks import ALONE
from ..tokenizer import new_tokenizer
from ..transformer_phase import TransformerPhase
from .effort import Effort, typical
from .machine import MatrixRate, wait

HEADLINE = "bf16"
LEAST_TIMES = 3
IN_A_ROW = {"cuda": 10}  # steps timed together: the host runs ahead of a GPU, as in a training, which waits at logged steps alone
WARM_UP = {"cuda": 12}  # steps: kernels are chosen, and compiled for every kind of batch
CPU_BATCH = {"base": 8}  # clips in a step of `base` where there is no GPU: its time a clip is what counts


@dataclass(frozen=True)
class Steps:
    """What a config's training steps took: seconds and FLOPs of a step, and the matrix rate beside it, of each stretch that was timed."""

    config: Config
    parameters: dict[str, int]
    seconds: list[float]
    flops: list[int]
    rates: list[float]

    @property
    def tokens_per_second(self) -> float:
        """Tokens of the clips themselves; those passed a second time, as a clean past, do not count."""
        return self.config.recipe.batch_size * self.config.data.clip_frames * self.config.grid**2 / typical(self.seconds)

    @property
    def utilization(self) -> float:
        """FLOPs a second over the rate of a large matrix product."""
        shares = [flops / seconds / rate for flops, seconds, rate in zip(self.flops, self.seconds, self.rates, strict=True)]
        return typical(shares)

    @property
    def seconds_per_clip(self) -> float:
        return typical(self.seconds) / self.config.recipe.batch_size

    @property
    def flops_per_clip(self) -> float:
        return typical(self.flops) / self.config.recipe.batch_size

    def figures(self) -> dict[str, float]:
        return {
            "tokens_per_second": self.tokens_per_second,
            "model_flops_utilization": self.utilization,
            "matrix_flops_per_second": typical(self.rates),
            "tokens_per_second_at_matrix_rate": self.tokens_per_second / self.utilization,
            "seconds_per_step": typical(self.seconds),
            "batch_size": self.config.recipe.batch_size,
            "flops_per_step": typical(self.flops),
        }


def measure(effort: Effort) -> dict[str, object]:
    """The figures of the scope; the headline is `small`, factorized, in bf16."""
    device = pick_device("auto")
    small = effort.config("small")
    headline, plain = (train_steps(small, device, precision, effort) for precision in (HEADLINE, "float32"))
    base = train_steps(base_config(effort, device), device, HEADLINE, effort)
    compiled = {}
    if device.type == "cuda":
        compiled["base_compiled"] = train_steps(base_config(effort, device, run__compile="on"), device, HEADLINE, effort).figures()
    return {
        **headline.figures(),
        "precision": HEADLINE,
        "auto_precision": pick_precision(small, device),
        "device": device.type,
        "threads": torch.get_num_threads(),
        "small_float32": plain.figures(),
        "base": base.figures(),
        **compiled,
        "base_over_small": compare(base, headline),
    }


def base_config(effort: Effort, device: torch.device, **more: Any) -> Config:
    batch = {} if device.type == "cuda" else {"recipe__batch_size": CPU_BATCH["base"]}
    return effort.config("base", **batch, **more)


def compare(large: Steps, small: Steps) -> dict[str, float]:
    """Ratios of the larger model to the smaller one, of a training step over the same clips."""
    flops = large.flops_per_clip / small.flops_per_clip
    step_time = large.seconds_per_clip / small.seconds_per_clip
    return {
        "parameters_in_blocks": large.parameters["blocks"] / small.parameters["blocks"],
        "parameters": large.parameters["total"] / small.parameters["total"],
        "flops": flops,
        "step_time": step_time,
        "step_time_over_flops": step_time / flops,
    }


def new_phase(config: Config, device: torch.device, precision: str, feed: Feed | None = None) -> TransformerPhase:
    """A training that can be stepped, with a new tokenizer: what its tokens say makes no difference to the time."""
    tokenizer = new_tokenizer(config.tokenizer, config.data.channels, torch_generator(0, "tokenizer")).eval()
    compiled, _ = compile_choice(config, device)
    return TransformerPhase(config, open_source(config.data), tokenizer, device, precision, compiled=compiled, feed=feed)


def train_steps(config: Config, device: torch.device, precision: str, effort: Effort) -> Steps:
    """Steps of a new training after some that do not count, a matrix product before each stretch."""
    rate = MatrixRate(device, precision, effort.side)
    with Feed(config, micro_batches(config, ALONE), workers_for(device, 1)) as feed:
        return timed_steps(new_phase(config, device, precision, feed), rate, effort)


def timed_steps(phase: TransformerPhase, rate: MatrixRate, effort: Effort) -> Steps:
    config, device = phase.config, phase.device
    found = Steps(config, phase.model.parameter_counts, [], [], [])
    in_a_row, step = IN_A_ROW.get(device.type, 1), WARM_UP.get(device.type, 1)
    with freed_memory(device.type, checkpointing=config.recipe.gradient_checkpointing) as freed:  # as the trainer does
        for warm in range(step):
            phase.train_step(warm, False)
            freed.look()
        while len(found.seconds) < LEAST_TIMES or in_a_row * sum(found.seconds) < effort.seconds:
            found.rates.append(rate.measure())
            steps = range(step, step + in_a_row)
            wait(device)
            start = time.perf_counter()
            for step in steps:
                phase.train_step(step, False)
                freed.look()
            wait(device)
            found.seconds.append((time.perf_counter() - start) / in_a_row)
            masks = (draw_masks(config, step, range(config.recipe.batch_size)) for step in steps)
            found.flops.append(sum(step_flops(config, drawn) for drawn in masks) // in_a_row)
            step = steps.stop
    return found
