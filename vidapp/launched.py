"""The ranks of a training that `accelerate launch` has started: on many GPUs, many machines, or a CPU for tests.

Only a process started so imports accelerate, whose state belongs to the whole process: an app that trains one run after the other
never does. Gradients are summed after the backward passes in one piece. Words, figures and loaded weights go from host to host, so
that no GPU is waited for. Nothing that arrives is unpickled.

A rank that dies is noticed by the others at once where its connection closes, and after PATIENCE_S where a whole machine is gone.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as distributed
from torch import Tensor, nn

from .config import Config
from .device import exact, pick_device
from .failures import RankLostError, SharedError, describe_failure
from .ranks import Ranks

T = TypeVar("T")
PATIENCE_S = 900.0  # for one answer of another rank: above the longest validation, sampling or saving
SPIN_S, NAP_S = 0.005, 0.001
LAST_WORDS = "vidapp/last words"
WORDS_WAIT_S = 1.0


class ManyRanks(Ranks):
    """One of several processes, joined with the others when made. Every rank makes the same calls in the same order."""

    def __init__(self) -> None:
        """ValueError where accelerate is missing, or the processes cannot be joined."""
        try:
            from accelerate import PartialState
        except ImportError as error:
            raise ValueError("training on many ranks needs accelerate: pip install accelerate") from error
        timeout = timedelta(seconds=PATIENCE_S)
        on_cpu = not torch.cuda.is_available() or os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true")
        try:
            state = PartialState(cpu=True, timeout=timeout) if on_cpu else PartialState(backend="cuda:nccl,cpu:gloo", timeout=timeout)
        except (RuntimeError, OSError) as error:
            raise ValueError(f"the processes that were launched cannot be joined: {first_line(error)}") from error
        self.rank, self.count = int(state.process_index), int(state.num_processes)
        self.here = int(os.environ.get("LOCAL_WORLD_SIZE", self.count))
        self.device = self.own = torch.device(state.device)
        self.pending: Any = None

    def use(self, config: Config) -> None:
        """Take the device and the share of the batch that a config asks for; ValueError where it cannot be had."""
        if self.own.type != "cuda" or config.run.device != "auto":
            asked = pick_device(config.run.device if config.run.device != "auto" else "cpu")
            if asked.type not in ("cpu", self.own.type):
                raise ValueError(f"run.device is {asked.type}, but the processes were launched for {self.own.type}: set run.device=auto")
            self.device = self.own if asked.type == self.own.type else asked
        exact(self.own)
        if config.recipe.batch_size % self.count:
            raise ValueError(
                f"recipe.batch_size {config.recipe.batch_size} does not divide by the {self.count} processes that were launched: "
                f"use a multiple of {self.count}, or launch another number"
            )

    def sum_gradients(self, parameters: list[nn.Parameter], loss: Tensor) -> Tensor:
        for parameter in parameters:
            if parameter.grad is None:  # here: another rank may have one
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([*(gradient.reshape(-1) for gradient in gradients), loss.reshape(1).to(gradients[0].dtype)])
        self.pending = self.started(lambda: distributed.all_reduce(flat, async_op=True))
        if flat.device.type == "cpu":
            self.settle()
        else:
            self.pending.wait()  # the device does, not the host
        parts = flat.split([*(gradient.numel() for gradient in gradients), 1])
        torch._foreach_copy_(gradients, [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=False)])
        return parts[-1].reshape(()).to(loss.dtype)

    def settle(self) -> None:
        work, self.pending = self.pending, None
        if work is not None:
            self.wait_for(work)

    def sum(self, values: Tensor) -> Tensor:
        summed = values.detach().cpu().clone()
        self.wait_for(self.started(lambda: distributed.all_reduce(summed, async_op=True)))
        return summed.to(values.device)

    def from_first(self, make: Callable[[], T]) -> T:
        found, error = attempt(make) if self.rank == 0 else (None, None)
        said = self.broadcast({"value": found} if error is None else {"error": describe_failure(error)}, 0)
        if error is not None:
            raise error
        if "error" in said:
            raise SharedError(said["error"])
        value: T = found if self.rank == 0 else said["value"]  # type: ignore[assignment]
        return value

    def tensors_from_first(self, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        made: dict[str, Tensor] = {}

        def describe() -> list[list[Any]]:
            made.update({name: tensor.detach().cpu().contiguous() for name, tensor in make().items()})
            return [[name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)] for name, tensor in made.items()]

        for name, dtype, shape in self.from_first(describe):
            if self.rank:
                made[name] = torch.empty(shape, dtype=getattr(torch, dtype))
            if made[name].numel():
                self.broadcast_bytes(made[name].view(-1).view(torch.uint8), 0)
        return made

    def first_word(self, word: str | None) -> str | None:
        where = self.ranks_where(word is not None)
        return str(self.broadcast({"word": word}, where[0])["word"]) if where else None

    def ranks_where(self, here: bool) -> list[int]:
        """The ranks that say yes."""
        said = torch.zeros(self.count, dtype=torch.int64)
        said[self.rank] = here
        return [int(rank) for rank in self.sum(said).nonzero().flatten()]

    def together(self, make: Callable[[], T]) -> T:
        value, error = attempt(make)
        where = self.ranks_where(error is not None)
        if not where:
            return value  # type: ignore[return-value]
        said = self.broadcast({"error": describe_failure(error) if error else ""}, where[0])
        if self.rank == 0 and error is not None:
            raise error
        raise SharedError(said["error"] if where[0] == 0 else f"rank {where[0]}: {said['error']}")

    def leave_word(self, error: BaseException) -> None:
        """Before this rank ends by an error of its own: tell the first one, which can say it to a person."""
        with contextlib.suppress(Exception):
            distributed.distributed_c10d._get_default_store().set(LAST_WORDS, f"rank {self.rank}: {describe_failure(error)}")

    def leave(self) -> None:
        """At the end, when all have got there."""
        with contextlib.suppress(Exception):
            distributed.destroy_process_group()

    def broadcast(self, content: dict[str, Any], source: int) -> dict[str, Any]:
        """A small object that rank `source` has, everywhere: its length, then its JSON."""
        text = json.dumps(content).encode() if self.rank == source else b""
        length = torch.tensor([len(text)], dtype=torch.int64)
        self.broadcast_bytes(length, source)
        buffer = (
            torch.frombuffer(bytearray(text), dtype=torch.uint8) if self.rank == source else torch.empty(int(length), dtype=torch.uint8)
        )
        self.broadcast_bytes(buffer, source)
        result: dict[str, Any] = json.loads(buffer.numpy().tobytes())
        return result

    def broadcast_bytes(self, tensor: Tensor, source: int) -> None:
        self.wait_for(self.started(lambda: distributed.broadcast(tensor, source, async_op=True)))

    def started(self, begin: Callable[[], Any]) -> Any:
        try:
            return begin()
        except RuntimeError as error:
            raise self.lost(error) from error

    def wait_for(self, work: Any) -> None:
        """Wait on the host without being deaf to signals, as a wait in torch's own code would be."""
        began = time.monotonic()
        try:
            while not work.is_completed():
                waited = time.monotonic() - began
                if waited > PATIENCE_S:
                    raise RuntimeError(f"no answer for {PATIENCE_S:.0f} s")
                time.sleep(0 if waited < SPIN_S else NAP_S)
            work.wait()
        except RuntimeError as error:
            raise self.lost(error) from error

    def lost(self, error: RuntimeError) -> RankLostError:
        """What to say where another rank does not answer: its own last words, where it had time for any."""
        word = self.last_words()
        if word:
            return RankLostError(f"{word} (the training ended on all {self.count} ranks)")
        return RankLostError(
            f"another of the {self.count} ranks has ended or cannot be reached ({first_line(error)}): "
            "see what the launcher says of it, then go on with --resume"
        )

    def last_words(self) -> str:
        """What a rank that failed has left for the others; empty where there is nothing, or nobody who would know."""
        with contextlib.suppress(Exception):
            store = distributed.distributed_c10d._get_default_store()
            until = time.monotonic() + WORDS_WAIT_S
            while time.monotonic() < until:
                if store.check([LAST_WORDS]):
                    return store.get(LAST_WORDS).decode("utf-8", "replace")
                time.sleep(0.05)
        return ""


def attempt(make: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return make(), None
    except RankLostError:
        raise
    except Exception as error:
        return None, error


def first_line(error: BaseException) -> str:
    """What torch says, without the place in its source that it begins with and the trace that may follow."""
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return line.rpartition("] ")[2][:200] if line.startswith("[") else line[:200]
