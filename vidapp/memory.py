"""How much memory is free: of this machine, or of the container that it lets us have."""

from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60  # version 1 writes a huge number where there is no limit


def free_memory(groups: Path = GROUPS) -> int:
    """Bytes that can be taken without pushing anything out: of the machine, held against the container's limit."""
    import psutil

    inside = container_free(groups)
    machine = int(psutil.virtual_memory().available)
    return machine if inside is None else min(machine, inside)


def container_free(groups: Path = GROUPS) -> int | None:
    """What the control group has left, its file cache counted as free; None where it sets no limit."""
    for limit, used, inactive in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        most, taken = number_in(groups / limit), number_in(groups / used)
        if most is not None and taken is not None and most < UNLIMITED:
            return max(0, most - taken + cached(groups / limit, inactive))
    return None


def cached(limit: Path, name: str) -> int:
    """Bytes of file cache that the system drops before anyone is refused memory."""
    try:
        lines = (limit.parent / "memory.stat").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), 0)


def number_in(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # not there, or the word `max`
        return None
