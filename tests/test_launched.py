"""One training by several processes: the same as by one, written by the first alone, and over when one of them is."""

import contextlib
import io
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny
from tiny_checkpoint import write_tiny_checkpoint
from trainings import curve, left_behind, train_to_end

from vidapp import launched as launched_module
from vidapp import muon
from vidapp.batches import draw_masks
from vidapp.checkpoint import load_checkpoint
from vidapp.cli import main
from vidapp.config import Config
from vidapp.failures import RankLostError
from vidapp.preflight import of_a_rank
from vidapp.ranks import split
from vidapp.run_reader import RunReader
from vidapp.transformer_phase import TransformerPhase

ROOT = Path(__file__).parents[1]
FORKS = multiprocessing.get_context("forkserver")
PATIENCE_S = 240.0  # for a busy machine

# Everything in which a rank could decide alone, and no dropout, whose draws differ between ranks.
SHARED = tiny(
    recipe__optimizer="muon",
    recipe__own_past=0.5,
    recipe__random_context=True,
    recipe__context_corruption=0.1,
    recipe__micro_batches=2,
    recipe__gradient_clip=0.1,
    recipe__brightness=0.2,
    recipe__learning_rate=1e-3,
    recipe__batch_size=6,
    tokenizer__quantizer="vq",
    run__keep_best=True,
)


@pytest.fixture(scope="module")
def forks() -> ForkServerContext:
    """Processes forked from one that has torch and accelerate in memory already."""
    FORKS.set_forkserver_preload(["vidapp.launched", "vidapp.train", "accelerate", "trainings"])
    first = FORKS.Process(target=time.monotonic)
    first.start()
    first.join()
    return FORKS


def as_rank(rank: int, count: int, port: int, runs: Path, arguments: list[str], prepare: Callable[[int], None]) -> None:
    """What a launcher does for each process; ends with the command's exit code, its words in a file."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ |= {name: str(number) for name, number in numbers.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "VIDAPP_RUNS": str(runs), "VIDAPP_DATA": str(runs.parent / "data")}
    from vidapp.cli import main

    prepare(rank)
    words = io.StringIO()
    with contextlib.redirect_stderr(words), contextlib.redirect_stdout(words):
        code = main(["train", *arguments])
    runs.mkdir(exist_ok=True)
    (runs.parent / f"rank-{rank}.txt").write_text(words.getvalue())
    os._exit(code)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def unprepared(rank: int) -> None:
    pass


def unrounded(rank: int) -> None:
    """What Muon makes of a last bit when it rounds to bf16 is half a percent, which would hide a real difference."""
    muon.ROUNDED_TO = torch.float32


def start(
    forks: ForkServerContext, count: int, runs: Path, arguments: list[str], prepare: Callable[[int], None] = unprepared
) -> list[ForkServerProcess]:
    """Processes that train; `prepare` is called in each with its rank before."""
    port = free_port()
    processes = [forks.Process(target=as_rank, args=(rank, count, port, runs, arguments, prepare)) for rank in range(count)]
    for process in processes:
        process.start()
    return processes


def codes(processes: list[ForkServerProcess]) -> list[int | None]:
    """Exit codes, once all have ended."""
    until = time.monotonic() + PATIENCE_S
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
        if process.is_alive():
            process.kill()
    return [process.exitcode for process in processes]


def written(config: Config, folder: Path, name: str = "config.json") -> list[str]:
    (folder / name).write_text(config.to_json())
    return ["--config", str(folder / name)]


def words(folder: Path, rank: int) -> str:
    return (folder / f"rank-{rank}.txt").read_text()


def close(one: Any, other: Any) -> bool:
    if isinstance(one, dict):  # figures of layers
        return one.keys() == other.keys() and all(close(one[name], other[name]) for name in one)
    return bool(one == other or (isinstance(one, float) and one == pytest.approx(other, rel=1e-3, abs=1e-5)))


@pytest.fixture(scope="module")
def pair(forks: ForkServerContext, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run `two`, trained by two processes, and `one`, by this one."""
    folder = tmp_path_factory.mktemp("pair")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(muon, "ROUNDED_TO", torch.float32)
        train_to_end("one", SHARED, folder / "runs")
    both = start(forks, 2, folder / "runs", [*written(SHARED, folder), "--run", "two"], unrounded)
    assert codes(both) == [0, 0], words(folder, 0)
    return folder


def test_two_processes_learn_what_one_learns(pair: Path) -> None:
    ones, twos = curve(pair / "runs" / "one"), curve(pair / "runs" / "two")
    assert [line.keys() for line in ones] == [line.keys() for line in twos]
    for one, two in zip(ones, twos, strict=True):
        assert all(close(one[key], two[key]) for key in one), (one, two)
    one, two = (left_behind(pair / "runs" / name, 6) for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        assert (one[name].double() - two[name].double()).abs().max() < 2e-3, name


def test_their_shares_of_the_masks_differ(pair: Path) -> None:
    counts = []
    for step in range(SHARED.run.steps):
        masks = draw_masks(SHARED, step, range(6))
        counts.append([sum(int(masks[sample].mask_THW.sum()) for sample in part) for part in split(range(6), 2)])
    assert all(first != second for first, second in counts)


def test_the_first_alone_writes_and_speaks(pair: Path) -> None:
    reader = RunReader(pair / "runs" / "two")
    assert reader.status().state == "finished"
    assert [line["attempt"] for line in reader.metrics()[0]] == [1] * len(reader.metrics()[0])
    assert sorted(path.name for path in (pair / "runs").iterdir()) == ["one", "two"]
    assert "2 processes, each: " in words(pair, 0)
    assert "finished at step 6 of 6" in words(pair, 0)
    assert words(pair, 1) == ""


def test_a_resume_by_another_number_of_processes_says_so(pair: Path) -> None:
    longer = SHARED.replace({"run.steps": 7})
    train_to_end("two", longer, pair / "runs", resume=True)
    status = RunReader(pair / "runs" / "two").status()
    assert status.sentence == "finished at step 7 of 7"
    assert "ranks 2 then, 1 now" in " ".join(status.extra["notices"])


def test_a_run_begun_by_one_is_taken_up_by_two(forks: ForkServerContext, tmp_path: Path) -> None:
    config = SHARED.replace({"run.steps": 3})
    train_to_end("a", config, tmp_path / "runs")
    assert codes(start(forks, 2, tmp_path / "runs", ["--run", "a", "--resume", "--steps", "5"])) == [0, 0], words(tmp_path, 0)
    status = RunReader(tmp_path / "runs" / "a").status()
    assert (status.sentence, status.attempt) == ("finished at step 5 of 5", 2)
    assert "ranks 1 then, 2 now" in " ".join(status.extra["notices"])


def test_a_batch_that_does_not_divide_is_refused_with_both_numbers(forks: ForkServerContext, tmp_path: Path) -> None:
    arguments = [*written(tiny(recipe__batch_size=3), tmp_path), "--run", "a"]
    assert set(codes(start(forks, 2, tmp_path / "runs", arguments))) == {1, 2}
    assert "recipe.batch_size 3 does not divide by the 2 processes" in words(tmp_path, 0)
    assert words(tmp_path, 1) == ""
    assert not (tmp_path / "runs" / "a").exists()


def without_data(rank: int) -> None:
    """A machine whose folder for data cannot be used."""
    if rank == 1:
        os.environ["VIDAPP_DATA"] = "/dev/null/below"


def test_what_one_rank_lacks_is_said_by_the_first_before_anything_is_written(forks: ForkServerContext, tmp_path: Path) -> None:
    np.save(tmp_path / "clips.npy", np.zeros((3, 6, 32, 32), np.uint8))
    arguments = [*written(tiny(data__source=str(tmp_path / "clips.npy")), tmp_path), "--run", "a"]
    assert set(codes(start(forks, 2, tmp_path / "runs", arguments, without_data))) == {1, 2}
    assert words(tmp_path, 0).startswith("vidapp: rank 1: the data folder")
    assert words(tmp_path, 1) == ""
    assert not (tmp_path / "runs" / "a").exists()


def out_of_memory_at_step_3(rank: int) -> None:
    train_step = TransformerPhase.train_step

    def or_fail(self: TransformerPhase, step: int, measure: bool) -> dict[str, float]:
        if rank == 1 and step == 2:
            raise MemoryError
        return train_step(self, step, measure)

    TransformerPhase.train_step = or_fail  # type: ignore[method-assign]


def test_a_rank_that_fails_ends_the_training_and_the_status_says_why(forks: ForkServerContext, tmp_path: Path) -> None:
    found = codes(start(forks, 2, tmp_path / "runs", [*written(tiny(), tmp_path), "--run", "a"], out_of_memory_at_step_3))
    assert 0 not in found
    status = RunReader(tmp_path / "runs" / "a").status()
    assert (status.state, status.step) == ("failed", 2)
    assert "rank 1: out of memory on this machine: lower recipe.batch_size" in str(status.error)
    assert "rank 1: out of memory" in words(tmp_path, 0)


def no_number_at_step_3(rank: int) -> None:
    backward = TransformerPhase.backward

    def spoilt(self: TransformerPhase, step: int, *arguments: Any) -> Any:
        if rank == 1 and step == 2 and self.config.run.on_nonfinite == "stop":
            self.model.final_norm.register_forward_hook(lambda module, given, output: output * float("nan"))
        loss, figures = backward(self, step, *arguments)
        return (loss * float("nan") if rank == 1 and step == 2 else loss), figures

    TransformerPhase.backward = spoilt  # type: ignore[method-assign]


def test_where_the_first_is_killed_the_others_end_too_and_the_run_reads_interrupted(forks: ForkServerContext, tmp_path: Path) -> None:
    processes, reader = started(forks, tmp_path)
    processes[0].kill()
    found = codes(processes)
    assert found == [-signal.SIGKILL, 1]
    assert reader.status().state == "interrupted"
    assert words(tmp_path, 1) == ""


def test_every_rank_on_a_gpu_computes_as_exactly_as_one_that_trains_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = object.__new__(launched_module.ManyRanks)
    ranks.count, ranks.own = 2, torch.device("cuda:1")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    forbidden: list[bool] = []
    monkeypatch.setattr(torch.backends.cuda, "enable_cudnn_sdp", forbidden.append)
    ranks.use(tiny(run__device="auto"))
    assert torch.backends.cudnn.allow_tf32 is False
    assert forbidden == [False]


def test_a_rank_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Work:
        def is_completed(self) -> bool:
            return False

    ranks = object.__new__(launched_module.ManyRanks)
    ranks.count = 2
    monkeypatch.setattr(launched_module, "PATIENCE_S", 0.05)
    monkeypatch.setattr(launched_module, "WORDS_WAIT_S", 0.0)
    with pytest.raises(RankLostError, match=r"another of the 2 ranks has ended or cannot be reached \(no answer for 0 s\)"):
        ranks.wait_for(Work())


def test_a_given_tokenizer_and_given_weights_reach_all(forks: ForkServerContext, tmp_path: Path) -> None:
    config = tiny(run__steps=2, recipe__learning_rate=1e-9, recipe__weight_decay=0.0)
    given = write_tiny_checkpoint(tmp_path / "given.safetensors", config)
    arguments = [*written(config, tmp_path), "--run", "a", "--tokenizer", str(given), "--init", str(given)]
    assert codes(start(forks, 2, tmp_path / "runs", arguments)) == [0, 0], words(tmp_path, 0)
    reader = RunReader(tmp_path / "runs" / "a")
    assert {line["phase"] for line in reader.metrics()[0]} == {"transformer"}
    before, after = load_checkpoint(given), load_checkpoint(reader.checkpoints()[0][1])
    for name, weight in before.transformer.state_dict().items():
        assert torch.allclose(weight, after.transformer.state_dict()[name], atol=1e-3), name


@pytest.mark.parametrize("policy", ["skip", "stop"])
def test_a_loss_that_is_no_number_on_one_rank_is_handled_by_all(policy: str, forks: ForkServerContext, tmp_path: Path) -> None:
    arguments = [*written(tiny(run__on_nonfinite=policy), tmp_path), "--run", "a"]
    found = codes(start(forks, 2, tmp_path / "runs", arguments, no_number_at_step_3))
    status = RunReader(tmp_path / "runs" / "a").status()
    if policy == "skip":
        assert (found, status.state) == ([0, 0], "finished")
        assert "the loss of step 3 is not finite: that step was skipped" in " ".join(status.extra["notices"])
    else:
        assert (0 not in found, status.state) == (True, "failed")
        assert "the loss of step 3 is not finite (first in the output of final_norm), so the weights were left as they" in str(status.error)
    assert words(tmp_path, 1) == ""


ENDLESS = tiny(run__steps=10**6, run__log_every=20, run__validate_every=10**6, run__sample_every=10**6, run__checkpoint_every=10**6)


def started(forks: ForkServerContext, folder: Path) -> tuple[list[ForkServerProcess], RunReader]:
    """An endless training by two processes, in its second phase."""
    processes = start(forks, 2, folder / "runs", [*written(ENDLESS, folder), "--run", "a"])
    return processes, until_step(folder / "runs" / "a", 2, lambda: all(process.is_alive() for process in processes))


def test_the_page_steers_all_of_them(forks: ForkServerContext, tmp_path: Path) -> None:
    processes, reader = started(forks, tmp_path)
    reader.send("pause")
    waited_for(lambda: reader.status().state == "paused")
    reader.send("stop")
    assert codes(processes) == [0, 0]
    status = reader.status()
    assert status.state == "stopped"
    assert reader.checkpoints()[0][0] == status.step


def test_the_signals_that_a_launcher_passes_on_stop_all_after_a_step(forks: ForkServerContext, tmp_path: Path) -> None:
    processes, reader = started(forks, tmp_path)
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):  # from the shell, from the launcher, and once more
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process.pid or 0), number)
    assert codes(processes) == [128 + signal.SIGINT, 0]
    assert reader.status().state == "stopped"
    assert reader.checkpoints()[0][0] == reader.status().step


def test_a_launcher_that_starts_one_process_in_place_of_several_is_told_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`accelerate launch --cpu --num_processes 2` leaves nothing but these behind."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    assert main(["train", *written(tiny(run__steps=1), tmp_path), "--run", "a"]) == 0
    assert "note: accelerate has started one process only: on a CPU it starts several with --multi_gpu" in capsys.readouterr().err


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """An endless training by two processes of `accelerate launch` itself."""
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        "--main_process_port",
        str(free_port()),
    ]
    process = subprocess.Popen(
        [*command, "-m", "vidapp", "train", *written(ENDLESS, tmp_path), "--run", "a"],
        cwd=ROOT,
        env=os.environ | {"VIDAPP_RUNS": str(tmp_path / "runs")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    yield process
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def waited_for(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(f"still not so after {PATIENCE_S} s")
        time.sleep(0.1)


def until_step(run: Path, step: int, lives: Callable[[], bool]) -> RunReader:
    """The run, once its second phase is at `step`."""

    def is_there() -> bool:
        assert lives(), "it ended before"
        if not run.is_dir():
            return False
        status = RunReader(run).status()
        return status.step >= step and status.extra.get("phase") == "transformer"

    waited_for(is_there)
    return RunReader(run)


def followers(process: subprocess.Popen[str], first: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(process.pid).children() if child.pid != first]


def test_accelerate_launches_it_and_a_rank_that_is_killed_ends_it_with_a_word(launched: subprocess.Popen[str], tmp_path: Path) -> None:
    reader = until_step(tmp_path / "runs" / "a", 40, lambda: launched.poll() is None)
    (other,) = followers(launched, reader.status().pid)
    os.kill(other, signal.SIGKILL)
    said, _ = launched.communicate(timeout=PATIENCE_S)
    assert launched.returncode != 0
    status = reader.status()
    assert status.state == "failed", said
    assert "another of the 2 ranks has ended" in str(status.error)
    assert "--resume" in str(status.error)


def test_the_share_of_a_rank_keeps_within_its_micro_batches() -> None:
    config = tiny(recipe__batch_size=12, recipe__micro_batches=4)
    assert [(of_a_rank(config, count).recipe.batch_size, of_a_rank(config, count).recipe.micro_batches) for count in (1, 2, 6)] == [
        (12, 4),
        (6, 3),
        (2, 2),
    ]
