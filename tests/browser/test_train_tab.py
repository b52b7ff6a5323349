"""The Train tab in a real browser: start, watch, steer, sample; runs from elsewhere; what survives a reload."""

import json
import re
import shutil
import time
from pathlib import Path

import pytest
from conftest import press_generate
from PIL import Image
from playwright.sync_api import Browser, Page, Response, expect
from serving import App, served
from tiny_checkpoint import tiny_config

from vidapp.presets import preset
from vidapp.run_writer import HEARTBEAT_EVERY_S
from vidapp.runs import RunWriter, open_run

TRAINING_S = 240_000  # a debug step takes a second where two cores are shared


def open_train(page: Page) -> None:
    page.get_by_role("tab", name="Train").click()
    page.wait_for_selector(".live")


def points(page: Page) -> tuple[int, int]:
    """How many points the loss and the gradient norm have on the page."""
    shown = page.locator(".live")
    return int(shown.get_attribute("data-loss-points") or 0), int(shown.get_attribute("data-gradient-points") or 0)


def wait_for_points(page: Page, count: int) -> None:
    page.wait_for_function(
        "(n) => { const l = document.querySelector('.live')?.dataset; return l && Number(l.lossPoints) >= n && Number(l.gradientPoints) >= n }",
        arg=count,
        timeout=TRAINING_S,
    )


def state(page: Page) -> str:
    return page.locator(".live .badge").inner_text()


def drawn(page: Page, chart: str) -> list[float]:
    """The y values that Plotly holds for the first curve of a chart."""
    return page.evaluate(f"document.querySelector('[data-chart={chart}] .plot').data[0].y")


def shown_steps(page: Page, chart: str) -> list[float]:
    """The first and the last step on the horizontal axis of a chart."""
    return page.evaluate(f"document.querySelector('[data-chart={chart}] .plot')._fullLayout.xaxis.range")


def zoom_in(page: Page, chart: str) -> list[float]:
    """Zoom as a person does, by dragging over the middle of the chart; a redraw may break one drag off."""
    whole = shown_steps(page, chart)
    plot = page.locator(f"[data-chart={chart}] .nsewdrag").first
    for _ in range(5):
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        assert box
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + 0.3 * box["width"], middle)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.6 * box["width"], middle, steps=5)
        page.mouse.up()
        page.wait_for_timeout(1000)
        if (shown := shown_steps(page, chart)) != whole:
            return shown
    raise AssertionError(f"dragging over {chart} does not zoom")


def test_an_empty_house_says_what_to_do(page: Page) -> None:
    open_train(page)
    expect(page.locator(".live .notice")).to_contain_text("Start training")
    expect(page.locator("#stop")).to_be_disabled()


def choose_quick(page: Page, folder: Path) -> None:
    """Bring the settings of a run whose steps are quick and all logged, as a person brings a config."""
    config = preset("debug").replace({"recipe.batch_size": 1, "run.log_every": 1, "run.validation_clips": 1})
    (folder / "quick.json").write_text(config.to_json())
    page.get_by_role("tab", name="Configure").click()
    with page.expect_file_chooser() as chooser:
        page.locator("#configure-import").click()
    chooser.value.set_files(folder / "quick.json")
    expect(page.locator("#configure-chips button[data-key='recipe.batch_size']")).to_be_visible()


def test_a_debug_training_can_be_watched_stopped_and_sampled(page: Page, app: App, tmp_path: Path) -> None:
    choose_quick(page, tmp_path)
    open_train(page)
    expect(page.locator("#train-chips button[data-key='recipe.batch_size']")).to_be_visible()
    page.locator("#run-name input, #run-name textarea").fill("watched")
    page.locator("#start").click()
    expect(page.locator("#start-message .message.good")).to_contain_text("watched")
    expect(page.locator("#run-picker input")).to_have_value(re.compile("watched"))
    wait_for_points(page, 2)
    before = points(page)
    wait_for_points(page, max(before) + 1)
    assert len(drawn(page, "loss")) > before[0]
    assert len(drawn(page, "gradient")) > before[1]
    expect(page.locator(".live .words")).to_contain_text("step")

    page.locator("#pause").click()
    expect(page.locator(".live .badge")).to_have_text("paused")
    expect(page.locator("#pause")).to_have_text("Continue")
    page.locator("#pause").click()
    expect(page.locator(".live .badge")).to_have_text("running")

    page.locator("#stop").click()
    expect(page.locator(".live .badge")).to_have_text("stopped")
    assert open_run("watched", app.runs).status().state == "stopped"
    expect(page.locator("#stop")).to_be_disabled()
    expect(page.locator("#pause")).to_have_text("Continue")

    expect(page.locator("#sample-run")).to_be_enabled()
    page.locator("#sample-run").click()
    expect(page.get_by_role("tab", name="Generate")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#checkpoint input")).to_have_value(re.compile("watched, step"))
    press_generate(page)
    expect(page.locator(".player")).to_have_attribute("data-predicted", "10")
    expect(page.locator("#verdict")).to_contain_text("frame")


def test_a_run_from_a_shell_appears_by_itself_and_zoom_survives_its_updates(page: Page, app: App) -> None:
    open_train(page)
    with RunWriter.create("from-a-shell", tiny_config(), folder=app.runs) as run:
        for step in range(1, 30):
            run.log(line(step))
        run.status("running", 29, 100, phase="transformer")
        choose_run(page, "from-a-shell")
        wait_for_points(page, 29)
        zoomed = zoom_in(page, "loss")
        for step in range(30, 41):
            run.log(line(step))
        run.status("running", 40, 100, phase="transformer")
        wait_for_points(page, 40)
        assert shown_steps(page, "loss") == pytest.approx(zoomed)
        assert drawn(page, "loss")[-1] == pytest.approx(line(40)["loss"], rel=1e-4)
        expect(page.locator(".live .words")).to_contain_text("step 40 of 100")

        page.locator("#stop").click()
        expect(page.locator("#train-message")).to_contain_text("It stops")
        assert wait_for_stop(run)
    expect(page.locator(".live .badge")).to_have_text("stopped")


def test_polls_carry_only_what_is_new(unopened: Page, app: App) -> None:
    page, sizes = unopened, []

    def note(response: Response) -> None:
        if "component_server" in response.url:
            sizes.append(len(response.body()))

    with RunWriter.create("long", tiny_config(), folder=app.runs) as run:
        for step in range(1, 1000):
            run.log(line(step))
        run.status("running", 999, 5000, phase="transformer")
        page.goto(f"{app.url}?tab=train&run=long")
        wait_for_points(page, 999)
        page.on("response", note)
        run.log(line(1000))
        wait_for_points(page, 1000)
        page.wait_for_timeout(1500)
        page.remove_listener("response", note)
        assert sizes
        assert max(sizes) < 4000


def test_a_reload_rebuilds_the_view_from_the_run_folder(page: Page, app: App) -> None:
    with RunWriter.create("reloaded", tiny_config(), folder=app.runs) as run:
        for step in range(1, 12):
            run.log(line(step))
        run.status("running", 11, 100, phase="transformer")
        page.reload()
        open_train(page)
        expect(page.locator("#run-picker input")).to_have_value(re.compile("reloaded"))
        wait_for_points(page, 11)
        assert state(page) == "running"


def test_what_cannot_be_is_refused_beside_the_button_and_nothing_is_lost(page: Page, app: App) -> None:
    with RunWriter.create("taken", tiny_config(), folder=app.runs) as run:
        run.log(line(1))
    before, metrics = sorted(app.runs.glob("*")), (run.path / "metrics.jsonl").read_bytes()
    open_train(page)
    for control, value, said in (
        ("#run-name", "../up", "is not usable"),
        ("#run-name", "taken", "'taken' exists already"),
        ("#run-name", "new", ""),
        ("#new-run-steps", "0", "un.steps is 0"),
        ("#new-run-steps", "", "un.steps is empty"),
    ):
        page.locator(f"{control} input, {control} textarea").first.fill(value)
        if said:
            page.locator("#start").click()
            expect(page.locator("#start-message .message.bad")).to_contain_text(said)
    assert sorted(app.runs.glob("*")) == before
    assert (run.path / "metrics.jsonl").read_bytes() == metrics


def test_a_preset_is_taken_with_what_was_changed(page: Page) -> None:
    open_train(page)
    steps = page.locator("#new-run-steps input")
    expect(steps).to_have_value("1000")
    steps.fill("50")
    steps.press("Tab")
    expect(page.locator("#train-chips button[data-key='run.steps']")).to_be_visible()
    page.locator("#preset input").click()
    page.get_by_role("option", name="base", exact=True).click()
    expect(page.locator("#preset input")).to_have_value("base")
    page.locator("#train-chips button[data-key='run.steps']").click()
    expect(steps).to_have_value("20000")
    page.locator("#to-configure").click()
    expect(page.locator("#set-model-width input")).to_have_value("384")


def test_a_second_run_waits_in_the_queue_and_can_leave_it(page: Page, app: App) -> None:
    open_train(page)
    start(page, "first-in-line")
    expect(page.locator("#start-message .message.good")).to_contain_text("first-in-line has started")
    expect(page.locator(".now-training .run")).to_have_text("first-in-line")
    start(page, "second-in-line")
    expect(page.locator("#start-message .message.good")).to_contain_text("second-in-line waits in the queue")
    expect(page.locator(".live .badge")).to_have_text("queued")
    expect(page.locator("#pause")).to_be_disabled()
    expect(page.locator("#stop")).to_have_text("Take out of the queue")
    page.locator("#stop").click()
    expect(page.locator(".live .badge")).to_have_text("stopped")
    expect(page.locator("#start-message .message")).to_have_count(0)  # it waits no more
    assert open_run("second-in-line", app.runs).status().state == "stopped"
    page.locator(".now-training .stop").click()
    expect(page.locator(".now-training .text")).to_have_text("nothing trains now", timeout=TRAINING_S)
    assert open_run("first-in-line", app.runs).status().state == "stopped"


def test_a_run_that_fails_again_at_once_can_be_continued_again(unopened: Page, app: App) -> None:
    page = unopened
    with RunWriter.create("gone", tiny_config(data__source=str(app.runs / "clips-that-are-gone")), folder=app.runs) as run:
        run.status("failed", 0, 10, error="its clips are gone")
    page.goto(f"{app.url}?tab=train&run=gone")
    expect(page.locator("#pause")).to_have_text("Continue")
    page.locator("#pause").click()
    wait_for_failure(page, app, "gone", 2)
    page.wait_for_timeout(3000)  # by then the answer to the press has come, which shows the buttons of a run that trains
    expect(page.locator("#stop")).to_be_disabled()
    expect(page.locator("#pause")).to_have_text("Continue")
    expect(page.locator("#pause")).to_be_enabled()


def wait_for_failure(page: Page, app: App, name: str, attempt: int) -> None:
    for _ in range(TRAINING_S // 100):
        status = open_run(name, app.runs).status()
        if (status.state, status.attempt) == ("failed", attempt):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"attempt {attempt} of {name} has not failed: {status}")


def test_a_run_that_waits_and_vanishes_makes_way_for_the_one_that_trains_and_nothing_is_said_of_it(page: Page, app: App) -> None:
    open_train(page)
    start(page, "stays")
    expect(page.locator(".live .badge")).to_have_text("running", timeout=TRAINING_S)
    expect(page.locator("#run-picker input")).to_have_value("stays (running)")
    start(page, "vanishes")
    expect(page.locator("#start-message .message.good")).to_contain_text("vanishes waits in the queue")
    expect(page.locator("#run-picker input")).to_have_value("vanishes (queued)")
    shutil.rmtree(app.runs / "vanishes")
    expect(page.locator("#run-picker input")).to_have_value("stays (running)")
    expect(page.locator("#start-message .message")).to_have_count(0)
    page.locator(".now-training .stop").click()
    expect(page.locator(".now-training .text")).to_have_text("nothing trains now", timeout=TRAINING_S)


def test_the_samples_of_a_run_can_be_gone_through_by_training_step(unopened: Page, app: App) -> None:
    page = unopened
    with RunWriter.create("drawn", tiny_config(), folder=app.runs) as run:
        run.log(line(1))
        run.save_sample(50, "strip.png", lambda path: Image.new("L", (64, 8), 50).save(path, format="PNG"), "tokenizer")
        for step in (100, 200):
            run.save_sample(step, "strip.png", lambda path: Image.new("L", (64, 8), 99).save(path, format="PNG"))
        run.status("running", 200, 300, phase="transformer")
        page.goto(f"{app.url}?tab=train&run=drawn")
        caption, slider = page.locator(".sample figcaption span"), page.locator(".sample .strip")
        expect(caption).to_contain_text("Sample at step 200: of each clip the truth above")
        slider.fill("0")
        expect(caption).to_contain_text("Reconstruction by the tokenizer at step 50: of each clip the truth above")
        slider.fill("1")
        expect(caption).to_contain_text("Sample at step 100: of each clip the truth above")


def test_a_sample_asked_for_now_is_drawn_and_appears(unopened: Page, app: App) -> None:
    page = unopened
    with RunWriter.create("asked", tiny_config(), folder=app.runs) as run:
        run.log(line(1))
        run.status("running", 1, 300, phase="transformer")
        page.goto(f"{app.url}?tab=train&run=asked")
        page.locator("#draw").click()
        expect(page.locator("#train-message")).to_contain_text("A sample is drawn")
        assert run.poll_control().sample
        run.save_sample(2, "strip.png", lambda path: Image.new("L", (64, 8), 50).save(path, format="PNG"))
        run.status("running", 2, 300, phase="transformer")
        expect(page.locator(".sample figcaption span")).to_contain_text("Sample at step 2")


def start(page: Page, name: str) -> None:
    page.locator("#run-name input, #run-name textarea").fill(name)
    page.locator("#start").click()


def test_what_stop_above_the_tabs_answers_stays_until_the_state_is_another(page: Page, app: App) -> None:
    with RunWriter.create("strip", tiny_config(), folder=app.runs) as run:
        run.status("running", 1, 300, phase="transformer")
        expect(page.locator(".now-training .run")).to_have_text("strip")
        page.locator(".now-training .stop").click()
        page.wait_for_timeout(1000 * HEARTBEAT_EVERY_S)  # the same state is written no sooner
        run.status("running", 2, 300, phase="transformer")
        expect(page.locator(".now-training .step")).to_have_text("step 2 of 300")  # it has asked again
        expect(page.locator(".now-training .text")).to_have_text("strip stops after the step it is at, and keeps a checkpoint.")
        run.status("paused", 2, 300, phase="transformer")
        expect(page.locator(".now-training .text")).to_have_text("paused")
        run.status("running", 2, 300, phase="transformer")
        expect(page.locator(".now-training .text")).to_have_text("running")


def test_a_read_only_page_shows_runs_and_changes_nothing(browser: Browser, tmp_path: Path) -> None:
    with RunWriter.create("shown", tiny_config(), folder=tmp_path / "runs") as run:
        run.log(line(1))
        run.log(line(2))
    with served(tmp_path, gently=False, VIDAPP_READONLY="1") as app:
        page = browser.new_page()
        page.goto(app.url)
        page.wait_for_selector(".player")
        open_train(page)
        wait_for_points(page, 2)
        assert page.locator("#start, #stop, #pause, #save, #configure-go").count() == 0
        names = json.loads(page.request.get(f"{app.url}gradio_api/info").text())["named_endpoints"]
        assert "/train_start" not in names
        page.close()


def line(step: int) -> dict[str, object]:
    return {
        "step": step,
        "phase": "transformer",
        "time_s": 1000.0 + step,
        "loss": 6.0 / (1 + step / 50),
        "grad_norm": 1.0 + (step % 7) / 10,
    }


def choose_run(page: Page, name: str) -> None:
    """Choose a run once the page has found it by itself."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        page.locator("#run-picker input").click()
        option = page.get_by_role("option", name=re.compile(rf"^{name} \("))
        if option.count():
            option.first.click()
            expect(page.locator("#run-picker input")).to_have_value(re.compile(name))
            return
        page.locator("#run-picker input").blur()
        page.wait_for_timeout(500)
    raise AssertionError(f"run {name} did not appear in the picker")


def wait_for_stop(run: RunWriter, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if run.poll_control().stop:
            return True
        time.sleep(0.1)
    return False
