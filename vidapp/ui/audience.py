"""What open pages cost a training of the same process: its step with and without them, in windows that take turns within one run."""

import contextlib
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..bench.effort import Effort, typical
from ..config import Config
from ..feed import cores
from ..run_writer import RunWriter

PAGES = 10
PAIRS = 6  # of windows
LEAST_STEPS = 4  # of a window; the first is partly the window before
LOOK_S = 0.05
SHARE_OF_EFFORT = 0.4  # that one window takes
ALLOWED = 0.02
RUN = "watched"
PACKAGE_PARENT = Path(__file__).resolve().parents[2]
Figures = dict[str, float]


@dataclass(frozen=True)
class Step:
    """When a training step ended, and what had been computed by then beside the training's thread: seconds."""

    at: float
    beside: float


@dataclass(frozen=True)
class Window:
    """Seconds of a step, the median, and how many processors were kept busy beside the training."""

    step: float
    beside: float


class Training(threading.Thread):
    """A training as the app runs it, in a thread, with its steps timed."""

    def __init__(self, config: Config, run: RunWriter) -> None:
        super().__init__(daemon=True)
        self.config, self.run_folder = config, run
        self.steps: list[Step] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        from ..train import train

        try:
            for line in train(self.config, self.run_folder):
                if line["phase"] == "transformer" and "grad_norm" in line:
                    self.steps.append(Step(time.perf_counter(), time.process_time() - time.thread_time()))
        except BaseException as error:
            self.error = error

    def window(self, seconds: float) -> "Window":
        """Let it train for a while, and measure that."""
        begun, first = time.perf_counter(), len(self.steps)
        while time.perf_counter() - begun < seconds or len(self.steps) < first + LEAST_STEPS:
            if not self.is_alive():
                raise ValueError(f"the training that pages were to watch ended: {self.error}")
            time.sleep(LOOK_S)
        steps = self.steps[first:]
        walls = [after.at - before.at for before, after in itertools.pairwise(steps)]
        return Window(typical(walls), (steps[-1].beside - steps[0].beside) / (steps[-1].at - steps[0].at))


def measure(effort: Effort) -> Figures:
    """What ten open pages cost a training, of `debug` on two clips and one thread: the share of the processors that this process
    spends on them, and by how much they lengthen its step. Medians over pairs of windows, with the middle half of what the pairs gave.

    The share is what a training loses that keeps all processors busy. The length of a step also holds what the visitors themselves
    compute (here they live on the same machine), and whatever else goes on there.
    """
    endless = {"run.log_every": 1, "run.steps": 10**7, "recipe.batch_size": 2, "recipe.tokenizer_steps": 1, "run.threads": 1}
    rare = dict.fromkeys(("run.validate_every", "run.sample_every", "run.checkpoint_every"), 10**7)
    config = effort.config("debug").replace({**endless, **rare})
    seconds = effort.seconds * SHARE_OF_EFFORT
    with RunWriter.create(RUN, config) as run:
        training = Training(config, run)
        training.start()
        with visitors() as say:
            training.window(seconds)  # warms up
            pairs = []
            for _ in range(PAIRS):
                say("off")
                alone = training.window(seconds)
                say("on")
                training.window(seconds / 4)  # their first answers hold the whole history
                pairs.append((alone, training.window(seconds)))
        run.request_stop()
        training.join()
    lengths = [watched.step / alone.step for alone, watched in pairs]
    shares = [(watched.beside - alone.beside) / cores() for alone, watched in pairs]
    return {
        "pages": PAGES,
        "step_milliseconds": 1000 * typical([alone.step for alone, _ in pairs]),
        **spread("page_share_of_processor", shares),
        "page_share_allowed": ALLOWED,
        **spread("step_with_pages_over_without", lengths),
    }


def spread(name: str, values: list[float]) -> Figures:
    """The median, and the middle half."""
    ordered = sorted(values)
    return {name: typical(values), f"{name}_low": ordered[len(ordered) // 4], f"{name}_high": ordered[-1 - len(ordered) // 4]}


@contextlib.contextmanager
def visitors() -> Iterator[Callable[[str], None]]:
    """A page with what every page asks for itself, and ten that look at it; yields what tells them `on` and `off`."""
    import gradio as gr

    from .live import live_view
    from .strip import strip

    with gr.Blocks(analytics_enabled=False) as page:
        glance, watch = strip(), live_view({"run": RUN})
    page.queue(max_size=64)
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False, enable_monitoring=False, server_name="127.0.0.1")
    command = [sys.executable, "-m", "vidapp.ui.visitors", url.rstrip("/").rpartition(":")[2], RUN, str(PAGES)]
    process = subprocess.Popen(
        [*command, str(watch._id), str(glance._id)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PACKAGE_PARENT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdout.readline()

        def say(word: str) -> None:
            assert process.stdin is not None
            process.stdin.write(f"{word}\n")
            process.stdin.flush()

        yield say
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
        page.close(verbose=False)
