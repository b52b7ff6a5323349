"""Is the process that wrote a run's status still there? Pid and start time on the same boot, heartbeat elsewhere."""

import contextlib
import functools
import os
import socket
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import finite

HEARTBEAT_LIMIT_S = 120.0  # a trainer beats every few seconds, but one slow step or validation must not look like death
SLOWEST = "slowest_beat_s"  # of a status: the longest that this attempt was silent for and lived
PATIENCE = 4.0  # times that
LONGEST_LIMIT_S = 6 * 3600.0
LARGEST_PID = 2**31 - 1
_WATCHED = 4096  # runs whose heartbeats are remembered


@dataclass(frozen=True)
class Process:
    """Who writes a run. `boot` names one boot of one machine, `namespace` one numbering of processes on it (a container has its own)."""

    host: str
    boot: str
    namespace: str
    pid: int
    start: float | None  # clock ticks since boot on Linux, elsewhere unix seconds; None where neither can be had

    def same_boot(self, other: "Process") -> bool:
        return (self.host, self.boot, self.namespace) == (other.host, other.boot, other.namespace)

    def to_dict(self) -> dict[str, Any]:
        return {"host": self.host, "boot_id": self.boot, "pid_namespace": self.namespace, "pid": self.pid, "pid_start": self.start}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "Process":
        pid, start = values.get("pid"), values.get("pid_start")
        return Process(
            host=str(values.get("host", "")),
            boot=str(values.get("boot_id", "")),
            namespace=str(values.get("pid_namespace", _machine()[2])),  # writers other than ours need not know of namespaces
            pid=pid if isinstance(pid, int) and abs(pid) <= LARGEST_PID else 0,
            start=finite(start),
        )


def this_process() -> Process:
    return _this_process(os.getpid())


@functools.lru_cache(maxsize=1)
def _this_process(pid: int) -> Process:
    host, boot, namespace = _machine()
    return Process(host, boot, namespace, pid, process_start(pid))


@functools.cache
def _machine() -> tuple[str, str, str]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return socket.gethostname(), boot, namespace


def process_start(pid: int) -> float | None:
    """When process `pid` started: clock ticks since boot on Linux, unix seconds elsewhere. None where it is gone, a zombie or unknown."""
    if pid <= 0:
        return None
    if Path("/proc/self/stat").exists():
        return _linux_start(pid)
    try:
        import psutil
    except ImportError:
        return None
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            return float(process.create_time())
    return None


def _linux_start(pid: int) -> float | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the command in brackets may hold spaces and brackets itself
    return None if fields[0] in "ZX" else float(fields[19])


def process_alive(process: Process) -> bool:
    """Whether a process of this very boot runs: the pid exists and started when it says (pids are given out again)."""
    found = process_start(process.pid)
    if found is None:
        return process.start is None and _pid_exists(process.pid)
    return process.start is None or abs(found - process.start) <= 1.0


def _pid_exists(pid: int) -> bool:
    if pid <= 0 or os.name == "nt":  # on Windows os.kill would end the process instead of asking for it
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return not Path(f"/proc/{pid}/stat").exists()  # it exists and has no start time only as a zombie


class HeartbeatWatch:
    """Judges heartbeats written by other machines' clocks.

    At first sight only its age can tell. Once watched, what counts is whether it moves, so that clocks that disagree or
    jump neither kill a living run nor keep a dead one alive.
    """

    def __init__(self, limit_s: float = HEARTBEAT_LIMIT_S) -> None:
        self.limit_s = limit_s
        self._seen: OrderedDict[Path, tuple[float, float, bool]] = OrderedDict()  # heartbeat, since when, whether it ever moved

    def alive(
        self, path: Path, heartbeat: float, *, slowest_s: float = 0.0, now: float | None = None, monotonic: float | None = None
    ) -> bool:
        """slowest_s: the longest that this writer was silent for and lived."""
        limit_s = min(max(self.limit_s, PATIENCE * slowest_s), LONGEST_LIMIT_S)
        now = time.time() if now is None else now
        monotonic = time.monotonic() if monotonic is None else monotonic
        before = self._seen.get(path)
        if before is None:
            self._remember(path, (heartbeat, monotonic, False))
            return abs(now - heartbeat) <= limit_s
        last, since, moved = before
        if heartbeat != last:
            self._remember(path, (heartbeat, monotonic, True))
            return True
        fresh = moved or abs(now - heartbeat) <= limit_s
        return fresh and monotonic - since <= limit_s

    def _remember(self, path: Path, seen: tuple[float, float, bool]) -> None:
        self._seen.pop(path, None)  # several pages' threads come here: every line stands alone
        self._seen[path] = seen
        if len(self._seen) > _WATCHED:
            with contextlib.suppress(KeyError):
                self._seen.popitem(last=False)


HEARTBEATS = HeartbeatWatch()


def run_alive(path: Path, status: dict[str, Any], *, own: bool) -> bool:
    """Whether whoever wrote `status` in the run folder `path` still trains it; `own` says whether this process does."""
    process, here = Process.from_dict(status), this_process()
    if process.same_boot(here):
        if process.pid == here.pid and process.start in (None, here.start):
            return own  # the process lives, but its training may have ended without being able to say so
        return process_alive(process)
    heartbeat, slowest_s = finite(status.get("heartbeat")), finite(status.get(SLOWEST))
    if heartbeat is None:
        return False
    if process.host == here.host and heartbeat < machine_started():
        return False  # the last sign of life comes from before this machine, or this container, started again
    return HEARTBEATS.alive(path, heartbeat, slowest_s=slowest_s or 0.0)


def machine_started() -> float:
    """When this machine booted, or this container's first process started: unix seconds; 0 where unknown."""
    try:
        uptime = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        first = (_linux_start(1) or 0.0) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0
    return time.time() - uptime + first
