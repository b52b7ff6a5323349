"""Pages that are open and looked at, as the server sees them: for measuring what they cost. `python -m vidapp.ui.visitors PORT RUN COUNT
WATCH GLANCE`, with the component ids of the live view and the status strip; `on` and `off` on stdin open and close them, its end ends it.

Each asks as live.js and strip.js do: what is new since its last answer, after the pause that this answer asked for.
"""

import http.client
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

ASK_AGAIN_S = 1.0  # after a failure, as the page does


@dataclass
class Visitor:
    """One asking component of one page. `component`: its id, `function`: the one of the server that it calls."""

    port: int
    session: str
    component: int
    function: str
    request: Callable[[dict[str, Any]], dict[str, Any]]  # the newest answer -> what is asked next
    open: threading.Event
    answer: dict[str, Any] = field(default_factory=dict)

    def live(self) -> None:
        """Ask for ever, while the page is open."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while True:
            self.open.wait()
            try:
                self.answer = self.ask(connection)
                pause_s = self.answer["every_ms"] / 1000
            except (OSError, ValueError, KeyError, http.client.HTTPException):
                connection.close()
                pause_s = ASK_AGAIN_S
            time.sleep(pause_s)

    def ask(self, connection: http.client.HTTPConnection) -> dict[str, Any]:
        data = {"component_id": self.component, "fn_name": self.function, "session_hash": self.session, "data": self.request(self.answer)}
        connection.request("POST", "/gradio_api/component_server", json.dumps(data), {"Content-Type": "application/json"})
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer


def watching(run: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What the live view asks."""

    shown = ""
    strips: list[Any] = [0]

    def request(answer: dict[str, Any]) -> dict[str, Any]:
        nonlocal shown, strips
        if answer.get("sample"):
            shown = f"{run}/{answer['sample']['name']}"
        if names := answer.get("strips"):
            strips = [len(names), names[-1]]
        known = {
            "epoch": answer.get("epoch", 0),
            "serial": answer.get("serial", 0),
            "sample": shown,
            "strips": strips,
        }
        return {"run": run, **known, "more": False}

    return request


def nothing(answer: dict[str, Any]) -> dict[str, Any]:
    """What the status strip asks."""
    return {}


def main(port: int, run: str, count: int, watch: int, glance: int) -> None:
    is_open = threading.Event()
    for number in range(count):
        for component, function, request in ((watch, "watch", watching(run)), (glance, "glance", nothing)):
            visitor = Visitor(port, f"visitor{number}", component, function, request, is_open)
            threading.Thread(target=visitor.live, daemon=True).start()
            time.sleep(0.05)  # they did not all come at once
    print("ready", flush=True)
    for word in sys.stdin:
        is_open.set() if word.strip() == "on" else is_open.clear()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:6]))
