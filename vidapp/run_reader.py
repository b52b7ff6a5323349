"""A run folder as seen by whoever watches and steers it: status, curves, files, commands. Writes nothing but control.json."""

import json
import os
import secrets
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from . import run_folder
from .config import Config
from .failures import told_to_strangers
from .files import finite, open_ordinary, parse_object, plain, read_json, resolve_inside, safe_name, write_json
from .liveness import run_alive
from .run_folder import COMMANDS, FINAL_STATES, LIVE_STATES, QUEUED, runs_folder

OPEN_HERE: set[Path] = set()  # folders that this process writes at the moment; kept by RunWriter
LATEST = 1e11  # unix seconds that a date can be told of
_LONGEST_LINE = 1 << 20  # bytes of metrics
_TAIL = 64  # bytes before a cursor that tell whether the file is still the one that was read


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """What is known of a run. `state`: queued, starting, running, paused, finished, stopped, failed or interrupted."""

    name: str
    state: str
    step: int = 0
    total: int = 0
    error: str | None = None
    attempt: int = 0
    created: float = 0.0  # unix seconds
    heartbeat: float = 0.0  # unix seconds, by the clock of the host that trains
    host: str = ""
    pid: int = 0
    extra: dict[str, Any] = field(default_factory=dict)  # whatever else the trainer says: phase, loss, notice, ...

    @property
    def live(self) -> bool:
        """Whether somebody trains it now (paused included)."""
        return self.state in LIVE_STATES

    @property
    def notices(self) -> list[str]:
        """What the trainer wanted a person to know, newest last."""
        found = self.extra.get("notices")
        return [str(notice) for notice in found] if isinstance(found, list) else []

    @property
    def sentence(self) -> str:
        """The state in words, e.g. `interrupted at step 120 of 1000`."""
        total = f" of {self.total}" if self.total else ""
        where = "" if self.state in (QUEUED, "starting", "finished") and not self.step else f" at step {self.step}{total}"
        return f"{self.state}{where}" + (f": {self.error}" if self.error else "")


class Cursor(NamedTuple):
    """How far a reader has come in metrics.jsonl; as text it is `attempt/offset/check`."""

    attempt: int = 0
    offset: int = 0  # bytes
    check: int = 0  # CRC-32 of the bytes just before the offset: another value means that the file was cut and grew again

    def __str__(self) -> str:
        return f"{self.attempt}/{self.offset}/{self.check}"

    @staticmethod
    def parse(text: str) -> "Cursor":
        """The cursor of a text; anything that is none means the beginning, since it may come from a browser."""
        parts = text.split("/") if isinstance(text, str) and len(text) <= 80 else []
        if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) <= 18 for part in parts):
            return Cursor()
        return Cursor(*map(int, parts))


class MetricsPart(NamedTuple):
    lines: list[dict[str, Any]]
    cursor: str
    restarted: bool  # the lines start over from the first: forget what came before
    size: int  # bytes of the lines
    more: bool  # the bound cut it short: there may be more lines


class RunReader:
    """Looks at the run folder `path`; ValueError where there is none. Cheap to make, holds nothing open."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).resolve()
        if not self.path.is_dir():
            where = "" if told_to_strangers() else f" in {self.path.parent}"
            raise ValueError(f"there is no run {self.path.name!r}{where}: `python -m vidapp runs` lists those there are")

    @property
    def name(self) -> str:
        return self.path.name

    def config(self) -> Config:
        """The run's config; ValueError where it has none or a damaged one."""
        values = read_json(self.path / run_folder.CONFIG)
        if values is None:
            raise ValueError(f"run {self.name!r} has no readable {run_folder.CONFIG}: it can be looked at but not resumed")
        try:
            return Config.from_dict(values)
        except ValueError as error:
            raise ValueError(f"the {run_folder.CONFIG} of run {self.name!r} does not fit this version: {error}") from error

    def status(self) -> RunStatus:
        """The run's status, where a state that nobody alive stands behind reads `interrupted`."""
        values = read_json(self.path / run_folder.STATUS) or {}
        state = values.get("state")
        if state == QUEUED:
            state = "stopped" if self._cancelled() else QUEUED
        elif state not in FINAL_STATES and not (state in LIVE_STATES and run_alive(self.path, values, own=self.path in OPEN_HERE)):
            state = "interrupted"
        known = ("state", "step", "total", "error", "attempt", "created", "heartbeat", "host", "pid")
        return RunStatus(
            name=self.name,
            state=state,
            step=whole_or_zero(values.get("step")) if values else self._last_step(),
            total=whole_or_zero(values.get("total")),
            error=str(values["error"]) if values.get("error") else None,
            attempt=whole_or_zero(values.get("attempt")),
            created=unix_time(values.get("created")),
            heartbeat=unix_time(values.get("heartbeat")),
            host=str(values.get("host", "")),
            pid=whole_or_zero(values.get("pid")),
            extra={key: value for key, value in values.items() if key not in known},
        )

    def metrics(self, cursor: str = "") -> tuple[list[dict[str, Any]], str]:
        """The lines after `cursor` ("" for all) and the cursor to come back with. A torn last line waits until it is whole."""
        part = self.read_metrics(cursor)
        return part.lines, part.cursor

    def read_metrics(self, cursor: str = "", *, most_bytes: int | None = None) -> MetricsPart:
        """As `metrics`, and says whether the lines start over (the file was cut, or `cursor` is none of this run's).

        `most_bytes` bounds the cost of one call: the rest comes with the next.
        """
        start = Cursor.parse(cursor)
        try:
            with open_ordinary(self.path / run_folder.METRICS) as file:
                before = b""
                if start.offset:
                    file.seek(max(0, start.offset - _TAIL))
                    before = file.read(min(_TAIL, start.offset))
                    if len(before) < min(_TAIL, start.offset) or zlib.crc32(before) != start.check:
                        start, before = Cursor(), b""
                        file.seek(0)
                content = file.read(-1 if most_bytes is None else most_bytes)
                if b"\n" not in content and len(content) == most_bytes:
                    content += file.readline(_LONGEST_LINE)  # a line longer than the bound: never stand still
        except OSError:
            start, before, content = Cursor(), b"", b""
        endless = most_bytes is not None and len(content) >= most_bytes + _LONGEST_LINE  # no line of metrics: passed over in parts
        whole = content if endless and b"\n" not in content else content[: content.rfind(b"\n") + 1]
        lines = parse_lines(whole)
        attempt = max([start.attempt, *(whole_or_zero(line.get("attempt")) for line in lines[-1:])])
        tail = (before + whole)[-_TAIL:]
        after = Cursor(attempt, start.offset + len(whole), zlib.crc32(tail))
        more = most_bytes is not None and len(content) >= most_bytes and bool(whole)
        return MetricsPart(lines, str(after), restarted=start.offset == 0, size=len(whole), more=more)

    def checkpoints(self) -> list[tuple[int, Path]]:
        """(step, path) of the checkpoints that can be sampled from, newest first."""
        steps = run_folder.checkpoint_steps(self.path)
        return [(step, run_folder.checkpoint_path(self.path, step)) for step in reversed(steps)]

    def samples(self) -> list[tuple[int, Path]]:
        """(step, path) of the sample files, newest first; those of the tokenizer phase come after all others."""
        try:
            paths = list((self.path / "samples").iterdir())
        except OSError:
            return []
        found = [(moment, path) for path in paths if (moment := run_folder.moment_of(path.name)) is not None]
        return [(step, path) for (_, step), path in sorted(found, reverse=True)]

    def send(self, command: str) -> None:
        """Leave a command for the trainer, wherever it runs: stop, pause, resume (after a pause), save or sample.

        A run that waits in the queue can be stopped: it is out of it at once.
        ValueError for an unknown command, or where nobody is there to follow it.
        """
        if command not in COMMANDS:
            raise ValueError(f"unknown command {command!r}: use one of {', '.join(COMMANDS)}")
        status = self.status()
        if not status.live and (status.state, command) != (QUEUED, "stop"):
            raise ValueError(f"run {self.name!r} is {status.sentence}: there is nothing to {command}")
        try:
            with run_folder.steering(self.path):
                control = read_json(self.path / run_folder.CONTROL) or {}
                write_json(self.path / run_folder.CONTROL, control | _change(command), even_full=True)
        except OSError as error:
            raise ValueError(f"cannot write {run_folder.CONTROL} of run {self.name!r}: {error.strerror or error}") from error

    def _cancelled(self) -> bool:
        return bool((read_json(self.path / run_folder.CONTROL) or {}).get("stop"))

    def _last_step(self) -> int:
        """By the end of the metrics alone: whoever lists runs asks for it, again and again."""
        try:
            with open_ordinary(self.path / run_folder.METRICS) as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST_LINE))
                lines = parse_lines(file.read(_LONGEST_LINE))
        except OSError:
            return 0
        return whole_or_zero(lines[-1].get("step")) if lines else 0


def open_run(name: str, folder: Path | None = None) -> RunReader:
    """The run of that name; ValueError where the name is unsafe or there is no such run."""
    return RunReader(resolve_inside(folder or runs_folder(), safe_name(name)))


def list_runs(folder: Path | None = None) -> list[RunReader]:
    """All runs, newest first. Folders that hold no run, and links that lead out of the runs folder, are left out."""
    folder = (folder or runs_folder()).absolute()
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return []
    found = [reader for name in names if (reader := _run_at(folder, name)) is not None]
    return sorted(found, key=_created, reverse=True)


def parse_lines(content: bytes) -> list[dict[str, Any]]:
    """The objects in complete JSON lines; what a crash tore apart is skipped."""
    found = [parse_object(text) for text in content.split(b"\n") if text.strip()]
    return [line for line in found if line is not None]


def json_line(values: dict[str, Any]) -> bytes:
    """One line of metrics as it lies in the file, its newline included."""
    return json.dumps(plain(values), allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _change(command: str) -> dict[str, Any]:
    if command in ("pause", "resume"):
        return {"pause": command == "pause"}
    if command == "stop":
        return {"stop": True}
    return {command: secrets.token_hex(8)}  # a new value is a new request: nobody has to take the old one back


def _run_at(folder: Path, name: str) -> RunReader | None:
    try:
        reader = open_run(name, folder)
    except ValueError:
        return None
    return reader if any((reader.path / part).is_file() for part in (run_folder.CONFIG, run_folder.STATUS)) else None


def _created(reader: RunReader) -> tuple[float, str]:
    created = unix_time((read_json(reader.path / run_folder.STATUS) or {}).get("created"))
    if not created:
        try:
            created = reader.path.stat().st_mtime
        except OSError:
            created = 0.0
    return created, reader.name


def whole_or_zero(value: Any) -> int:
    """A whole number as a file or a page gives it; 0 for anything that is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def unix_time(value: Any) -> float:
    """Seconds since 1970 as a file holds them; 0 for anything that is no time."""
    found = finite(value)
    return found if found is not None and 0 <= found <= LATEST else 0.0
