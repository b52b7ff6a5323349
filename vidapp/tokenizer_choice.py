"""Which trained tokenizer a new run starts from: the one given, a bundled one for Moving MNIST, or none yet."""

from collections.abc import Sequence
from pathlib import Path

from .checkpoint import read_header
from .config import MOVING_MNIST, Config

ASSETS = Path(__file__).resolve().parent.parent / "assets"
BUNDLED = ASSETS / "tokenizer.safetensors"  # of the settings that a new config has
ALL_BUNDLED = (BUNDLED, ASSETS / "moving-mnist.safetensors")  # and that of the bundled model, which is another one
FITS = ("data.channels",)  # besides the tokenizer's own settings: what decides whether the weights fit
LOOKS_ALIKE = ("data.channels", "data.size", "data.digits")  # and what decides whether frames look like those it was trained on


def choose_tokenizer(config: Config, given: str | Path | None = None, *, bundled: Sequence[Path] = ALL_BUNDLED) -> Path | None:
    """The checkpoint whose tokenizer this config can use as it is; None where the run trains its own first.

    Raises ValueError where `given` is no readable checkpoint or its tokenizer is not the one that the config describes, and where
    the config asks for a new one beside it.
    """
    new = config.recipe.tokenizer_source == "new"
    if given is not None:
        if new:
            raise ValueError(
                f"the tokenizer of {given} is given, and recipe.tokenizer_source=new asks for a new one: leave one of them out"
            )
        refuse_misfit(config, Path(given))
        return Path(given)
    if new or config.data.source not in MOVING_MNIST:
        return None
    return next((path for path in bundled if path.exists() and not tokenizer_differences(config, path, LOOKS_ALIKE)), None)


def called(checkpoint: Path) -> str:
    """A checkpoint's tokenizer for a person, who may be a stranger: no folder of the machine is named."""
    return "the bundled tokenizer" if checkpoint.resolve() in ALL_BUNDLED else f"the tokenizer of {checkpoint.name}"


def refuse_misfit(config: Config, checkpoint: Path) -> None:
    differences = tokenizer_differences(config, checkpoint, FITS)
    if differences:
        listed = ", ".join(f"{key} {theirs!r} instead of {ours!r}" for key, (ours, theirs) in differences.items())
        raise ValueError(f"the tokenizer of {checkpoint} has {listed}: set the same in this run, or leave the tokenizer out to train one")


def tokenizer_differences(config: Config, checkpoint: Path, frame_keys: tuple[str, ...]) -> dict[str, tuple[object, object]]:
    """Dotted key -> (ours, the checkpoint's), where its tokenizer settings or those of `frame_keys` are not the config's."""
    differences = config.differences(read_header(checkpoint).config)
    return {key: pair for key, pair in differences.items() if key.startswith("tokenizer.") or key in frame_keys}
