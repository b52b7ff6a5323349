"""What looking at every layer costs a training: `PYTHONPATH=. python tests/layer_cost.py [PRESET ...]`. No test: a figure for the README.

The look's own time (processor time of this thread on a CPU, so that other work beside it does not count) over that of the steps between two
logged ones. Prints one line a preset.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from vidapp.checkpoint import load_tokenizer
from vidapp.data.source import open_source
from vidapp.device import pick_device, pick_precision
from vidapp.layers import LayerLook
from vidapp.presets import preset
from vidapp.tokenizer_choice import BUNDLED
from vidapp.transformer_phase import TransformerPhase

STEPS = 4
spent = 0.0


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.thread_time()


def timed(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*values: Any) -> Any:
        global spent
        begun = now()
        try:
            return function(*values)
        finally:
            spent += now() - begun

    return call


def main() -> None:
    torch.set_num_threads(1)
    for name in ("see", "hold", "sums", "figures"):
        setattr(LayerLook, name, timed(getattr(LayerLook, name)))
    for name in sys.argv[1:] or ("debug", "small"):
        measure(name)


def measure(name: str) -> None:
    global spent
    config = preset(name)
    device = pick_device("auto")
    tokenizer, _ = load_tokenizer(BUNDLED)
    phase = TransformerPhase(config, open_source(config.data), tokenizer, device, pick_precision(config, device))
    phase.train_step(0, measure=True)
    spent, begun = 0.0, now()
    for step in range(1, 1 + STEPS):
        phase.train_step(step, measure=True)
    look = spent / STEPS
    step = (now() - begun) / STEPS - look
    every = config.run.log_every
    print(
        f"{name}: a step {step:.3f} s, a look {1000 * look:.1f} ms, every {every} steps {100 * look / (every * step):.3f} % of training",
        flush=True,
    )


if __name__ == "__main__":
    main()
