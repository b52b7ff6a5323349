"""The most memory that a process has taken."""

import contextlib
import importlib
import sys
from pathlib import Path


def peak_mib_of(pid: int | str = "self") -> float | None:
    """Largest resident memory of a process so far, in MiB; None where the system does not say."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration, ValueError):
        return own_peak_mib() if pid == "self" else None


def forget_peak() -> None:
    """From here on `peak_mib_of` this process begins anew, with what it holds now. Does nothing where the system has no way to that."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc(5)


def own_peak_mib() -> float | None:
    """As the system accounts for this process; on Linux that may hold its parent's, so it is the second choice there."""
    if sys.platform == "win32":
        return None
    resource = importlib.import_module("resource")  # Unix alone has it
    peak = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def device_peak_mib() -> float | None:
    """Largest memory taken on a GPU by this process; None where none was used. Loads nothing that was not loaded before."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    peak: float = torch.cuda.max_memory_allocated() / 2**20
    return peak
