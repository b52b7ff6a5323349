"""How much memory is free: of this machine, or of the container that it lets us have."""

from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
VERSIONS = (  # where the memory controller is, its files: limit, use, file cache
    ("", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
UNLIMITED = 1 << 60  # version 1 writes a huge number where there is no limit


def free_memory(groups: Path = GROUPS, own: Path = OWN) -> int:
    """Bytes that can be taken without pushing anything out: of the machine, held against the container's limit."""
    import psutil

    inside = container_free(groups, own)
    machine = int(psutil.virtual_memory().available)
    return machine if inside is None else min(machine, inside)


def held_memory() -> int:
    """Bytes that this process holds in memory now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def container_free(groups: Path = GROUPS, own: Path = OWN) -> int | None:
    """What this process's control group, or one that it is in, has left, file cache counted as free; None where none sets a limit."""
    left = []
    for controller, limit, used, inactive in VERSIONS:
        root = groups / controller
        place = root / own_group(controller, own)
        for folder in (place, *(above for above in place.parents if above.is_relative_to(root))):
            most, taken = number_in(folder / limit), number_in(folder / used)
            if most is not None and taken is not None and most < UNLIMITED:
                left.append(max(0, most - taken + cached(folder / limit, inactive)))
    return min(left, default=None)


def own_group(controller: str, own: Path = OWN) -> str:
    """Where this process's group lies below the controller's root; nothing where that is not to be seen from in here."""
    try:
        lines = own.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        _, names, path = (*line.split(":", 2), "", "")[:3]
        if controller in names.split(","):
            return "" if ".." in path else path.strip("/")
    return ""


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
