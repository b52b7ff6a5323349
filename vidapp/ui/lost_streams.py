"""The end of a page's streams, as the log of the server sees it.

When a page is closed, gradio's streams to it end one by one, and each takes the session's messages away (6.31, `sse_stream` in its routes).
Those that come after the first fail, with a traceback each; to the page, which is gone, it means nothing.
"""

import logging
from collections.abc import Iterator
from types import TracebackType

SERVER_LOG = "uvicorn.error"


def lost_streams_unsaid() -> None:
    """From now on the server's log does not tell of them; once or more makes no difference."""
    logging.getLogger(SERVER_LOG).addFilter(worth_saying)


def worth_saying(record: logging.LogRecord) -> bool:
    return not (record.exc_info and is_lost_stream(record.exc_info[1]))


def is_lost_stream(error: BaseException | None) -> bool:
    """Whether this came about because a stream found nothing any more of the session it is for."""
    return any(names_the_session(one) and raised_by(one) == ("gradio.routes", "sse_stream") for one in behind(error))


def names_the_session(error: BaseException) -> bool:
    return isinstance(error, KeyError) or getattr(error, "status_code", None) == 404


def behind(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def raised_by(error: BaseException) -> tuple[str, str]:
    """The module and the function whose own line raised it."""
    trace = error.__traceback__
    if trace is None:
        return "", ""
    frame = last(trace).tb_frame
    return str(frame.f_globals.get("__name__")), frame.f_code.co_name


def last(trace: TracebackType) -> TracebackType:
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace
