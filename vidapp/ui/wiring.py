"""How events are registered: what shares the processor waits in one line, what is quick waits for nobody."""

from typing import Any

COMPUTE: dict[str, Any] = {"concurrency_id": "compute", "concurrency_limit": 1}
QUICK: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden"}


def in_turn(what: str) -> dict[str, Any]:
    """For quick events that show the same thing: one after the other, so that an older answer never lands on a newer one."""
    return {"concurrency_id": what, "concurrency_limit": 1, "show_progress": "hidden"}


PRIVATE: dict[str, Any] = {"api_visibility": "private"}  # not in the API's documentation; no protection, and not meant as one
AGAIN: dict[str, Any] = {
    "trigger_mode": "multiple"
}  # may be asked for again before it is done; else the browser drops what comes meanwhile
