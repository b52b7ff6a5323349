"""Where a run goes on: its newest checkpoint that can be used, and the tokenizer that it began with."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from .checkpoint import load_tokenizer
from .config import Config
from .files import read_json, write_json
from .run_folder import TOKENIZER
from .run_writer import RunWriter
from .tokenizer import Tokenizer, new_tokenizer
from .tokenizer_phase import under


@dataclass(frozen=True)
class Resume:
    """A complete checkpoint: its step, the tensors beside it, and what was said with them (precision, best, metrics, environment)."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]

    @property
    def precision(self) -> str:
        return str(self.state.get("precision", "float32"))

    @property
    def metrics(self) -> dict[str, Any]:
        found = self.state.get("metrics")
        return found if isinstance(found, dict) else {}

    @property
    def best(self) -> tuple[int, float] | None:
        """(step, validation loss) of the best checkpoint up to this one."""
        found = self.state.get("best")
        return (int(found[0]), float(found[1])) if isinstance(found, list) and len(found) == 2 else None

    def tokenizer(self, config: Config) -> Tokenizer:
        tokenizer = new_tokenizer(config.tokenizer, config.data.channels)
        tokenizer.load_state_dict(under("tokenizer.", self.tensors))
        return tokenizer

    def changed(self, environment: dict[str, Any]) -> str | None:
        """A notice where the results will not be those of an uninterrupted run, to the last bit."""
        others = [f"{name} {self.state[name]} then, {now} now" for name, now in environment.items() if self.state.get(name, now) != now]
        return f"Going on in another environment ({'; '.join(others)}): results can differ in the last bits." if others else None


def find_resume(run: RunWriter, phase: str) -> Resume | None:
    """The newest complete checkpoint of a phase that can be read; damaged ones are passed over with a notice."""
    if not run.resumed:
        return None
    for step in reversed(run.complete_steps(phase)):
        tensors_path, state_path = run.resume_paths(step, phase)
        try:
            load_tokenizer(run.checkpoint_path(step, phase))
            state = read_json(state_path)
            if state is None:
                raise ValueError(f"{state_path.name} is damaged")
            return Resume(step, load_file(tensors_path), state)
        except (OSError, ValueError, SafetensorError) as error:
            run.notify(f"The checkpoint of step {step} cannot be used ({error}): going on from the one before.")
    return None


def starting_tokenizer(run: RunWriter, given: Path | None) -> Path | None:
    """The checkpoint whose tokenizer this run uses, None where it trains its own: decided when it begins, and kept for every resume."""
    if run.resumed and run.complete_steps("tokenizer"):
        return None
    known = read_json(run.path / TOKENIZER) if run.resumed else None
    if known is not None:
        return Path(str(known["checkpoint"])) if known.get("checkpoint") else None
    with contextlib.suppress(OSError):
        write_json(run.path / TOKENIZER, {"checkpoint": str(given.resolve()) if given else None})
    return given


def environment(device: torch.device) -> dict[str, Any]:
    """What bit-identity of a resume depends on."""
    attention = "matrix products" if device.type == "cpu" else "torch's choice"  # see transformer.attend
    return {"torch": torch.__version__, "device": device.type, "threads": torch.get_num_threads(), "attention": attention, "compile": False}
