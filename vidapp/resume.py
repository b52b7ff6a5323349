"""Where a run goes on: its newest checkpoint that can be used, and the tokenizer that it began with."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from .checkpoint import load_tokenizer, refuse_unfilled
from .config import Config
from .files import finite, read_json, write_json
from .optimizer import refuse_partial_state
from .ranks import Ranks
from .run_folder import TOKENIZER
from .run_writer import RunWriter
from .tokenizer import Tokenizer, new_tokenizer
from .tokenizer_phase import under
from .transformer import VideoTransformer


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
        """(step, validation loss) of the best checkpoint up to this one; ValueError where they are no numbers."""
        found = self.state.get("best")
        if not isinstance(found, list) or len(found) != 2:
            return None
        step, loss = map(finite, found)
        if step is None or loss is None:
            raise ValueError("its resume part holds no numbers of the best checkpoint")
        return int(step), loss

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
    steps = run.complete_steps(phase)
    for step in reversed(steps):
        tensors_path, state_path = run.resume_paths(step, phase)
        try:
            load_tokenizer(run.checkpoint_path(step, phase))
            state = read_json(state_path)
            if state is None:
                raise ValueError(f"{state_path.name} is damaged")
            found = Resume(step, load_file(tensors_path), state)
            refuse_misfit(run.config, phase, found)
            return found
        except (OSError, ValueError, SafetensorError) as error:
            onward = "going on from the one before" if step != steps[0] else f"the {phase}'s training begins anew"
            run.notify(f"The checkpoint of step {step} cannot be used ({error}): {onward}.")
    return None


def refuse_misfit(config: Config, phase: str, found: Resume) -> None:
    """ValueError where what lies beside a checkpoint is not of this config's models but of another run, say, or not whole."""
    tensors, _ = found.tensors, found.best
    with torch.device("meta"):
        models: dict[str, nn.Module] = {"tokenizer.": Tokenizer(config.tokenizer, config.data.channels)}
        if phase == "transformer":
            models |= dict.fromkeys(("model.", "averaged."), VideoTransformer.of(config))
    for prefix, model in models.items():
        expected, there = facts(model.state_dict()), facts(under(prefix, tensors))
        if expected != there:
            odd = sorted(name for name in expected.keys() | there.keys() if expected.get(name) != there.get(name))
            raise ValueError(f"its resume part is not of this run: {prefix}{odd[0][:80]} is another or missing")
        refuse_unfilled("its resume part", under(prefix, tensors))
    updates = under("update.", tensors)
    moved = found.step > int(updates.get("skipped", torch.tensor(0)))
    refuse_partial_state(under("optimizer.", tensors), whole=moved)
    if updates and set(updates) != {"skipped", "in_a_row"}:
        raise ValueError("its resume part does not say how many steps were skipped")


def facts(tensors: dict[str, Tensor]) -> dict[str, tuple[torch.dtype, torch.Size]]:
    return {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}


def resume_from_first(ranks: Ranks, run: RunWriter, phase: str) -> Resume | None:
    """What the first rank finds, on every rank."""
    found: list[Resume] = []

    def look() -> dict[str, Any] | None:
        if (resume := find_resume(run, phase)) is None:
            return None
        found.append(resume)
        return {"step": resume.step, "state": resume.state}

    facts = ranks.from_first(look)
    if facts is None:
        return None
    return Resume(facts["step"], ranks.tensors_from_first(lambda: found[0].tensors), facts["state"])


def tokenizer_from_first(ranks: Ranks, config: Config, make: Callable[[], Tokenizer]) -> Tokenizer:
    """A trained tokenizer that the first rank has, on every rank. ValueError where it is not the one that `config` describes."""

    def weights() -> dict[str, Tensor]:
        tokenizer = make()
        if tokenizer.config != config.tokenizer:
            raise ValueError("the tokenizer given is not the one that the config describes: copy its tokenizer section, or train one")
        return tokenizer.state_dict()

    tokenizer = new_tokenizer(config.tokenizer, config.data.channels)
    tokenizer.load_state_dict(ranks.tensors_from_first(weights))
    return tokenizer


def starting_points(run: RunWriter, tokenizer: Path | None, init: Path | None) -> dict[str, str | None]:
    """The checkpoints whose tokenizer (`checkpoint`) and whose weights (`init`) this run begins with, None where it trains its own and
    draws them: decided when it begins, and kept for every resume."""
    trained = run.resumed and bool(run.complete_steps("tokenizer"))
    given = {"checkpoint": None if trained else as_text(tokenizer), "init": as_text(init)}
    known = read_json(run.path / TOKENIZER) if run.resumed else None
    if known is None:
        with contextlib.suppress(OSError):
            write_json(run.path / TOKENIZER, given)
        return given
    for name in ("checkpoint", "init"):
        if not isinstance(known.get(name), str | None):
            raise ValueError(
                f"{TOKENIZER} of run {run.name!r} is damaged: {name} is {str(known[name])[:40]!r}, where a path should be, or null"
            )
    return {"checkpoint": None if trained else known.get("checkpoint"), "init": known.get("init")}


def as_text(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


def environment(device: torch.device, ranks: int = 1, *, compiled: bool = False) -> dict[str, Any]:
    """What bit-identity of a resume depends on."""
    attention = "matrix products of scaled queries" if device.type == "cpu" else "torch's choice"  # see attention.attend
    return {
        "torch": torch.__version__,
        "device": device.type,
        "threads": torch.get_num_threads(),
        "ranks": ranks,
        "attention": attention,
        "compile": compiled,
    }
