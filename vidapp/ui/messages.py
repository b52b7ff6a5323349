"""What a person is told when something cannot be done: a toast, and a line where they are looking that stays."""

import functools
import html
import inspect
import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
from gradio.context import LocalContext

from ..failures import describe_failure, is_known

PLAIN_WORD = re.compile(r"[a-z]+[ ,:]")  # not the name of a file or a setting
SAME_S = 4.0  # what a page is told twice within this is one toast: several events may come to the same
log = logging.getLogger("vidapp")


class Toasts:
    """When each page was last told what; bounded. Safe to use from several threads."""

    def __init__(self, held: int = 500) -> None:
        self.held = held
        self.lock = threading.Lock()
        self.told: OrderedDict[tuple[str, str], float] = OrderedDict()

    def repeats(self, page: str, text: str, now: float) -> bool:
        """Whether the page was told just that a moment ago, at `now` in seconds; otherwise it counts as told now."""
        with self.lock:
            if now - self.told.get((page, text), -SAME_S) < SAME_S:
                return True
            self.told.pop((page, text), None)
            self.told[page, text] = now
            while len(self.told) > self.held:
                self.told.popitem(last=False)
        return False


TOASTS = Toasts()


def message_box(**settings: Any) -> gr.HTML:
    """The place for one line under the controls it is about; empty until there is something to say."""
    return gr.HTML("", elem_classes=["message-box"], apply_default_css=False, padding=False, **settings)


def said(text: str, tone: str = "info") -> str:
    """A line for a message box, `tone` info, good or bad. Text is escaped: it may hold what a person typed."""
    role = "alert" if tone == "bad" else "status"
    return f'<div class="message {tone}" role="{role}">{html.escape(text)}</div>' if text else ""


def sentence(error: BaseException) -> str:
    """What went wrong as one sentence for a person; what only a bug can do is logged with its traceback."""
    text = describe_failure(error)
    if not is_known(error):
        log.error("unexpected error in the page", exc_info=error)
        return f"This should not have happened ({text}). The log of the app has the details; trying again does no harm."
    text = " ".join(text.split())
    return text[:1].upper() + text[1:] if PLAIN_WORD.match(text) else text


def told(error: BaseException) -> str:
    """Show an error as a toast, once; returns the line for a message box."""
    text = sentence(error)
    request = LocalContext.request.get(None)
    if request is None or not TOASTS.repeats(str(request.session_hash), text, time.monotonic()):
        gr.Warning(html.escape(text))  # Gradio shows it as HTML, and it may hold what a stranger wrote into a link
    return said(text, "bad")


def noted(text: str) -> str:
    """Show what is good to know as a toast as well, where what follows may clear the line; returns the line for a message box."""
    if text:
        gr.Info(html.escape(text))
    return said(text)


def guarded(box: gr.HTML, *, clears: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates a handler that returns (or yields) {component: update}: an error becomes a toast and a line in `box`.

    `box` must be among the event's outputs. Nothing else on the page changes; the line is cleared by the next success, unless
    it is of a handler that no person has asked for (`clears=False`).
    """
    calm: dict[Any, Any] = {box: ""} if clears else {}

    def decorate(handler: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isgeneratorfunction(handler):

            @functools.wraps(handler)
            def yielding(*values: Any) -> Iterator[dict[Any, Any]]:
                said_something = False
                try:
                    for update in handler(*values):
                        said_something = True
                        yield {**calm, **update} or {box: gr.skip()}  # an empty dictionary would be taken for a value
                except gr.Error:
                    raise
                except Exception as error:
                    yield {box: told(error)}
                    return
                if not said_something:  # Gradio would empty every output of a generator that ends without a word
                    yield {box: gr.skip()}

            return yielding

        @functools.wraps(handler)
        def returning(*values: Any) -> dict[Any, Any]:
            try:
                return {**calm, **handler(*values)} or {box: gr.skip()}  # an empty dictionary would be taken for a value
            except gr.Error:
                raise
            except Exception as error:
                return {box: told(error)}

        return returning

    return decorate


def api_guarded(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates an API endpoint: an error reaches the caller as one sentence, without a traceback in the log."""

    def refusal(error: Exception) -> gr.Error:
        return error if isinstance(error, gr.Error) else gr.Error(sentence(error), print_exception=False)

    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def yielding(*values: Any, **named: Any) -> Iterator[Any]:
            try:
                yield from handler(*values, **named)
            except Exception as error:
                raise refusal(error) from None

        return yielding

    @functools.wraps(handler)
    def returning(*values: Any, **named: Any) -> Any:
        try:
            return handler(*values, **named)
        except Exception as error:
            raise refusal(error) from None

    return returning
