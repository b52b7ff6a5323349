"""Examinations: checks and evaluations in a process of their own, one at a time for the whole app, their reports kept for a while.

A process of its own, because a check trains small models, which would draw from the process-wide generator of a training in this
one. It writes lines of JSON into a file (`--json-lines`); whoever looks reads on from there. The page holds a key and nothing else.
"""

import atexit
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import Config
from ..failures import STRANGERS
from .pictures import file_uri

PACKAGE_PARENT = Path(__file__).resolve().parents[2]
HELD = 40  # reports
LIMIT_S = 1200.0  # of one examination, noticed when somebody looks
NICENESS = 2  # a training beside it goes first, and still it comes to its end
PICTURE_BYTES = 4 << 20
MOST_POINTS = 80  # of a small curve
CONFIG, OUT, ERRORS, STRIP = "config.json", "out.jsonl", "errors.txt", "strip.png"
RUNNING, DONE, STOPPED, FAILED = "running", "done", "stopped", "failed"


@dataclass(frozen=True)
class Order:
    """What is to be found out. key: the same for the same question about the same thing. command: arguments after `python -m vidapp`, in
    which `{folder}` stands for the temporary folder that holds config.json."""

    key: str
    title: str
    config: Config
    command: tuple[str, ...]


@dataclass
class Report:
    """What is known so far. `serial` grows whenever anything but the progress changes."""

    order: Order
    state: str = RUNNING
    share: float = 0.0
    what: str = "getting ready"
    notes: list[str] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    alarms: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)
    picture: str = ""
    error: str = ""
    begun: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    serial: int = 1

    def take(self, line: Mapping[str, Any]) -> None:
        """A line of `--json-lines`."""
        if "progress" in line:
            self.share, self.what = float(line["progress"]), str(line.get("what", ""))
            return
        for name, found in (("note", self.notes), ("check", self.checks), ("alarm", self.alarms)):
            if name in line:
                found.append(line[name])
        if isinstance(line.get("result"), dict):
            self.result = line["result"]
        self.serial += 1

    @property
    def diagnosis(self) -> dict[str, Any]:
        return self.result.get("diagnosis") or {}

    @property
    def lost(self) -> dict[str, Any]:
        """Where it is lost: of an evaluation, or of one that was part of a diagnosis."""
        return self.result.get("lost") or self.diagnosis.get("lost") or {}

    @property
    def change(self) -> dict[str, Any]:
        """The setting that is suggested; empty where none is."""
        return self.diagnosis.get("change") or {}

    @property
    def seconds_so_far(self) -> float:
        return self.seconds or time.monotonic() - self.begun

    @property
    def seconds_ago(self) -> float:
        """Since it came to its end; 0 while it runs."""
        return max(0.0, time.monotonic() - self.begun - self.seconds) if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """For the page: bounded, and JSON-able."""
        return {
            "key": self.order.key,
            "serial": self.serial,
            "title": self.order.title,
            "state": self.state,
            "share": self.share,
            "what": self.what,
            "seconds": round(self.seconds_so_far),
            "ago": round(self.seconds_ago),
            "notes": self.notes[:5],
            "checks": [shown(check) for check in self.checks],
            "alarms": self.alarms,
            "diagnosis": self.diagnosis,
            "lost": self.lost,
            "left_out": self.result.get("left_out") or [],
            "picture": self.picture,
            "error": self.error,
            "change": self.change,
        }


def shown(check: Mapping[str, Any]) -> dict[str, Any]:
    """A check as the page shows it: without its many details, the curve thinned."""
    curve = check.get("curve") or []
    step = max(1, -(-len(curve) // MOST_POINTS))
    names = list(check.get("names") or [])[:12]
    return {**{name: value for name, value in check.items() if name != "details"}, "curve": curve[::step], "names": names}


class Process:
    """A command in a process of its own and in a temporary folder of its own."""

    def __init__(self, order: Order) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="vidapp-check-"))
        self.offset = 0
        try:
            self.process = self.begin(order)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, self.process.pid, NICENESS)

    def begin(self, order: Order) -> "subprocess.Popen[bytes]":
        (self.folder / CONFIG).write_text(order.config.to_json(), encoding="utf-8")
        command = [sys.executable, "-P", "-m", "vidapp", *(part.replace("{folder}", str(self.folder)) for part in order.command)]
        path = os.pathsep.join(filter(None, [str(PACKAGE_PARENT), os.environ.get("PYTHONPATH", "")]))
        with open(self.folder / OUT, "wb") as out, open(self.folder / ERRORS, "wb") as errors:
            around = {**os.environ, "PYTHONPATH": path, STRANGERS: "1"}
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=around, start_new_session=True)

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return self.process.poll()

    def lines(self) -> Iterator[dict[str, Any]]:
        """What has been written since the last time, whole lines only."""
        with open(self.folder / OUT, "rb") as file:
            file.seek(self.offset)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self.offset += len(whole)
        for text in whole.splitlines():
            with contextlib.suppress(ValueError):
                line = json.loads(text)
                if isinstance(line, dict):
                    yield line

    def complaint(self) -> str:
        """The last line that it left on stderr, without the program's name."""
        text = (self.folder / ERRORS).read_text(encoding="utf-8", errors="replace")
        last = next((line for line in reversed(text.splitlines()) if line.strip()), "")
        return last.rpartition("vidapp: ")[2].strip()

    def picture(self) -> str:
        path = self.folder / STRIP
        if not path.is_file() or path.stat().st_size > PICTURE_BYTES:
            return ""
        return file_uri(path.read_bytes())

    def kill(self) -> None:
        if self.code is None:
            with contextlib.suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL) if hasattr(os, "killpg") else self.process.kill()
            self.process.wait()

    def clear(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Examiner:
    """Starts, follows and ends examinations, and keeps their reports by key."""

    def __init__(self, held: int = HELD, limit_s: float = LIMIT_S) -> None:
        self.held, self.limit_s = held, limit_s
        self.lock = threading.RLock()
        self.reports: OrderedDict[str, Report] = OrderedDict()
        self.process: Process | None = None
        self.report: Report | None = None

    def start(self, order: Order, *, again: bool = True) -> Report:
        """Begin, in place of whatever runs. Without `again` a report that is kept, or on its way, is as good, and nobody else's is ended:
        ValueError where another examination runs."""
        with self.lock:
            self.follow()
            kept = self.reports.get(order.key)
            if not again and kept and kept.state in (RUNNING, DONE):
                return kept
            if not again and self.process:
                raise ValueError("another examination is running: try again in a moment")
            self.end(STOPPED, "Stopped: something else was asked for.")
            self.process = Process(order)  # first: where it cannot be, no report may say that it runs
            self.report = self.reports[order.key] = Report(order)
            self.reports.move_to_end(order.key)
            while len(self.reports) > self.held:
                self.reports.popitem(last=False)
            return self.report

    def look(self, key: str = "") -> Report | None:
        """The report of that key as it stands; the newest for an empty key, None where there is none (any more)."""
        with self.lock:
            self.follow()
            newest = next(reversed(self.reports.values()), None)
            return self.reports.get(key) if key else newest

    def stop(self) -> bool:
        """End what runs; False where nothing does."""
        with self.lock:
            self.follow()
            running = self.process is not None
            self.end(STOPPED, "Stopped. What was found until then is shown.")
            return running

    def follow(self) -> None:
        """Read on, and notice the end; of what takes too long, make one."""
        if self.process is None or self.report is None:
            return
        code = self.process.code  # before the file is read: nothing comes after it
        for line in self.process.lines():
            self.report.take(line)
        if code is None:
            if self.report.seconds_so_far > self.limit_s:
                self.end(STOPPED, f"It took longer than {self.limit_s / 60:.0f} minutes and was ended. What was found until then is shown.")
            return
        if code in (0, 1) and self.report.result:
            self.report.picture = self.process.picture()
            self.end(DONE)
        else:
            self.end(FAILED, self.process.complaint() or f"The examination ended without a word (exit code {code}).")

    def end(self, state: str, error: str = "") -> None:
        if self.process is None or self.report is None:
            return
        report, self.report = self.report, None
        report.state, report.error, report.seconds = state, error, max(0.1, report.seconds_so_far)
        report.serial += 1
        process, self.process = self.process, None
        process.clear()


EXAMINER = Examiner()
atexit.register(EXAMINER.stop)
