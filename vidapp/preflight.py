"""Before a run starts: how large it is, what memory and time it will take, what is adjusted; refused where it cannot fit."""

import time
from dataclasses import dataclass, replace

import torch

from .amounts import GIB, gib, millions
from .config import MOVING_MNIST, Config
from .device import FASTEST, LARGEST_MEASURED, matrix_rate, pick_device, pick_precision, write_rate
from .dry_run import Cost, tokenizer_step, transformer_step
from .flops import Pass, pass_flops
from .heap import PLENTY, freed_memory
from .memory import free_memory
from .schedules import notices
from .tokenizer import Tokenizer
from .transformer import VideoTransformer

COPIES = 5  # of the weights: themselves, their average, their gradient and, for AdamW, two moments
FIXED = 130 * 2**20  # what torch itself takes as soon as it computes: measured
FRAGMENTS = 1.05  # what a step takes over what is alive in it: room between blocks that do not fit into each other; measured
SHARE_OF_PEAK = {"cuda": 0.15}  # of the speed of a large matrix product that a whole step reaches: measured on an H200, 0.09 to 0.25
MOVES = 5  # times the bytes that a step's operations give: what is read, moved and kept for them besides; measured on two kinds of CPU
SLOW_FLOPS = 5e10  # of products a second in small passes on two cores; measured
SLOW_SCORES = 2e8  # scores of attention a second there, their softmax included; measured
LONGEST_PASS_S = 30.0


@dataclass(frozen=True)
class Preflight:
    """What is known of a run before its first step, or before it goes on. memory and free in bytes, seconds for the whole run."""

    blocks: int
    parameters: int
    tokenizer_parameters: int
    memory: int
    free: int
    seconds: float
    flops: int  # of a transformer step
    steps: int
    clips: int
    device: str
    precision: str
    notices: tuple[str, ...]
    may_keep: bool = False  # whether what steps free is kept while there is plenty: held, but given back when it is needed
    processes: int = 1  # that share this memory
    measured: bool = False  # whether `seconds` comes from steps that were made, not from their arithmetic alone
    done: int = 0  # of `steps`, where a run goes on

    @property
    def line(self) -> str:
        """All of it in one line, without the notices; of a run that goes on, the steps, clips and time of what is left."""
        if not self.left:
            return f"nothing is left to do: all {self.steps:,} steps are done"
        kept = " (it may hold twice that while it is free)" if self.keeps else ""
        time = f"{duration(self.seconds_left)} by measured steps" if self.measured else f"about {duration(self.seconds_left)}"
        steps = f"{self.left:,} of {self.steps:,} steps are left," if self.done else f"{self.steps:,} steps"
        return (
            f"{millions(self.parameters)} parameters ({millions(self.blocks)} in blocks), about {gib(self.memory)}{kept} of the "
            f"{gib(self.free)} free on {self.device}, {self.precision}, {steps} over {self.clips * self.left // self.steps:,} clips, {time}"
        )

    @property
    def left(self) -> int:
        return max(0, self.steps - self.done)

    @property
    def seconds_left(self) -> float:
        return self.seconds * self.left / self.steps  # a tokenizer is no part of it: it is trained before the first of these steps

    @property
    def keeps(self) -> bool:
        return self.may_keep and self.free >= PLENTY * self.memory

    @property
    def problem(self) -> str | None:
        """Why the run cannot start: it would not fit into memory; None where it does."""
        need = self.memory * self.processes
        if need <= self.free:
            return None
        each = f" in {self.processes} processes" if self.processes > 1 else ""
        return f"this run needs about {gib(need)} of memory{each} and {gib(self.free)} are free on {self.device}: {REMEDY}"


REMEDY = "lower recipe.batch_size or raise recipe.micro_batches, or set recipe.gradient_checkpointing=true"


@dataclass(frozen=True)
class Sizes:
    """Parameters of the transformer, in its blocks and in all, and of the tokenizer."""

    blocks: int
    parameters: int
    tokenizer: int

    @staticmethod
    def of(config: Config) -> "Sizes":
        """Arithmetic alone: no memory is taken."""
        with torch.device("meta"):
            model, tokenizer = VideoTransformer.of(config), Tokenizer(config.tokenizer, config.data.channels)
        counts = model.parameter_counts
        return Sizes(counts["blocks"], counts["total"], sum(parameter.numel() for parameter in tokenizer.parameters()))


def preflight(config: Config, *, trains_tokenizer: bool = False) -> Preflight:
    """Look ahead at a run of `config` on this machine. Takes about a second; draws no random number from torch."""
    device, sizes = pick_device(config.run.device), Sizes.of(config)
    precision = pick_precision(config, device)
    costs = costs_of(config, device, precision, trains_tokenizer=trains_tokenizer)
    recipe, steps = config.recipe, config.run.steps
    step_s, first_s = (seconds_of(cost, device, precision, config.model.width) for cost in costs)
    return Preflight(
        blocks=sizes.blocks,
        parameters=sizes.parameters,
        tokenizer_parameters=sizes.tokenizer,
        memory=memory_of(config, sizes, costs, as_floats=trains_tokenizer),
        free=free_on(device),
        seconds=step_s * steps + first_s * recipe.tokenizer_steps,
        flops=costs[0].flops,
        steps=steps,
        clips=steps * recipe.batch_size,
        device=device.type,
        precision=precision,
        notices=(*notices(recipe, steps, config.data), *adjustments(config, device, precision)),
        may_keep=freed_memory(device.type, checkpointing=recipe.gradient_checkpointing).may_keep,
    )


def seconds_of(cost: Cost, device: torch.device, precision: str, width: int) -> float:
    """Of a step. On a CPU products and what lies between them take turns, and which of them takes longer differs from one to the next:
    where it multiplies fast (AMX), a step's products take a seventh of it."""
    rate = FASTEST(flop_rate, device, precision, min(width, LARGEST_MEASURED))
    if device.type != "cpu":
        return cost.flops / (SHARE_OF_PEAK.get(device.type, 0.5) * rate)
    return cost.flops / rate + MOVES * cost.written / FASTEST(write_rate)


def of_a_rank(config: Config, ranks: int) -> Config:
    """What one of `ranks` processes computes in a step, as a config."""
    share = max(1, config.recipe.batch_size // ranks)
    parts = max(parts for parts in range(1, config.recipe.micro_batches + 1) if share % parts == 0)
    return config.replace({"recipe.batch_size": share, "recipe.micro_batches": parts})


def costs_of(config: Config, device: torch.device, precision: str, *, trains_tokenizer: bool) -> tuple[Cost, Cost]:
    """Of a step of the transformer, and of one of the tokenizer where it is trained."""
    first = tokenizer_step(config) if trains_tokenizer and config.tokenizer.quantizer != "ids" else Cost(0, 0, 0)
    return transformer_step(config, precision, returned=device.type == "cuda"), first


def memory_of(config: Config, sizes: Sizes, costs: tuple[Cost, Cost], *, as_floats: bool = False) -> int:
    """Bytes: weights in all their copies, what the larger step computes with, the validation clips (`as_floats` too, where a tokenizer
    is trained), and torch itself."""
    data, activations = config.data, max(cost.bytes for cost in costs)
    validation = config.run.validation_clips * data.clip_frames * data.channels * data.size**2 * (5 if as_floats else 1)
    return 4 * (COPIES * sizes.parameters + sizes.tokenizer) + round(FRAGMENTS * activations) + validation + FIXED


def sampling_memory(config: Config, clips: int = 1) -> int:
    """Bytes: what sampling so many clips at once takes beside the weights, the most where all given frames are seen for the first time.

    Attention within frames keeps its scores twice, before and after the softmax; attention over all tokens none, as `attend` computes it
    where they are many. Biases on the scores are kept for all layers. All of it grows with the fourth power of the grid, and little of it
    can be told from the size of a checkpoint file. Of the codes there are the logits of a frame, three times over, and for a learned
    codebook the distances of all tokens to each of them.
    """
    model, frames, places = config.model, config.data.clip_frames, config.grid**2
    full = model.attention == "full"
    pairs = (frames * places) ** 2 if full else places**2
    biases = model.layers * pairs * (model.heads if model.positions == "relative" else int(full))
    scores = 0 if full else 2 * clips * frames * model.heads * pairs
    rows = clips * frames * places * model.width
    compared = 3 * places + (frames * places if config.tokenizer.quantizer == "vq" else 0)
    codes = clips * compared * config.tokenizer.codebook_size
    return 4 * (biases + scores + rows * (2 * model.layers + 3 * model.mlp_ratio) + codes)


def sampling_seconds(config: Config) -> float:
    """About what the dearest pass of sampling one clip takes on a CPU, all given frames encoded and seen for the first time: from above, at
    rates that two cores reach with small operations. Scores count besides their products: a softmax over many heads takes longer than they do.
    """
    model, frames, places = config.model, config.data.clip_frames, config.grid**2
    pairs = (frames * places) ** 2 if model.attention == "full" else frames * places * (places + frames)
    products = pass_flops(config, Pass(1, frames, places))
    encoded = 2 * Sizes.of(config).tokenizer * frames * (config.data.size / 2) ** 2  # convolutions are narrow where they are large
    return (products + encoded) / SLOW_FLOPS + model.layers * model.heads * pairs / SLOW_SCORES


def refuse_too_slow_to_sample(config: Config, name: str) -> None:
    """ValueError where a single pass would hold the page's processor for longer than anybody waits: nothing can end it before it is over."""
    seconds = sampling_seconds(config)
    if pick_device("auto").type == "cpu" and seconds > LONGEST_PASS_S:
        raise ValueError(
            f"{name} would take about {duration(seconds)} for a single pass here: sample from it in a shell (python -m vidapp sample) or on a GPU"
        )


def refuse_too_large_to_sample(config: Config, name: str, clips: int = 1) -> None:
    """ValueError where sampling so many clips at once with the checkpoint of that name would take more memory than is free: a system ends
    the whole process for that. A GPU only refuses, which is told where it happens."""
    if pick_device("auto").type == "cuda":
        return
    need, free = sampling_memory(config, clips), free_memory()
    if need > free:
        many = f"{clips} futures at once" if clips > 1 else "a future"
        raise ValueError(f"{name} would take about {gib(need)} of memory for {many}, and {free / GIB:.1f} are free here")


def needed(config: Config, device: torch.device, *, trains_tokenizer: bool) -> str:
    """What a run that ran out of memory needs, to be put behind that sentence. Gives cached memory back first."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    costs = costs_of(config, device, pick_precision(config, device), trains_tokenizer=trains_tokenizer)
    memory = memory_of(config, Sizes.of(config), costs, as_floats=trains_tokenizer)
    return f" (it needs about {gib(memory)}, and {gib(free_on(device))} are free now)"


def refuse_too_large(config: Config, *, trains_tokenizer: bool, processes: int = 1, done: int = 0) -> Preflight:
    """The run's pre-flight; ValueError where on a CPU it would not fit (there the system would kill us, or others, instead of refusing).

    processes: how many such runs, ranks of one, share this machine's CPU. done: steps that a run which goes on has behind it.
    """
    found = preflight(config, trains_tokenizer=trains_tokenizer)
    found = replace(found, processes=processes if found.device == "cpu" else 1, done=done)
    if found.problem and found.device == "cpu":
        raise ValueError(found.problem)
    return found


def adjustments(config: Config, device: torch.device, precision: str) -> list[str]:
    """What settings that leave the choice to the machine, or cannot act, come to."""
    recipe, found = config.recipe, []
    for key in ("own_past", "context_corruption"):
        if getattr(recipe, key) and recipe.clean_past and config.model.attention == "framewise":
            found.append(f"recipe.{key} changes nothing: with model.attention=framewise no frame sees another.")
    if config.data.frame_step > 1 and (config.data.source in MOVING_MNIST or config.tokenizer.quantizer == "ids"):
        found.append("data.frame_step changes nothing: it is for clips of your own that are frames.")
    if config.run.device == "auto":
        found.append(f"run.device=auto takes {device.type}.")
    if recipe.precision == "auto":
        found.append(f"recipe.precision=auto takes {precision} here.")
    if config.run.training_clips:
        found.append(f"Only {config.run.training_clips} clips are trained on, to overfit on purpose (run.training_clips).")
    return found


def free_on(device: torch.device) -> int:
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_memory()


def flop_rate(device: torch.device, precision: str, width: int) -> float:
    """FLOPs a second of a matrix product of about the model's size."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    if device.type != "cuda":
        return matrix_rate(dtype, width)
    a, b = torch.ones(8192, width, dtype=dtype, device=device), torch.ones(width, 4 * width, dtype=dtype, device=device)
    for _ in range(2):  # the first round warms up
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        for _ in range(50):
            a @ b
        torch.cuda.synchronize(device)
    return 50 * 2.0 * 8192 * width * 4 * width / (time.perf_counter() - start)


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"
