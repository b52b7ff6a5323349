"""The run as all ranks but the first see it: nothing is asked of its folder, which may lie on another machine, and nothing written."""

from pathlib import Path
from typing import Any

from .config import Config
from .run_checkpoints import Save
from .run_writer import Control, RunWriter


class SilentRun(RunWriter):
    """A RunWriter that does nothing. `resumed` as at the first rank."""

    def __init__(self, config: Config, *, resumed: bool) -> None:
        self.path, self.resumed, self.attempt, self.state, self.closed = Path("elsewhere"), resumed, 1, "starting", False
        self.notices = []
        self._config = config

    def log(self, line: dict[str, Any]) -> None: ...

    def status(self, state: str, step: int, total: int, **extra: Any) -> None:
        self.state = state

    def beat(self) -> None: ...

    def notify(self, text: str) -> None: ...

    def poll_control(self) -> Control:
        return Control()

    def request_stop(self) -> None: ...

    def save_sample(self, step: int, name: str, write: Save, phase: str = "transformer") -> bool:
        return True

    def commit(self, step: int, *, checkpoint: Save, tensors: Save, state: dict[str, Any], phase: str = "transformer") -> bool:
        return True

    def cut_metrics(self, step: int, phase: str = "transformer") -> int:
        return 0

    def fail(self, error: BaseException) -> str:
        self.state = "failed"
        return ""

    def close(self) -> None:
        self.closed = True

    def settle(self) -> None: ...
