"""`python app.py` as a process: how it comes up, what it refuses, how it ends."""

import contextlib
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import pytest
from gradio_client import Client
from serving import ROOT, App, served
from tiny_checkpoint import tiny_config

from vidapp.config import Config
from vidapp.runs import open_run
from vidapp.ui.lost_streams import worth_saying


def test_a_training_saves_itself_when_the_app_is_ended(tmp_path: Path) -> None:
    """A container is ended by SIGTERM; what was trained by then must not be lost."""
    settings = {key: new for key, (new, _) in tiny_config().differences(Config()).items()}
    settings |= {"recipe.tokenizer_steps": 2, "recipe.batch_size": 1, "run.validation_clips": 1, "run.steps": 10**6, "run.threads": 1}
    with served(tmp_path) as app:
        client = Client(app.url, verbose=False)
        client.predict("debug", settings, "kept", api_name="/train_start")
        run = open_run("kept", app.runs)
        while run.status().state == "starting":
            assert app.process.poll() is None
        app.process.send_signal(signal.SIGTERM)
        app.process.wait(60)
    assert (run.status().state, run.status().error) == ("stopped", None)
    assert "Traceback" not in app.log.read_text()


def test_nonsense_in_the_environment_is_one_line_and_exit_code_2() -> None:
    done = run_app(VIDAPP_PORT="http")
    assert done.returncode == 2
    assert done.stderr.startswith("vidapp: VIDAPP_PORT is 'http'")
    assert len(done.stderr.splitlines()) == 1


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run_app(VIDAPP_PORT=str(port))
    assert done.returncode == 2
    assert f"port {port} is taken" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_argument_is_one_line_that_names_the_variable_and_exit_code_2() -> None:
    done = run_app("--port", "8000")
    assert done.returncode == 2
    assert "takes no arguments (--port)" in done.stderr
    assert "VIDAPP_PORT" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_explains_the_variables_that_the_readme_names_and_serves_nothing(flag: str) -> None:
    done = run_app(flag)
    assert (done.returncode, done.stderr) == (0, "")
    named = set(re.findall(r"^\| .*", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    variables = {name for row in named for name in re.findall(r"`(VIDAPP_\w+)", row.split("|")[1])}
    assert variables
    assert variables <= set(re.findall(r"VIDAPP_\w+", done.stdout))


def test_arguments_are_answered_before_anything_heavy_is_imported() -> None:
    code = "import runpy, sys; sys.argv = ['app.py', '--help']\ntry: runpy.run_path(sys.orig_argv[-1], run_name='__main__')\n"
    code += "finally: print('gradio' in sys.modules or 'vidapp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(ROOT / "app.py")], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_the_app_can_be_imported_whatever_the_arguments_of_the_importer() -> None:
    code = "import sys; sys.argv = ['x', '--port', '8000']; import app; print(callable(app.main))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.strip() == "True", done.stderr


def run_app(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "app.py"), *arguments]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=120)


def test_a_password_is_asked_for(tmp_path: Path) -> None:
    with served(tmp_path, VIDAPP_AUTH="me:secret") as app:
        with pytest.raises(Exception, match=r"(?i)401|auth|credentials|could not"):
            Client(app.url, verbose=False)
        assert Client(app.url, auth=("me", "secret"), verbose=False).predict(api_name="/runs") == []


def test_pages_that_are_closed_leave_no_traceback_in_the_log(tmp_path: Path) -> None:
    """A stream of a session that is unknown, and several streams of one session, of which all but the one that is answered are left."""
    with served(tmp_path) as app:
        listen(app, "nobody")
        number = next(call["id"] for call in json.loads(asked(app, "config"))["dependencies"] if call["api_name"] == "runs")
        asked(app, "gradio_api/queue/join", {"data": [], "fn_index": number, "session_hash": "one"})
        with ThreadPoolExecutor() as pool:
            heard = list(pool.map(lambda _: listen(app, "one"), range(4)))
        assert sum(b"process_completed" in text for text in heard) == 1
        for _ in range(5):  # the server sees that nobody listens
            asked(app, "")
            time.sleep(0.2)
    assert "Traceback" not in app.log.read_text()
    assert app.process.returncode == 0


def asked(app: App, path: str, content: object = None) -> bytes:
    """The answer to a GET, or to a POST of what is there to be said."""
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(app.url + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())


def listen(app: App, session: str) -> bytes:
    """What a session's stream says until it ends, or has been silent for longer than an answer takes."""
    heard = b""
    with contextlib.suppress(TimeoutError, HTTPException):
        for line in urllib.request.urlopen(f"{app.url}gradio_api/queue/data?session_hash={session}", timeout=5):
            heard += line
    return heard


def test_any_other_trouble_of_the_server_is_told() -> None:
    for error in (KeyError("one"), RuntimeError("Caught handled exception, but response already started."), None):
        record = logging.makeLogRecord({"exc_info": (type(error), error, None) if error else None})
        assert worth_saying(record)
