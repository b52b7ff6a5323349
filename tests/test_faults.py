"""Trainings that are killed without warning, at any moment, end with the very weights of one that was left in peace."""

import multiprocessing
import time
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import numpy as np
import pytest
from trainings import EVERYTHING, curve, differing, left_behind, train_to_end

from vidapp.config import Config
from vidapp.run_folder import CONFIG
from vidapp.run_reader import RunReader

KILLS = 20
FORKS = multiprocessing.get_context("forkserver")


@pytest.fixture(scope="module")
def forks() -> ForkServerContext:
    """Processes forked from one that has torch in memory already: each starts within milliseconds."""
    FORKS.set_forkserver_preload(["vidapp.train", "trainings"])
    first = FORKS.Process(target=time.monotonic)  # waits until the parent of all others is ready
    first.start()
    first.join()
    return FORKS


def train_in_a_process(forks: ForkServerContext, name: str, config: Config, folder: Path) -> ForkServerProcess:
    """Start the training of a run, or go on with it where its folder is there."""
    process = forks.Process(target=train_to_end, args=(name, config, folder, (folder / name / CONFIG).exists()))
    process.start()
    return process


def killed(process: ForkServerProcess, delay_s: float) -> bool:
    """SIGKILL after `delay_s`; False where the training came to its end before."""
    process.join(delay_s)
    process.kill()
    process.join()
    assert process.exitcode in (0, -9), f"the training ended by itself with exit code {process.exitcode}"
    return process.exitcode == -9


def test_twenty_kills_at_random_moments_leave_no_trace(forks: ForkServerContext, tmp_path: Path) -> None:
    rng = np.random.default_rng()
    expected, lasts = {}, {}
    for kind, config in EVERYTHING.items():
        began = time.monotonic()
        train_in_a_process(forks, kind.replace(", ", "-"), config, tmp_path).join()
        path = tmp_path / kind.replace(", ", "-")
        expected[kind], lasts[kind] = (left_behind(path, config.run.steps), curve(path)), time.monotonic() - began

    moments: list[tuple[str, str, int]] = []
    runs = 0
    while len(moments) < KILLS:
        kind = list(EVERYTHING)[runs % len(EVERYTHING)]
        config, name, runs = EVERYTHING[kind], f"run-{runs}", runs + 1
        while killed(train_in_a_process(forks, name, config, tmp_path), rng.uniform(0.02, lasts[kind])):
            if (tmp_path / name / CONFIG).exists():  # else it had not even begun
                status = RunReader(tmp_path / name).status()
                assert status.state == "interrupted"
                moments.append((name, str(status.extra.get("phase")), status.step))
        weights, lines = expected[kind]
        assert not differing(left_behind(tmp_path / name, config.run.steps), weights), moments
        assert curve(tmp_path / name) == lines, moments
