"""The run folder, the contract between whoever trains (RunWriter) and whoever watches or steers (RunReader)."""

from .run_folder import runs_folder
from .run_reader import RunReader, list_runs, open_run
from .run_writer import RunWriter

__all__ = ["RunReader", "RunWriter", "list_runs", "open_run", "runs_folder"]
