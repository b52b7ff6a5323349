"""What a new run can train on from the page: the built-in data, and clips that lie in one folder of this machine.

A page never names a path: what it offers is the content of `own` in the data folder, and a choice is resolved inside it.
"""

from pathlib import Path

from ..config import Config
from ..files import resolve_inside

BUILT_IN = (
    ("Moving MNIST, made on the fly", "moving-mnist"),
    ("Moving MNIST from all 60,000 digits (needs a network)", "moving-mnist-full"),
)
OWN = "own"
PREFIX = "own/"
LISTED = 200


def own_folder() -> Path:
    """Where own clips are put to be offered here; ValueError where the data folder cannot be made."""
    from ..data.cache import data_folder  # brings decoders that the page does not wait for

    return data_folder() / OWN


def choices() -> list[tuple[str, str]]:
    """(label, value) of the data that there is."""
    try:
        names = sorted(path.name for path in own_folder().iterdir() if not path.name.startswith("."))
    except (OSError, ValueError):
        names = []
    return [*BUILT_IN, *((f"your clips: {name}", f"{PREFIX}{name}") for name in names[:LISTED])]


def resolved(config: Config) -> Config:
    """The config with a choice of own clips as the path that it means; ValueError where it is none of those offered."""
    source = config.data.source
    if source in [value for _, value in BUILT_IN]:
        return config
    if source not in [value for _, value in choices()]:
        raise ValueError(f"data.source {source!r} is not offered here: choose from the list; own clips belong in {own_folder()}")
    return config.replace({"data.source": str(resolve_inside(own_folder(), source.removeprefix(PREFIX)))})


def offered(config: Config) -> Config:
    """The other way round: a config with the path of own clips, as the choice that means it. Other configs come back as they are."""
    source = Path(config.data.source)
    if not source.is_absolute():
        return config
    try:
        name = source.resolve().relative_to(own_folder().resolve())
    except (OSError, ValueError):
        return config
    return config.replace({"data.source": f"{PREFIX}{name.as_posix()}"})
