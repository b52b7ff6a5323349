"""A run is alive when its process is: pid and start time on the same boot, a moving heartbeat elsewhere."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidapp import liveness
from vidapp.liveness import HEARTBEAT_LIMIT_S, SLOWEST, HeartbeatWatch, Process, process_alive, process_start, run_alive, this_process

RUN = Path("/runs/a")


def status(process: Process, heartbeat: float | None = None) -> dict[str, object]:
    return {**process.to_dict(), "heartbeat": time.time() if heartbeat is None else heartbeat}


def test_this_process_is_alive_and_survives_json() -> None:
    here = this_process()
    assert process_alive(here)
    assert Process.from_dict(here.to_dict()) == here


def test_a_killed_process_is_dead_even_before_its_parent_asks() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        process = replace(this_process(), pid=child.pid, start=process_start(child.pid))
        assert process_alive(process)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie now: gone, but not yet asked for
        assert not process_alive(process)
        assert not process_alive(replace(process, start=None))
    assert not process_alive(process)


def test_a_pid_that_was_given_out_again_is_another_process() -> None:
    here = this_process()
    assert here.start is not None
    assert not process_alive(replace(here, start=here.start - 100))
    assert not run_alive(RUN, status(replace(here, start=here.start - 100)), own=True)


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1, 2**70])
def test_a_pid_that_cannot_be_is_dead(pid: int) -> None:
    assert not process_alive(replace(this_process(), pid=pid))
    assert not process_alive(replace(this_process(), pid=pid, start=None))


def test_here_the_process_decides_however_old_or_fresh_the_heartbeat() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        other = replace(this_process(), pid=child.pid, start=process_start(child.pid))
        assert run_alive(RUN, status(other, heartbeat=0.0), own=False)
        child.kill()
        child.wait()
        assert not run_alive(RUN, status(other), own=False)


def test_in_this_process_only_an_open_writer_is_alive() -> None:
    assert run_alive(RUN, status(this_process()), own=True)
    assert not run_alive(RUN, status(this_process()), own=False)


def test_elsewhere_the_age_of_the_heartbeat_decides() -> None:
    there = replace(this_process(), host="another-host", boot="another-boot")
    assert run_alive(Path("/runs/fresh"), status(there), own=False)
    assert not run_alive(Path("/runs/old"), status(there, time.time() - HEARTBEAT_LIMIT_S - 1), own=False)


def test_after_a_restart_of_this_machine_nothing_from_before_is_alive() -> None:
    before = replace(this_process(), boot="the boot before")
    assert not run_alive(Path("/runs/b"), status(before, liveness.machine_started() - 1), own=False)


def test_a_container_beside_this_one_is_judged_by_its_heartbeat() -> None:
    beside = replace(this_process(), namespace="pid:[1]", pid=os.getpid(), start=1.0)
    assert run_alive(Path("/runs/c"), status(beside), own=False)
    assert not run_alive(Path("/runs/d"), status(beside, time.time() - HEARTBEAT_LIMIT_S - 1), own=False)


def test_a_writer_that_is_slow_between_signs_of_life_is_given_as_much_time() -> None:
    there = replace(this_process(), host="another-host", boot="another-boot")
    silent = status(there, time.time() - 2 * HEARTBEAT_LIMIT_S)
    assert not run_alive(Path("/runs/e"), silent, own=False)
    assert run_alive(Path("/runs/f"), {**silent, SLOWEST: HEARTBEAT_LIMIT_S}, own=False)
    assert not run_alive(Path("/runs/g"), {**status(there, 1.0), SLOWEST: 1e300}, own=False)
    assert not run_alive(Path("/runs/h"), {**silent, SLOWEST: "long"}, own=False)


@pytest.mark.parametrize("heartbeat", ["now", None, True, float("nan"), [1]])
def test_a_heartbeat_that_is_no_time_is_no_sign_of_life(heartbeat: object) -> None:
    there = replace(this_process(), host="another-host").to_dict()
    assert not run_alive(RUN, {**there, "heartbeat": heartbeat}, own=False)


def test_a_status_of_other_software_needs_host_boot_and_pid_only() -> None:
    here = this_process()
    assert process_alive(Process.from_dict({"host": here.host, "boot_id": here.boot, "pid": here.pid, "pid_start": here.start}))
    assert not process_alive(Process.from_dict({}))


@given(offset=st.floats(-1e6, 1e6))
def test_a_heartbeat_that_moves_is_alive_whatever_the_clocks_say_and_one_that_stops_is_not(offset: float) -> None:
    watch, now = HeartbeatWatch(limit_s=60), 1e9
    watch.alive(RUN, now + offset, now=now, monotonic=0)
    for second in range(2, 200, 2):
        assert watch.alive(RUN, now + second + offset, now=now + second, monotonic=second)
    assert watch.alive(RUN, now + 198 + offset, now=now + 250, monotonic=250)
    assert not watch.alive(RUN, now + 198 + offset, now=now + 260, monotonic=260)


def test_a_heartbeat_that_never_moves_dies_even_when_its_clock_is_ahead() -> None:
    watch = HeartbeatWatch(limit_s=60)
    assert watch.alive(RUN, 1050, now=1000, monotonic=0)
    assert not watch.alive(RUN, 1050, now=1061, monotonic=61)


def test_a_clock_that_jumps_while_watching_kills_nothing() -> None:
    watch = HeartbeatWatch(limit_s=60)
    watch.alive(RUN, 1000, now=1000, monotonic=0)
    assert watch.alive(RUN, 1002, now=1002, monotonic=2)
    assert watch.alive(RUN, 1002, now=9e9, monotonic=4)
