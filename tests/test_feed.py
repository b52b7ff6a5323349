"""What the host makes of a step: the same, whoever makes it."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import tiny, tiny_tokenizer

from vidapp import feed as feed_module
from vidapp.config import Config
from vidapp.data.source import open_source
from vidapp.feed import Failure, Feed, Made, Steps, cores, made, workers_for
from vidapp.transformer_phase import TransformerPhase

CONFIG = tiny(recipe__context_corruption=0.5, recipe__micro_batches=2, recipe__curriculum="2,4")
PARTS = [range(2), range(2, 4)]


def phase_of(config: Config) -> TransformerPhase:
    return TransformerPhase(config, open_source(config.data), tiny_tokenizer(config), torch.device("cpu"), "float32")


def assert_same(one: Made, other: Made) -> None:
    assert one.step == other.step
    assert [mask.objective for mask in one.masks] == [mask.objective for mask in other.masks]
    assert all(np.array_equal(a.mask_THW, b.mask_THW) for a, b in zip(one.masks, other.masks, strict=True))
    assert len(one.parts) == len(other.parts)
    for (clips, drawn), (clips_too, drawn_too) in zip(one.parts, other.parts, strict=True):
        assert torch.equal(clips, clips_too)
        assert drawn is not None
        assert drawn_too is not None
        assert all(map(torch.equal, drawn, drawn_too))


def test_workers_make_the_steps_that_are_made_here_in_a_row_and_out_of_it() -> None:
    source = open_source(CONFIG.data)
    with Feed(CONFIG, PARTS, workers=1) as feed:
        for step in (2, 3):
            assert_same(feed.get(step), made(CONFIG, source, step, PARTS))
        for step in (0, CONFIG.run.steps + 5):
            assert_same(feed.get(step), replace(made(CONFIG, source, step, PARTS), parts=[]))
        assert_same(feed.get(4), made(CONFIG, source, 4, PARTS))


def test_what_a_worker_cannot_read_is_said_in_one_sentence(tmp_path: object) -> None:
    config = CONFIG.replace({"data.source": str(tmp_path)})
    with Feed(config, PARTS, workers=1) as feed, pytest.raises(ValueError, match="^[^\\n]*$"):
        feed.get(0)


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="Windows has no groups of processes to send a signal to")
def test_a_signal_to_the_whole_group_leaves_the_workers_at_work() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with Feed(CONFIG, PARTS, workers=1) as feed:
        feed.row, feed.next = feed.begin(0), 0
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before  # we ourselves hear all
        (worker,) = multiprocessing.active_children()
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(worker.pid, number)  # while it is still importing
        feed.get(0)
        os.kill(worker.pid, signal.SIGTERM)
        feed.get(1)
    assert not worker.is_alive()


def test_a_worker_that_the_system_ends_is_said_in_one_sentence() -> None:
    with Feed(CONFIG, PARTS, workers=1) as feed:
        feed.get(0)
        (worker,) = multiprocessing.active_children()
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(ValueError, match=r"^[^\n]*was ended[^\n]*shm-size=2g[^\n]*$"):
            for step in range(1, CONFIG.run.steps):  # some are made already
                feed.get(step)


@pytest.mark.parametrize("error", [ConnectionResetError(104, "Connection reset by peer"), EOFError()])
def test_a_worker_that_is_ended_while_it_hands_a_step_over_is_said_too(error: Exception) -> None:
    def row() -> Iterator[Failure]:
        raise error
        yield

    with (
        pytest.raises(
            ValueError, match=r"^[^\n]*was ended \((\[Errno 104\] Connection reset by peer|EOFError)\): [^\n]*shm-size=2g[^\n]*$"
        ),
        Feed(CONFIG, PARTS, workers=1) as feed,
    ):
        feed.next_of(row())


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (OSError(5, "Input/output error", "clips.npy"), ValueError, "Input/output error: clips.npy"),
        (MemoryError("no room"), MemoryError, "out of memory on this machine: lower recipe.batch_size.*"),
        (KeyError("bug"), ValueError, "KeyError: 'bug'"),
    ],
)
def test_whatever_fails_in_a_worker_is_said_without_its_traceback(
    error: Exception, kind: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Made:
        raise error

    monkeypatch.setattr(feed_module, "made", fail)
    steps = Steps(CONFIG, PARTS)
    with Feed(CONFIG, PARTS, workers=1) as feed, pytest.raises(kind, match=f"^{said}$"):
        feed.row = iter([steps[0]])
        feed.get(0)


def test_a_step_is_the_same_whether_its_parts_were_made_ahead_or_are_made_now() -> None:
    def loss(made_ahead: bool) -> float:
        phase = phase_of(CONFIG)
        if made_ahead:
            phase.now = made(CONFIG, phase.source, 0, phase.parts)
        return float(phase.train_step(0, True)["loss"])

    assert loss(True) == loss(False)


def test_a_cpu_makes_its_steps_itself() -> None:
    assert workers_for(torch.device("cpu"), 1) == 0
    assert 0 <= workers_for(torch.device("cuda"), 8) <= workers_for(torch.device("cuda"), 1) <= cores() // 2
