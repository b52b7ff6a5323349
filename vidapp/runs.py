"""The run folder, the contract between whoever trains (RunWriter) and whoever watches or steers (RunReader)."""

from .run_folder import runs_folder
from .run_reader import MetricsPart, RunReader, RunStatus, list_runs, open_run
from .run_writer import Control, RunWriter, describe_failure

__all__ = ["Control", "MetricsPart", "RunReader", "RunStatus", "RunWriter", "describe_failure", "list_runs", "open_run", "runs_folder"]
