"""One training by several processes of this machine, started from the page: what `accelerate launch` does in a shell.

The run folder stays the contract. Whoever launches keeps the run's place until the first of the processes takes it up; from then on
they are a run like any other, which goes on when the app ends. What they print is kept beside it, in launch.log.
"""

import contextlib
import importlib.util
import os
import re
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from .config import Config
from .failures import STRANGERS
from .files import read_json, write_json
from .liveness import Process, process_alive, process_start, this_process
from .run_folder import KEEPER, LAUNCH, LAUNCH_LOG
from .run_queue import processes_of

PACKAGE_PARENT = Path(__file__).resolve().parent.parent
LOG_BYTES = 1 << 20  # a longer log is cut from its beginning ...
LOG_KEPT = 1 << 18  # ... to this
LAST_LINES, LINE_CHARACTERS = 3, 300
OWN_WORDS = "vidapp: "  # what the command line begins a refusal with
ERROR = re.compile(r"(\w+\.)*\w*(Error|Exception): \S")
LAUNCHERS_OWN = ("ChildFailedError", "CalledProcessError")  # they say that a process failed, not why


@dataclass(frozen=True)
class Launch:
    """The processes of a run that were started here, by this process or by one before it. `begun`: bytes of the log before them."""

    path: Path
    processes: int
    launcher: Process
    begun: int = 0

    @staticmethod
    def start(path: Path, processes: int, tokenizer: Path | None) -> "tuple[Launch, subprocess.Popen[bytes]]":
        """Start the training of the run folder `path`, which this process keeps open for it."""
        command = launch_command(path.name, processes, tokenizer)
        log = path / LAUNCH_LOG
        begun = log.stat().st_size if log.exists() else 0
        with log.open("ab", buffering=0) as file:
            file.write(f"$ {' '.join(command)}\n".encode())
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment(path.parent),
                start_new_session=True,  # neither Ctrl-C in the app's terminal nor the app's end reaches it
            )
        here = this_process()
        launcher = Process(here.host, here.boot, here.namespace, process.pid, process_start(process.pid))
        write_json(path / LAUNCH, {"processes": processes, "launcher": launcher.to_dict()})
        return Launch(path, processes, launcher, begun), process

    @staticmethod
    def known(path: Path) -> "Launch | None":
        """The launch that a run folder tells of, None where there was none; it may be over."""
        values = read_json(path / LAUNCH) or {}
        launcher = values.get("launcher")
        return Launch(path, processes_of(path), Process.from_dict(launcher)) if isinstance(launcher, dict) else None

    @property
    def alive(self) -> bool:
        """Whether it goes on; only of a launch on this machine since it was switched on."""
        return self.launcher.same_boot(this_process()) and process_alive(self.launcher)

    def shorten_log(self) -> None:
        """Keep the end of a log that has grown long. A line that is written meanwhile may be lost."""
        log = self.path / LAUNCH_LOG
        with contextlib.suppress(OSError):
            if log.stat().st_size <= LOG_BYTES:
                return
            with log.open("rb") as file:
                file.seek(-LOG_KEPT, os.SEEK_END)
                kept = file.read().partition(b"\n")[2]
            os.truncate(log, 0)  # the processes append: they go on at the new end
            with log.open("ab") as file:
                file.write(kept)

    def last_words(self, code: int | None) -> str:
        """Why the processes ended before one of them took the run up, as a sentence."""
        how = "" if code is None else f" (exit code {code})"
        said = last_words(read_from(self.path / LAUNCH_LOG, self.begun)) or "they said nothing"
        return (
            f"the {self.processes} processes ended before the training began{how}: {said}; all of it is in {LAUNCH_LOG} in the run's folder"
        )


def refuse_processes(config: Config, processes: int) -> None:
    """ValueError where a run cannot be trained by so many processes."""
    if processes < 2:
        raise ValueError("this machine has no second GPU: start the run on the one there is")
    if config.recipe.batch_size % processes:
        raise ValueError(
            f"recipe.batch_size {config.recipe.batch_size} does not divide by {processes} processes: use a multiple of {processes}"
        )
    if importlib.util.find_spec("accelerate") is None:
        raise ValueError("training on several GPUs needs accelerate: pip install accelerate")


def launch_command(name: str, processes: int, tokenizer: Path | None) -> list[str]:
    """The command that takes up the run of that name with a process for each GPU."""
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1", "--mixed_precision", "no"]
    own = ["-m", "vidapp", "train", "--run", name, "--resume", *(["--tokenizer", str(tokenizer)] if tokenizer else [])]
    ports = ["--dynamo_backend", "no", "--main_process_port", str(free_port())]
    return [*launcher, *ports, "--num_processes", str(processes), *own]


def environment(runs: Path) -> dict[str, str]:
    """For the processes: where the runs and this package are, who keeps the run's place, and that a page shows what they say."""
    search = os.pathsep.join([str(PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"VIDAPP_RUNS": str(runs), KEEPER: str(os.getpid()), STRANGERS: "1", "PYTHONPATH": search}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def read_from(log: Path, offset: int) -> str:
    """The log after `offset`, its last part where that is long."""
    try:
        size = log.stat().st_size
        with log.open("rb") as file:
            file.seek(max(min(offset, size), size - LOG_KEPT))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def last_words(text: str) -> str:
    """Of what processes printed, the part that says why they ended: our own sentence, else an error, else the last lines."""
    lines = [line.rpartition("\r")[2].strip() for line in text.splitlines() if line.strip() and not line.startswith("$ ")]
    own = [line.removeprefix(OWN_WORDS) for line in lines if line.startswith(OWN_WORDS)]
    errors = [line for line in lines if ERROR.match(line) and not any(name in line for name in LAUNCHERS_OWN)]
    chosen = own[:1] or errors[-1:] or lines[-LAST_LINES:]
    return " / ".join(line[:LINE_CHARACTERS] for line in chosen)


def wait(process: "subprocess.Popen[bytes] | None", launch: Launch, pause_s: float) -> int | None:
    """Wait until a launch is over, keeping its log short; its exit code where it is a child of ours (`process`, else None)."""
    while process is None and launch.alive:
        time.sleep(pause_s)
        launch.shorten_log()
    while process is not None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return int(process.wait(pause_s))
        launch.shorten_log()
    return None
