"""What a run will take, looked up before it starts: size, memory, time, and whether it can start at all."""

import html
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..config import Config
from . import sources, words

if TYPE_CHECKING:
    from ..preflight import Preflight

HELD = 32
HELD_SECONDS = 60.0  # free memory changes
DEVICES = {"cpu": "this CPU", "cuda": "this GPU", "mps": "this Mac's GPU"}


@dataclass(frozen=True)
class Estimate:
    """What the pre-flight of a config found, and what the page says of it. `devices`: CUDA devices of this machine."""

    found: "Preflight"
    trains_tokenizer: bool
    devices: int

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
        first = ["Trains its own tokenizer first: no trained one fits these clips and settings."] if self.trains_tokenizer else []
        return [*first, *self.found.notices]

    def figures(self) -> list[tuple[str, str, str]]:
        """(name, value, help) of each figure."""
        found = self.found
        return [
            ("Parameters", millions(found.parameters), "Of the transformer, its embeddings and output head included."),
            ("in its blocks", millions(found.blocks), "The transformer's blocks alone."),
            ("Tokenizer", millions(found.tokenizer_parameters), "Parameters of the tokenizer."),
            ("Memory", gib(found.memory), f"About what the training takes; {gib(found.free)} are free on {found.device}."),
            ("Time", words.duration(found.seconds), "For the whole run, from the speed of this machine's matrix products."),
            ("Clips seen", f"{found.clips:,}", f"{found.steps:,} steps of a batch each."),
            ("Work a step", operations(found.flops), "Floating-point operations of one training step."),
            ("Arithmetic", f"{found.precision}, {found.device}", "Precision and device that the run would use."),
        ]

    def launch(self, command: str) -> str | None:
        """The command on all GPUs of this machine; None where there are not several."""
        return launch_command(command, self.devices) if self.devices > 1 else None


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
            made, estimate = self.kept.get(key, (0.0, None))
            if estimate is None or time.monotonic() - made > HELD_SECONDS:
                estimate = look_ahead(sources.resolved(config))
                self.kept[key] = (time.monotonic(), estimate)
            self.kept.move_to_end(key)
            while len(self.kept) > HELD:
                self.kept.popitem(last=False)
        return estimate


ESTIMATES = Estimates()


def devices() -> int:
    """GPUs of this machine that can train together."""
    import torch

    return int(torch.cuda.device_count())


def look_ahead(config: Config) -> Estimate:
    from ..preflight import preflight
    from ..tokenizer_choice import choose_tokenizer

    trains_tokenizer = choose_tokenizer(config) is None
    return Estimate(preflight(config, trains_tokenizer=trains_tokenizer), trains_tokenizer, devices())


def millions(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count < 1e7 else f"{count / 1e6:.1f} M"


def gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def operations(count: float) -> str:
    for scale, unit in ((1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP")):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count / 1e6:.3g} MFLOP"


def figures_html(estimate: Estimate) -> str:
    """The figures as a small grid."""
    cells = "".join(
        f'<div title="{html.escape(help)}"><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>'
        for name, value, help in estimate.figures()
    )
    return f'<dl class="figures-grid">{cells}</dl>'


def notices_html(estimate: Estimate) -> str:
    """The problem, where there is one, and what the run adjusts."""
    problem = f'<div class="message bad" role="alert">{html.escape(capital(estimate.problem))}</div>' if estimate.problem else ""
    items = "".join(f"<li>{html.escape(notice)}</li>" for notice in estimate.notices)
    return problem + (f'<ul class="notice-list">{items}</ul>' if items else "")


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]
