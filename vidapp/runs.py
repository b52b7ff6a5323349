"""The run folder, the contract between whoever trains (RunWriter) and whoever watches or steers (RunReader)."""

from .failures import describe_failure
from .run_folder import runs_folder
from .run_reader import MetricsPart, RunReader, RunStatus, list_runs, open_run
from .run_writer import Control, RunWriter

__all__ = ["Control", "MetricsPart", "RunReader", "RunStatus", "RunWriter", "describe_failure", "list_runs", "open_run", "runs_folder"]
