"""What a run will take, looked up before it starts: size, memory, time, and whether it can start at all."""

import contextlib
import dataclasses
import html
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..amounts import gib, millions
from ..config import MOVING_MNIST, Config
from . import sources, words

if TYPE_CHECKING:
    from ..preflight import Preflight

HELD = 32
HELD_SECONDS = 60.0  # free memory changes
DEVICES = {"cpu": "this CPU", "cuda": "this GPU", "mps": "this Mac's GPU"}


@dataclass(frozen=True)
class Estimate:
    """What the pre-flight of a config found, and what the page says of it.

    new_tokenizer: why the run trains one; empty where it does not. tokenizer_of: the run that has trained it before; empty where none has.
    devices: CUDA devices of this machine. set_by_data: which settings
    the data decide, in a sentence; empty where they decide none.
    """

    found: "Preflight"
    new_tokenizer: str
    devices: int
    set_by_data: str = ""
    tokenizer_of: str = ""

    @property
    def time(self) -> str:
        """`about 14 min on this CPU`."""
        return f"{words.duration(self.found.seconds)} on {DEVICES.get(self.found.device, self.found.device)}"

    @property
    def problem(self) -> str | None:
        """Why the run cannot start here; None where it can."""
        return self.found.problem

    @property
    def notices(self) -> list[str]:
        first = [f"Trains its own tokenizer first: {self.new_tokenizer}."] if self.new_tokenizer else []
        if self.tokenizer_of:
            first = [
                f"Takes the tokenizer of run {self.tokenizer_of}, trained on the same clips (recipe.tokenizer_source=new trains another)."
            ]
        return [*filter(None, [self.set_by_data]), *first, *self.found.notices]

    @property
    def values(self) -> dict[str, str]:
        """What each figure is."""
        found = self.found
        return {
            **sizes_in_words(found.parameters, found.blocks, found.tokenizer_parameters),
            "Memory": gib(found.memory),
            "Time": words.duration(found.seconds),
            "Clips seen": f"{found.clips:,}",
            "Work a step": operations(found.flops),
            "Arithmetic": f"{found.precision}, {found.device}",
        }

    def launch(self, command: str) -> str | None:
        """The command on all GPUs of this machine; None where there are not several."""
        return launch_command(command, self.devices) if self.devices > 1 else None


FIGURES = {
    "Parameters": "Of the transformer, its embeddings and output head included.",
    "in its blocks": "The transformer's blocks alone.",
    "Tokenizer": "Parameters of the tokenizer.",
    "Memory": "About what the training takes; on a CPU it may hold twice that while it is free.",
    "Time": "For the whole run, from the speed of this machine's matrix products at its fastest; other work beside it makes it longer.",
    "Clips seen": "Steps times clips in a batch.",
    "Work a step": "Floating-point operations of one training step.",
    "Arithmetic": "Precision and device that the run would use.",
}


def sizes_in_words(parameters: int, blocks: int, tokenizer: int) -> dict[str, str]:
    return {"Parameters": millions(parameters), "in its blocks": millions(blocks), "Tokenizer": millions(tokenizer)}


def at_once(config: Config) -> dict[str, str]:
    """The figures that are mere arithmetic. Does not wait for torch where nothing has needed it yet."""
    clips = {"Clips seen": f"{config.run.steps * config.recipe.batch_size:,}"}
    if "torch" not in sys.modules:
        return clips
    from ..preflight import Sizes

    with contextlib.suppress(ValueError):  # which is said by whoever estimates
        config = sources.resolved(config)
    sizes = Sizes.of(config)
    return {**sizes_in_words(sizes.parameters, sizes.blocks, sizes.tokenizer), **clips}


def launch_command(command: str, processes: int) -> str:
    """`python -m vidapp ...` as accelerate starts it, a process for each GPU."""
    return command.replace("python -m vidapp", f"accelerate launch --multi_gpu --num_processes {processes} -m vidapp", 1)


class Estimates:
    """The estimates made last, by config; one is made at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.kept: OrderedDict[str, tuple[float, Estimate]] = OrderedDict()

    def of(self, config: Config) -> Estimate:
        """The estimate of a config (own clips as a choice or a path). Takes about a second, longer where torch is not loaded yet."""
        key = config.to_json()
        with self.lock:
            estimate = self.known(config)
            if estimate is None:
                found = sources.resolved(config)
                estimate = dataclasses.replace(look_ahead(found), set_by_data=sources.set_by_data(config, found))
                self.kept[key] = (time.monotonic(), estimate)
            self.kept.move_to_end(key)
            while len(self.kept) > HELD:
                self.kept.popitem(last=False)
        return estimate

    def known(self, config: Config) -> Estimate | None:
        """The estimate of a config where it was made a moment ago."""
        made, estimate = self.kept.get(config.to_json(), (0.0, None))
        return estimate if time.monotonic() - made <= HELD_SECONDS else None


ESTIMATES = Estimates()


def devices() -> int:
    """GPUs of this machine that can train together."""
    import torch

    return int(torch.cuda.device_count())


def look_ahead(config: Config) -> Estimate:
    from ..preflight import preflight  # here: the page comes up before torch is imported
    from ..run_tokenizers import trained_before
    from ..tokenizer_choice import choose_tokenizer

    earlier = trained_before(config)
    trains = earlier is None and choose_tokenizer(config) is None and config.tokenizer.quantizer != "ids"
    found = preflight(config, trains_tokenizer=trains)
    return Estimate(found, why_new(config) if trains else "", devices(), tokenizer_of=earlier.name if earlier else "")


def why_new(config: Config) -> str:
    """Why a run trains a tokenizer."""
    if config.recipe.tokenizer_source == "new":
        return "recipe.tokenizer_source=new asks for it"
    return "none is bundled with these settings" if config.data.source in MOVING_MNIST else "no run has trained one on these clips yet"


def operations(count: float) -> str:
    for scale, unit in ((1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP")):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count / 1e6:.3g} MFLOP"


def figures_html(values: Mapping[str, str], *, missing: str = "…") -> str:
    """The figures as a small grid; `missing` stands for those that are not known: yet, unless it is a dash."""
    cells = "".join(
        f'<div title="{html.escape(help)}"><dt>{html.escape(name)}</dt><dd>{html.escape(values.get(name, missing))}</dd></div>'
        for name, help in FIGURES.items()
    )
    busy = missing == "…" and not all(name in values for name in FIGURES)
    return f'<dl class="figures-grid" aria-busy="{str(busy).lower()}">{cells}</dl>'


def notices_html(estimate: Estimate, *more: str) -> str:
    """The problem, where there is one, what the run adjusts, and more that is to be said."""
    problem = f'<div class="message bad" role="alert">{html.escape(capital(estimate.problem))}</div>' if estimate.problem else ""
    items = "".join(f"<li>{html.escape(notice)}</li>" for notice in filter(None, [*more, *estimate.notices]))
    return problem + (f'<ul class="notice-list">{items}</ul>' if items else "")


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]
