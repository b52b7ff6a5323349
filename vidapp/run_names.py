"""Names of new runs, and their folders: a name that exists is never taken again."""

import contextlib
import re
import secrets
import time
from pathlib import Path

from .config import Config
from .failures import reason
from .files import resolve_inside, safe_name
from .presets import PRESETS


def readable_name(config: Config | None) -> str:
    """A name that says what and when, e.g. `debug-moving-mnist-20260131-142530`."""
    what = "run"
    if config is not None:
        data = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(config.data.source).stem).strip("-") or "clips"
        what = f"{size_name(config)}-{data}"[:40].rstrip("-")
    return f"{what}-{time.strftime('%Y%m%d-%H%M%S')}"


def size_name(config: Config) -> str:
    """The preset whose model it has, else `width x layers`, e.g. `96x3`."""
    model = config.model
    return next((name for name, make in PRESETS.items() if make().model == model), f"{model.width}x{model.layers}")


def new_folder(root: Path, name: str) -> Path:
    """Make the folder `name` below `root`; ValueError where the name is unsafe or exists, or `root` cannot be written."""
    if safe_name(name).startswith("-"):
        raise ValueError(f"run name {name!r} begins with '-', which a shell takes for an option: begin it with a letter or a digit")
    path = resolve_inside(root, name)
    try:
        root.mkdir(parents=True, exist_ok=True)
        path.mkdir()  # exclusive: of two who ask for the same name, one is refused
    except (FileExistsError, NotADirectoryError):
        if not root.is_dir():
            raise ValueError(f"the runs folder {root} is no folder: set VIDAPP_RUNS to one") from None
        raise ValueError(f"run {name!r} exists already in {root}: choose another name, or resume it") from None
    except OSError as error:
        raise ValueError(f"cannot make the run folder {path}: {reason(error)}; set VIDAPP_RUNS to a folder that can be written") from error
    return path


def new_unnamed(root: Path, config: Config | None) -> Path:
    """Make a folder below `root` under a readable name that is not taken."""
    name = readable_name(config)
    for ending in ("", "-2", "-3", *(f"-{secrets.token_hex(2)}" for _ in range(8))):
        if not (root / f"{name}{ending}").exists():
            with contextlib.suppress(ValueError):
                return new_folder(root, f"{name}{ending}")
    return new_folder(root, name)  # says why not
