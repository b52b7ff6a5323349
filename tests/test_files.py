"""Files are whole or not there, names are safe, paths stay inside, locks die with their holder."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidapp import files
from vidapp.files import (
    FileLock,
    finite,
    open_ordinary,
    parse_object,
    plain,
    printable,
    read_json,
    replacing,
    resolve_inside,
    safe_name,
    write_json,
    write_text,
    write_without_room,
)

ROOT = Path(__file__).parents[1]


@given(st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", fullmatch=True))
def test_letters_digits_dot_underscore_hyphen_make_a_safe_name(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a\\b", "/etc", "a b", "ä", "x" * 65, "a\n", "a\0", "a:b", None, 3])
def test_anything_else_is_refused_and_shown(name: object) -> None:
    with pytest.raises(ValueError, match="run name .* is not usable: use 1 to 64 letters"):
        safe_name(name)  # type: ignore[arg-type]


@given(st.text(max_size=80))
def test_a_safe_name_is_one_plain_part_of_a_path(name: str) -> None:
    try:
        safe_name(name)
    except ValueError:
        return
    assert Path(name).name == name
    assert name not in (".", "..")
    assert resolve_inside("/runs", name) == Path("/runs") / name


@pytest.mark.parametrize("path", ["..", "../other", "a/../../other", "/etc/passwd", "a\0b"])
def test_paths_that_lead_out_of_a_folder_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="outside|no usable path"):
        resolve_inside(tmp_path / "runs", path)


def test_links_that_lead_out_of_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="outside"):
        resolve_inside(tmp_path / "runs", "link")


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half of the new")
        raise RuntimeError("the writer failed")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_name_as_long_as_the_system_allows_is_written(tmp_path: Path) -> None:
    path = tmp_path / f"{'a' * 251}.gif"
    with replacing(path) as temporary:
        assert temporary.suffix == ".gif", "by which a writer of pictures knows what to write"
        temporary.write_text("text")
    assert os.listdir(tmp_path) == [path.name]


def test_a_file_is_flushed_to_disk_before_it_takes_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(files.os, "fsync", lambda handle: (order.append("fsync"), fsync(handle)))
    monkeypatch.setattr(files.os, "replace", lambda old, new: (order.append("rename"), replace(old, new)))
    write_text(tmp_path / "file", "text")
    assert order[:2] == ["fsync", "rename"]


def test_leftovers_of_killed_writers_are_found_and_removed(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    code = (
        "import os, signal, sys; from vidapp.files import replacing\n"
        "with replacing(sys.argv[1]) as temporary: temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "checkpoints" / "x")], cwd=ROOT)
    assert len(os.listdir(tmp_path / "checkpoints")) == 1
    files.remove_temporaries(tmp_path)
    assert os.listdir(tmp_path / "checkpoints") == []


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"a": "' + b"x" * files.JSON_LIMIT + b'"}'])
def test_damaged_or_oversized_json_reads_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert read_json(tmp_path / "file") is None


def test_a_missing_json_file_reads_as_none(tmp_path: Path) -> None:
    assert read_json(tmp_path / "file") is None
    assert read_json(tmp_path) is None


def test_numbers_of_numpy_become_plain_and_what_is_not_finite_null() -> None:
    values = {"a": np.float32(0.5), "b": np.int64(3), "c": float("nan"), "d": [float("inf"), np.float64("nan")], "e": True, "f": Path("x")}
    assert plain(values) == {"a": 0.5, "b": 3, "c": None, "d": [None, None], "e": True, "f": "x"}
    with pytest.raises(TypeError, match="object cannot be written"):
        plain(object())


@given(old=st.text(max_size=200), new=st.text(max_size=200))
def test_json_written_without_room_reads_back_whole(tmp_path_factory: pytest.TempPathFactory, old: str, new: str) -> None:
    path = tmp_path_factory.mktemp("room") / "file"
    write_json(path, {"value": old})
    write_without_room(path, {"value": new})
    assert read_json(path) == {"value": new}


def test_what_needs_more_room_than_there_is_leaves_the_file_alone(tmp_path: Path) -> None:
    write_json(tmp_path / "file", {"value": "old"})
    with pytest.raises(OSError, match="No space"):
        write_without_room(tmp_path / "file", {"value": "x" * (1 << 20)})
    assert read_json(tmp_path / "file") == {"value": "old"}


def test_a_lock_has_one_holder_and_can_be_taken_again(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    second.release()


def test_a_forked_child_does_not_keep_its_parents_lock(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from vidapp.files import FileLock\n"
        "lock = FileLock(sys.argv[1]); assert lock.acquire()\n"
        "if os.fork() == 0: os.write(1, b'%d\\n' % os.getpid())\n"
        "signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            assert not FileLock(tmp_path / "lock").acquire()
            parent.kill()
            parent.wait()
            assert FileLock(tmp_path / "lock").acquire()
        finally:
            parent.kill()
            os.kill(child, signal.SIGKILL)


def test_json_that_we_write_is_json_that_others_read(tmp_path: Path) -> None:
    write_json(tmp_path / "file", {"loss": float("nan")})
    assert json.loads((tmp_path / "file").read_text(), parse_constant=pytest.fail) == {"loss": None}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_what_is_no_ordinary_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "endless.json").symlink_to("/dev/zero")
    (tmp_path / "folder.json").mkdir()
    for name in ("pipe.json", "endless.json", "folder.json"):
        assert read_json(tmp_path / name) is None
        with pytest.raises(OSError, match="ordinary|directory"):
            open_ordinary(tmp_path / name)
    (tmp_path / "here.json").write_text("{}")
    (tmp_path / "link.json").symlink_to(tmp_path / "here.json")
    assert read_json(tmp_path / "link.json") == {}


def test_numbers_that_no_float_holds_are_infinite_and_never_an_error() -> None:
    long, longer = "1" + 400 * "0", "-1" + 5000 * "0"
    assert parse_object(f'{{"a": {long}, "b": 3, "c": {longer}}}') == {"a": math.inf, "b": 3, "c": -math.inf}
    assert finite(math.inf) is None
    assert finite(math.nan) is None
    assert finite(True) is None
    assert finite(3) == 3.0


@given(st.text())
def test_what_is_printed_steers_no_terminal(text: str) -> None:
    assert printable(text).isprintable()
    assert printable("Gr\u00f6\u00dfe 1") == "Gr\u00f6\u00dfe 1"
    assert len(printable(text * 100, 50)) <= 53
