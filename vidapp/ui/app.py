"""The assembler: tabs side by side, what leads from one to another, how the page is served."""

import os
import socket
from dataclasses import dataclass
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from .. import jobs
from ..failures import STRANGERS
from . import api, configure, data_tab, debug, drafts, generate, links, new_run, run_table, runs_tab, session, strip, theme, tokens, train
from .lost_streams import lost_streams_unsaid
from .messages import guarded
from .uploads import RoomForUploads
from .wiring import AGAIN, PRIVATE, QUICK, text_of

TITLE = "vidapp"
SUBTITLE = "Train, debug and sample discrete-token video prediction models"
QUEUE = 512  # calls that may wait, of all visitors: one who presses again and again must not keep the others out
SESSIONS = 200  # kept in memory; Gradio drops them by number only
CACHE_S = (3600, 24 * 3600)  # looked through every hour for files older than a day
LARGEST_UPLOAD, LARGEST_OF_STRANGERS = "1gb", "200mb"


@dataclass(frozen=True)
class Serving:
    """How the page is served: VIDAPP_HOST, VIDAPP_PORT, VIDAPP_AUTH and VIDAPP_READONLY."""

    host: str = "127.0.0.1"
    port: int = 7860
    auth: tuple[str, str] | None = None
    readonly: bool = False

    @staticmethod
    def from_environment() -> "Serving":
        """ValueError where a variable holds what cannot be meant."""
        space = bool(os.environ.get("SPACE_ID"))
        return Serving(
            host=os.environ.get("VIDAPP_HOST") or ("0.0.0.0" if space else "127.0.0.1"),
            port=port_of(os.environ.get("VIDAPP_PORT") or "7860"),
            auth=auth_of(os.environ.get("VIDAPP_AUTH") or ""),
            readonly=truth_of("VIDAPP_READONLY", os.environ.get("VIDAPP_READONLY") or ("1" if space else "0")),
        )


def port_of(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise ValueError(f"VIDAPP_PORT is {text!r}: use a number from 1 to 65535")
    return int(text)


def auth_of(text: str) -> tuple[str, str] | None:
    user, colon, password = text.partition(":")
    if not text:
        return None
    if not (user and colon and password):
        raise ValueError("VIDAPP_AUTH must read user:password")  # its content is no business of a log
    return user, password


def truth_of(name: str, text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.lower() not in known:
        raise ValueError(f"{name} is {text!r}: use 1 or 0")
    return known[text.lower()]


def build(*, readonly: bool = False) -> gr.Blocks:
    """The whole page. With `readonly`, handlers that change state are not registered."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=CACHE_S, fill_width=True) as page:
        api.register(readonly=readonly)  # first: the events of the page must not take the names
        gr.HTML(f"<h1>{TITLE}</h1><p>{SUBTITLE}</p>", elem_id="heading", apply_default_css=False, padding=False)
        status = strip.strip(readonly=readonly, elem_id="status-strip", elem_classes=["snug"])
        draft = drafts.build()
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as tabs:
            with gr.Tab("Generate", id="generate") as generate_place:
                generating = generate.build()
            with gr.Tab("Tokens", id="tokens") as tokens_place:
                looking = tokens.build()
            with gr.Tab("Data", id="data") as data_place:
                clips = data_tab.build(readonly=readonly)
            with gr.Tab("Configure", id="configure") as configure_place:
                configuring = configure.build(draft, readonly=readonly)
            with gr.Tab("Train", id="train") as train_place:
                training = train.build(draft, readonly=readonly)
            with gr.Tab("Debug", id="debug") as debug_place:
                debugging = debug.build(draft, training.picker, readonly=readonly)
            with gr.Tab("Runs", id="runs") as runs_place:
                runs = runs_tab.build(readonly=readonly)
        join_strip(tabs, status, training)
        join(tabs, generating, training)
        join_runs(tabs, runs, generating, training)
        generate.wire(page, generate_place, generating)
        tokens.wire(page, tokens_place, looking, generating.made, generating.controls.dropped, tabs, generating.screen, generating.decoded)
        data_tab.wire(page, data_place, clips)
        edits = configure.wire(page, configure_place, configuring), train.wire(page, train_place, training)
        join_data(tabs, clips, configuring, training)
        join_draft(tabs, configuring, training, *edits)
        debug.wire(page, debug_place, debugging, training.picker)
        runs_tab.wire(page, runs_place, runs)
        join_debug(tabs, debugging, runs, configuring, training)
    page.queue(max_size=QUEUE)
    return page


def join(tabs: gr.Tabs, generating: generate.GenerateTab, training: train.TrainTab) -> None:
    """What leads from one tab to another: tabs do not know each other."""
    checkpoint, dropped = generating.controls.checkpoint, generating.controls.dropped

    def sample(run: str | None) -> dict[Any, Any]:
        return sampling_from(train.chosen_run(run).name, tabs, checkpoint)

    quick = {**QUICK, **PRIVATE}
    chosen = training.sample.click(guarded(training.message)(sample), training.picker, [training.message, tabs, checkpoint], **quick)
    chosen.success(None, checkpoint, None, js=links.choose_script(), **PRIVATE, **AGAIN)
    pair, found = [checkpoint, dropped], [generating.message, checkpoint]
    for changed in (training.live.state_changed, training.live.runs_changed):
        changed(guarded(generating.message, clears=False)(generating.refresh), pair, found, **AGAIN, **quick)


def sampling_from(run: str, tabs: gr.Tabs, checkpoint: gr.Dropdown) -> dict[Any, Any]:
    """Generate, with the newest checkpoint of that run."""
    choice = session.newest_of_run(run)
    return {tabs: gr.Tabs(selected="generate"), checkpoint: gr.Dropdown(choices=session.checkpoint_choices(), value=choice)}


def join_strip(tabs: gr.Tabs, status: gr.HTML, training: train.TrainTab) -> None:
    """The run that the status strip names. (The tab that the page's address names is opened by the strip's script.)"""
    quick = {**QUICK, **PRIVATE, **AGAIN}

    def open_run(event: gr.EventData) -> dict[Any, Any]:
        return {tabs: gr.Tabs(selected="train"), **training.shown(train.chosen_run(text_of(event, "run")).name)}

    status.open(guarded(training.message)(open_run), None, [tabs, *training.outputs], **quick)


def join_draft(tabs: gr.Tabs, configuring: configure.ConfigureTab, training: train.TrainTab, here: list[Any], there: list[Any]) -> None:
    """One run that is yet to be started, seen from two tabs: what is edited `here` (Configure) shows there (Train), and back."""
    quick = {**QUICK, **PRIVATE, **AGAIN}
    if training.new is None or configuring.go is None:
        return

    def go_on(name: str, *values: Any) -> dict[Any, Any]:
        configuring.refuse(name, *values)
        return {tabs: gr.Tabs(selected="train")}

    configuring.go.click(guarded(configuring.message)(go_on), configuring.form, [configuring.message, tabs], **quick)
    training.new.configure.click(lambda: gr.Tabs(selected="configure"), None, tabs, **quick)
    for edited in here:
        follow(edited, configuring.draft, training.new, quick)
    for edited in there:
        follow(edited, configuring.draft, configuring, quick)


def join_data(tabs: gr.Tabs, clips: data_tab.DataTab, configuring: configure.ConfigureTab, training: train.TrainTab) -> None:
    """The new run takes over the clips that Data shows, with their size, colours and length."""
    if clips.train is None or training.new is None:
        return
    quick = {**QUICK, **PRIVATE, **AGAIN}

    def take(held: Any, *values: Any) -> dict[Any, Any]:
        return {tabs: gr.Tabs(selected="train"), configuring.draft: drafts.Draft.held(held).edited(clips.settings(*values)).value}

    given, outputs = [configuring.draft, *clips.inputs], [clips.message, tabs, configuring.draft]
    taken = clips.train.click(guarded(clips.message)(take), given, outputs, **quick)
    for tab in (configuring, training.new):
        follow(taken, configuring.draft, tab, quick)


def follow(changed: Any, draft: gr.BrowserState, tab: configure.ConfigureTab | new_run.NewRun, settings: dict[str, Any]) -> None:
    """That tab shows the draft that was changed elsewhere; what it said was of another one."""

    def show(held: Any) -> dict[Any, Any]:
        return {tab.message: "", **tab.follow(held)}

    changed.then(show, draft, [tab.message, *tab.form], **settings)


def join_runs(tabs: gr.Tabs, runs: runs_tab.RunsTab, generating: generate.GenerateTab, training: train.TrainTab) -> None:
    """From the table of runs to the tab where something can be done with the one chosen."""
    checkpoint = generating.controls.checkpoint

    def follow(value: Any) -> dict[Any, Any]:
        return {tabs: gr.Tabs(selected="train"), **training.shown(first_chosen(value))}

    def sample(value: Any) -> dict[Any, Any]:
        return sampling_from(first_chosen(value), tabs, checkpoint)

    quick, guard = {**QUICK, **PRIVATE}, guarded(runs.message)
    runs.open.click(guard(follow), runs.table, [runs.message, tabs, *training.outputs], **quick)
    chosen = runs.sample.click(guard(sample), runs.table, [runs.message, tabs, checkpoint], **quick)
    chosen.success(None, checkpoint, None, js=links.choose_script(), **PRIVATE, **AGAIN)


def first_chosen(value: Any) -> str:
    """The first run that is chosen in the table; ValueError where there is none."""
    return train.known_name(next(iter(run_table.chosen_of(value)), None))


def join_debug(
    tabs: gr.Tabs, debugging: debug.DebugTab, runs: runs_tab.RunsTab, configuring: configure.ConfigureTab, training: train.TrainTab
) -> None:
    """A run of the table is looked at in Debug; what Debug suggests becomes the new run."""
    quick = {**QUICK, **PRIVATE, **AGAIN}

    def look_at(value: Any, picked: str | None) -> dict[Any, Any]:
        return {tabs: gr.Tabs(selected="debug"), **debugging.look_at(first_chosen(value), picked=picked)}

    def find_cause(picked: str | None, event: gr.EventData) -> dict[Any, Any]:
        asked = train.known_name(text_of(event, "run"))
        return {tabs: gr.Tabs(selected="debug"), **debugging.look_at(asked, text_of(event, "symptom"), picked=picked)}

    def take(event: gr.EventData) -> dict[Any, Any]:
        return {tabs: gr.Tabs(selected="train"), debugging.draft: debugging.advised(text_of(event, "key")).value}

    looked, picker = [tabs, debugging.subject, debugging.seen], training.picker
    runs.debug.click(guarded(runs.message)(look_at), [runs.table, picker], [runs.message, *looked], **quick)
    symptom = [debugging.asking.symptom] if debugging.asking else []
    training.live.find_cause(guarded(training.message)(find_cause), picker, [training.message, *looked, *symptom], **quick)
    if debugging.asking is None or training.new is None:
        return
    taken = debugging.report.train_with(guarded(debugging.message)(take), None, [debugging.message, tabs, debugging.draft], **quick)
    for tab in (configuring, training.new):
        follow(taken, configuring.draft, tab, quick)


def refuse_taken(host: str, port: int) -> None:
    """ValueError where something else listens there: Gradio's own message names variables that are not ours."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ValueError(f"port {port} is taken or not allowed on {host} ({error.strerror}): set VIDAPP_PORT to another one") from error


def head() -> str:
    """What the page's head gets. Not by css=: Gradio rewrites its selectors."""
    return f"<style>{theme.static('page.css')}{theme.static('forms.css')}</style><script>{theme.static('keys.js')}</script>"


def launch(serving: Serving, **settings: Any) -> gr.Blocks:
    """Build the page and serve it until the process is ended."""
    refuse_taken(serving.host, serving.port)
    if serving.readonly:
        os.environ[STRANGERS] = "1"
    page = build(readonly=serving.readonly)
    if not serving.readonly:
        jobs.start_queued()  # runs that waited when the app was last ended
    lost_streams_unsaid()
    host = "127.0.0.1" if serving.host == "0.0.0.0" else serving.host
    print(f"vidapp opens at http://{host}:{serving.port}", flush=True)
    page.launch(
        quiet=True,
        server_name=serving.host,
        server_port=serving.port,
        auth=serving.auth,
        theme=theme.theme(),
        head=head(),
        share=False,
        ssr_mode=False,
        enable_monitoring=False,
        run_history=False,
        footer_links=["api", "settings"],
        i18n=gr.I18n(en={"common.complete": "done"}),  # Gradio's own page reads the key out to a screen reader, and has no word for it
        max_file_size=LARGEST_OF_STRANGERS if serving.readonly else LARGEST_UPLOAD,
        state_session_capacity=SESSIONS,
        app_kwargs={"middleware": [Middleware(RoomForUploads)]},
        **settings,
    )
    return page
