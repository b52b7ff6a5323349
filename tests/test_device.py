"""Which device and precision a run uses, and what it says of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny

from vidapp import device as device_module
from vidapp.device import Fastest, autocast, cpu_threads, forget_memory, matrix_rate, memory_mib, pick_device, pick_precision, write_rate
from vidapp.preflight import preflight

CPU = torch.device("cpu")


def test_auto_takes_the_fastest_kind_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == CPU


def test_a_device_that_is_not_there_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="run.device is 'cuda' but this machine has none that torch can use: set run.device=auto"):
        pick_device("cuda")
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize(("speed_up", "expected"), [(2.0, "bf16"), (1.0, "float32"), (0.1, "float32")])
def test_auto_precision_on_a_cpu_is_the_one_measured_faster(monkeypatch: pytest.MonkeyPatch, speed_up: float, expected: str) -> None:
    monkeypatch.setattr(device_module, "matrix_rate", lambda dtype, width: speed_up if dtype == torch.bfloat16 else 1.0)
    assert pick_precision(tiny(recipe__precision="auto"), CPU) == expected


def test_the_choice_of_a_precision_is_the_same_when_it_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = iter([2.0, 1.0, 0.1, 3.0])  # other work begins behind the second
    monkeypatch.setattr(device_module, "matrix_rate", lambda dtype, width: next(rates))
    config = tiny(recipe__precision="auto")
    assert [pick_precision(config, CPU), preflight(config).precision, pick_precision(config, CPU)] == ["bf16"] * 3
    assert next(rates) == 0.1


def test_of_a_wide_model_a_product_is_measured_that_takes_no_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[int] = []
    monkeypatch.setattr(device_module, "matrix_rate", lambda dtype, width: widths.append(width) or 1.0)
    pick_precision(tiny(recipe__precision="auto", model__width=4096), CPU)
    assert widths == [512, 512]


def test_a_precision_asked_for_is_used_without_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "matrix_rate", None)
    assert pick_precision(tiny(recipe__precision="bf16"), CPU) == "bf16"
    assert pick_precision(tiny(recipe__precision="float32"), CPU) == "float32"


def test_a_rate_is_the_fastest_seen_and_not_measured_again_at_once() -> None:
    speeds = iter([2.0, 5.0, 1.0])

    def measure(what: str) -> float:
        return next(speeds)

    lasting, forgetful = Fastest(), Fastest(fresh_s=-1)
    assert [lasting(measure, "a"), lasting(measure, "a")] == [2.0, 2.0]
    assert [forgetful(measure, "a"), forgetful(measure, "a")] == [5.0, 5.0]
    assert next(speeds, None) is None


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with cpu_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        with cpu_threads(0):
            assert torch.get_num_threads() == before + 1
    with pytest.raises(ValueError, match="went wrong"), cpu_threads(before + 1):
        raise ValueError("went wrong")
    assert torch.get_num_threads() == before


def test_a_rate_belongs_to_the_number_of_threads_that_it_was_measured_with() -> None:
    def measure() -> float:
        return float(torch.get_num_threads())

    rates, before = Fastest(), torch.get_num_threads()
    assert rates(measure) == before
    with cpu_threads(before + 1):
        assert rates(measure) == before + 1


def test_autocast_is_on_for_bf16_alone() -> None:
    for precision, on in (("bf16", True), ("float32", False)):
        with autocast(CPU, precision):
            assert torch.is_autocast_enabled("cpu") == on


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="this system cannot begin anew")
def test_memory_that_was_taken_before_can_be_forgotten() -> None:
    large = np.ones(256 * 2**20, np.uint8)
    assert memory_mib(CPU) > 256
    most = memory_mib(CPU)
    del large
    forget_memory(CPU)
    assert memory_mib(CPU) < most - 128


@pytest.mark.parametrize("begun", [True, False])
def test_a_gpu_forgets_what_was_taken_and_is_not_asked_to_before_it_is_in_use(begun: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: begun)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", forgotten.append)
    forget_memory(torch.device("cuda"))
    assert forgotten == [torch.device("cuda")] * begun


def test_rates_and_memory_are_plausible() -> None:
    assert 1e6 < matrix_rate(torch.float32, 16, rows=64, seconds=0.001) < 1e15
    assert 1e6 < write_rate(seconds=0.001) < 1e13
    assert 10 < memory_mib(CPU) < 1e6
