"""What a new run can train on from the page: the built-in data, and clips that lie in one folder of this machine.

A page never names a path: what it offers is the content of `own` in the data folder, and a choice is resolved inside it.
"""

from pathlib import Path

from ..config import Config, as_argument
from ..failures import told_to_strangers
from ..files import resolve_inside

MADE = ("Moving MNIST, made on the fly", "moving-mnist")
FETCHED = ("Moving MNIST from all 60,000 digits (needs a network)", "moving-mnist-full")
OWN = "own"
PREFIX = "own/"
LISTED = 200


def own_folder() -> Path:
    """Where own clips are put to be offered here; ValueError where the data folder cannot be made."""
    from ..data.cache import data_folder  # brings decoders that the page does not wait for

    return data_folder() / OWN


def built_in() -> list[tuple[str, str]]:
    """Those that need no clips of a person's. Strangers have nothing fetched for them."""
    return [MADE] if told_to_strangers() else [MADE, FETCHED]


def choices() -> list[tuple[str, str]]:
    """(label, value) of the data that there is."""
    try:
        names = sorted(path.name for path in own_folder().iterdir() if is_offered(path))
    except (OSError, ValueError):
        names = []
    return [*built_in(), *((f"your clips: {name}", f"{PREFIX}{name}") for name in names[:LISTED])]


def own_help() -> str:
    """Where a page's own clips come from, to be said beside the list; nothing to strangers, who can put none there."""
    return "" if told_to_strangers() else f"Your own clips are offered when they lie in {own_folder()}."


def is_offered(path: Path) -> bool:
    """Not what is hidden, and not the JSON that stands beside a file of token ids."""
    return not path.name.startswith(".") and not (path.suffix == ".json" and path.is_file())


def resolved(config: Config) -> Config:
    """The config with a choice of own clips as the path that it means, and where these are token ids with the settings that they need.

    ValueError where it is none of those offered.
    """
    source = config.data.source
    if source in [value for _, value in built_in()]:
        return with_needed(config, source) if config.tokenizer.quantizer == "ids" else config
    if refused := refusal(source):
        raise ValueError(refused)
    return with_needed(config, str(resolve_inside(own_folder(), source.removeprefix(PREFIX))))


def refusal(source: str) -> str:
    """Why a page cannot train on that source; empty where it is one of those offered."""
    if source in [value for _, value in choices()]:
        return ""
    where = "" if told_to_strangers() else f"; own clips belong in {own_folder()}"
    return f"data.source {source!r} is not offered here: choose from the list{where}"


def with_needed(config: Config, path: str) -> Config:
    """The config on the data at that path; token ids made elsewhere decide how many codes there are, how large grids are, and more."""
    from ..data.token_ids import refuse_mismatch, settings_of

    config = config.replace({"data.source": path, **settings_of(path)})
    refuse_mismatch(config)
    return config


def set_by_data(chosen: Config, found: Config) -> str:
    """What `resolved` set in `found` for the sake of the data, in a sentence; empty where it set nothing."""
    changes = [f"{key}={as_argument(mine)}" for key, (mine, _) in found.differences(chosen).items() if key != "data.source"]
    return f"{Path(found.data.source).name} holds token ids, so these are set: {', '.join(changes)}." if changes else ""


def offered(config: Config) -> Config:
    """The other way round: a config with the path of own clips, as the choice that means it. Other configs come back as they are."""
    source = Path(config.data.source)
    if not source.is_absolute():
        return config
    try:
        name = source.resolve().relative_to(own_folder().resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links is one of them
        return config
    return config.replace({"data.source": f"{PREFIX}{name.as_posix()}"})
