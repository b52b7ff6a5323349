"""Every scope of the bench runs and gives the figures that are asked of it. How large they are is no business of a test."""

import importlib
import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from shell import Shell

from vidapp.bench import growth, presets, profile, sample, start
from vidapp.bench.effort import TOY, Effort, repeat
from vidapp.bench.scopes import SCOPES, join, run, run_one
from vidapp.cli import main
from vidapp.commands.bench import HEADLINES, TABLES
from vidapp.peak import peak_mib_of
from vidapp.run_writer import RunWriter

PRODUCTS = next(iter(profile.KINDS))
ASKED = {
    "train": {"tokens_per_second", "model_flops_utilization"},
    "sample": {"seconds_per_clip", "speedup_vs_recompute"},
    "tokenize": {"frames_per_second"},
    "data": {"clips_per_second"},
    "ui": {"tick_bytes", "tick_milliseconds", "page_share_of_processor", "step_with_pages_over_without"},
    "start": {"seconds_to_page"},
}


def measured(scope: str) -> dict[str, object]:
    """The figures of a scope at toy size, in this process."""
    found: dict[str, object] = importlib.import_module(SCOPES[scope]).measure(TOY)
    return found


def numbers(value: object) -> list[float]:
    if isinstance(value, dict):
        return [number for part in value.values() for number in numbers(part)]
    return [float(value)] if isinstance(value, (int, float)) else []


@pytest.mark.parametrize("scope", ["train", "sample", "tokenize", "data", "ui"])
def test_a_scope_gives_its_figures_with_the_machines_limit_beside_them(scope: str) -> None:
    found = measured(scope)
    assert set(found) >= ASKED[scope]
    assert set(found) >= {name for pair in HEADLINES[scope].items() for name in pair if name} - {"peak_memory_mib"}
    assert all(math.isfinite(number) for number in numbers(found))
    assert all(number > 0 for number in numbers({key: value for key, value in found.items() if not key.startswith("page_share")}))
    json.dumps(found)

    if scope == "train":  # it says what `base` costs over `small`
        assert {"parameters", "flops", "step_time", "step_time_over_flops"} <= set(found["base_over_small"])
        assert found["base_over_small"]["flops"] > 1
    if scope == "sample":  # cached and recomputed give the same
        assert found["tokens_alike"] == 1.0


def test_half_precision_is_told_by_how_far_it_moves_what_the_bundled_model_believes() -> None:
    found = sample.half_precision(torch.device("cpu"))
    assert 0 < found["bf16_total_variation"] < 0.01
    assert 0.95 < found["bf16_likeliest_alike"] <= 1


def test_a_tick_sends_what_is_new_and_no_more() -> None:
    from vidapp.ui import bench

    with RunWriter.create(bench.RUN, TOY.config("debug")) as run_written:
        bench.log(run_written, 0, 2000)
        found = bench.watch(run_written, 2000)
    assert found["tick_bytes"] < found["first_bytes"] / 5


def test_the_page_is_timed_until_it_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A stand-in for the app: what is measured of the real one is nothing that a test could judge."""
    app = tmp_path / "app.py"
    app.write_text(
        "import http.server, os\n"
        "http.server.HTTPServer(('127.0.0.1', int(os.environ['VIDAPP_PORT'])), http.server.SimpleHTTPRequestHandler).serve_forever()\n"
    )
    monkeypatch.setattr(start, "APP", app)
    seconds, peak = start.page_seconds()
    assert seconds > 0
    assert peak is None or peak > 1


def test_a_page_that_does_not_come_up_is_told_in_its_own_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text("raise SystemExit('no such port')")
    monkeypatch.setattr(start, "APP", app)
    with pytest.raises(ValueError, match="did not come up: no such port"):
        start.page_seconds()


def test_a_scope_runs_in_a_process_of_its_own_with_its_own_peak_memory(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "data", "--toy", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"data"}
    assert 1 < found["data"]["peak_memory_mib"] < (peak_mib_of() or math.inf)


def test_it_can_be_read_without_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidapp.bench.scopes.run_one", lambda name, effort: {**measured(name), "peak_memory_mib": 1.0})
    assert main(["bench", "data", "--toy"]) == 0
    assert "data.clips_per_second" in capsys.readouterr().out


def test_what_cannot_be_measured_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(SCOPES, "data", "vidapp.bench.no_such_scope")
    assert main(["bench", "data", "--toy"]) == 2
    assert "no_such_scope" in capsys.readouterr().err
    with pytest.raises(ValueError, match="unknown scope 'speed'"):
        run_one("speed", TOY)


def test_scopes_together_say_whether_training_waits_for_clips() -> None:
    found = join({"train": {"batch_size": 16, "seconds_per_step": 2.0}, "data": {"clips_per_second": 800.0}})
    assert found["data"]["share_of_training_step"] == pytest.approx(0.01)
    assert run([], TOY) == {}


def test_scopes_of_the_command_are_those_there_are() -> None:
    assert [*HEADLINES, *TABLES] == list(SCOPES)
    assert list(HEADLINES) == list(ASKED)


def test_a_machine_without_gradio_measures_the_rest_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured: list[str] = []
    monkeypatch.setattr("vidapp.commands.bench.find_spec", lambda name: None)
    monkeypatch.setattr("vidapp.bench.scopes.run", lambda names, effort, begun: measured.extend(names) or {})
    assert main(["bench", "--json"]) == 0
    assert set(HEADLINES) - set(measured) == {"ui", "start"}
    assert "gradio is not installed: ui and start are left out." in capsys.readouterr().err


@pytest.mark.parametrize(("scope", "sizes"), [("presets", 4), ("growth", 10)])
def test_a_table_has_a_row_for_each_size_with_time_arithmetic_and_utilization(
    scope: str, sizes: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(presets, "PRESETS", ("debug",))
    monkeypatch.setattr(growth, "AXES", {"frames": (2, 4), "grid": (4,), "width": (48, 96)})
    monkeypatch.setattr(growth, "preflight", lambda config: SimpleNamespace(memory=0))  # all of it fits
    found = measured(scope)
    assert len(found["rows"]) == sizes
    assert all(math.isfinite(number) and number > 0 for row in found["rows"] for number in numbers(row))
    monkeypatch.setattr("vidapp.bench.scopes.run_one", lambda name, effort: found)
    page = tmp_path / "page.md"
    page.write_text(f"# Costs\n<!-- bench-{scope}:begin -->\n<!-- bench-{scope}:end -->\n")
    assert main(["bench", scope, "--toy", "--readme", str(page)]) == 0
    assert page.read_text().count("\n| ") == sizes + 2


def test_a_profile_says_where_all_the_time_goes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = measured("profile")
    for name in ("small", "base", "sampling"):
        assert sum(row[name] for row in found["rows"]) == pytest.approx(1)
        assert all(row[name] > 0 for row in found["rows"] if row["kind"] in (PRODUCTS, "softmax", "layer norm", profile.REST))
    monkeypatch.setattr("vidapp.bench.scopes.run_one", lambda name, effort: found)
    page = tmp_path / "page.md"
    page.write_text("<!-- bench-profile:begin -->\n<!-- bench-profile:end -->\n")
    assert main(["bench", "profile", "--toy", "--readme", str(page)]) == 0
    assert page.read_text().count("%") == 3 * (len(profile.KINDS) + 1)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::mm", PRODUCTS),
        ("aten::addmm_", PRODUCTS),
        ("aten::bmm", PRODUCTS),
        ("aten::_softmax_backward_data", "softmax"),
        ("aten::_log_softmax", "loss, choice of tokens"),
        ("aten::mul", profile.REST),
        ("mm", profile.REST),
    ],
)
def test_an_operation_is_of_one_kind(name: str, kind: str) -> None:
    assert profile.kind_of(name) == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nvjet_sm90_tst_128x256_64x4_1x2_h_bz_coopA_TNN", PRODUCTS),
        ("fmha_cutlassB_bf16_aligned_64x64_k64_dropout_sm80(PyTorchMemEffAttention::AttentionBackwardKernel)", PRODUCTS),
        ("void at::native::(anonymous namespace)::GammaBetaBackwardCUDAKernelTemplate<float, float, 32u>", "layer norm"),
        ("void at::native::vectorized_elementwise_kernel<8, at::native::bfloat16_copy_kernel_cuda>", "copies into another order or type"),
        ("sm80_xmma_fprop_implicit_gemm_f32f32_f32f32_f32_nchwkcrs_nchw", "convolutions of the tokenizer"),
        ("void at::native::vectorized_elementwise_kernel<8, at::native::CUDAFunctor_add<c10::BFloat16> >", profile.REST),
    ],
)
def test_a_kernel_is_of_one_kind(name: str, kind: str) -> None:
    assert profile.kind_of_kernel(name) == kind


def test_a_readme_is_for_the_tables_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "data", "--toy", "--readme", "README.md"]) == 2
    assert "name one of them" in capsys.readouterr().err


@pytest.mark.parametrize(("page", "said"), [("/no/such/page.md", "No such file or directory"), ("LICENSE", "no place for the table")])
def test_a_page_that_cannot_take_the_table_is_refused_before_anything_is_measured(
    page: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidapp.bench.scopes.run_one", lambda name, effort: pytest.fail(f"{name} was measured"))
    refused = Shell(capsys).refuses("bench", "profile", "--readme", page)
    assert page in refused
    assert said in refused


def test_nothing_is_counted_of_the_first_run() -> None:
    calls: list[int] = []
    assert len(repeat(lambda: calls.append(1), 0.0, at_least=4)) == 4
    assert len(calls) == 5


def test_an_effort_survives_the_way_to_another_process() -> None:
    assert Effort.from_json(TOY.to_json()) == TOY


def test_the_command_loads_no_torch() -> None:
    """It would count in the peak memory of what it starts, and make --help slow."""
    code = "import sys, vidapp.cli, vidapp.bench.scopes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
