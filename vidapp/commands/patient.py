"""What is to be looked at: settings alone, a run with its metrics and newest checkpoint, or a checkpoint."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import Config
from .common import load_to_sample, open_data
from .evaluate import BATCH, draw

if TYPE_CHECKING:
    import numpy as np

    from ..stages import Lost


@dataclass(frozen=True)
class Case:
    """lines: of a run's metrics. error: what ended it. checkpoint: of a trained transformer, where there is one."""

    config: Config
    lines: tuple[dict[str, Any], ...] = ()
    error: str = ""
    checkpoint: Path | None = None

    def with_config(self, config: Config) -> "Case":
        return replace(self, config=config)

    def tokenizer(self, given: Path | None) -> Path | None:
        """The checkpoint whose tokenizer is used: the one given, this case's own, or the one that a new run would take."""
        from ..tokenizer_choice import FITS, choose_tokenizer, tokenizer_differences

        own = self.checkpoint if self.checkpoint and not tokenizer_differences(self.config, self.checkpoint, FITS) else None
        return own if own and not given else choose_tokenizer(self.config, given)

    def evaluation(self, clips: int, strip: Path | None = None) -> Callable[[Callable[[float], None]], "Lost"]:
        """Where the checkpoint loses most on so many clips; told the share that is done. strip: a picture to draw the first clip into."""

        def evaluated(progress: Callable[[float], None]) -> "Lost":
            from ..evaluate import evaluate
            from ..stages import lost

            assert self.checkpoint
            loaded = load_to_sample(self.checkpoint)
            source = open_data(loaded.config.data, quiet=True)
            shown: dict[str, np.ndarray] = {}
            found = evaluate(
                loaded,
                source,
                clips,
                stages=True,
                batch_clips=min(BATCH, max(2, clips // 8)),
                progress=lambda done, whole: progress(done / whole),
                show=shown.__setitem__,
            )
            if strip:
                draw(strip, shown)
            return lost(found, loaded.config)

        return evaluated


def case_of_run(name: str) -> Case:
    """ValueError where there is no such run, or it has no config."""
    from ..sick_runs import open_any

    run = open_any(name)
    checkpoints = run.checkpoints()
    lines, _ = run.metrics()
    return Case(run.config(), tuple(lines), run.status().error or "", checkpoints[0][1] if checkpoints else None)


def case_of_checkpoint(path: Path) -> Case:
    """ValueError where it is no checkpoint."""
    from ..checkpoint import read_header

    header = read_header(path)
    return Case(header.config, checkpoint=path if header.phase != "tokenizer" else None)
