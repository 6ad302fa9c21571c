"""The log of a process that serves or works: lines for people, or JSON for machines, on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from structlog.typing import Processor

_bound: ContextVar[Mapping[str, str]] = ContextVar("bound", default={})  # noqa: B039 - it is never changed


@contextmanager
def bound(**fields: str) -> Iterator[None]:
    """Inside, every line of this thread or coroutine has these fields, whoever writes it."""
    before = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(before)


def configure(level: str, form: str) -> None:
    """Have every logger of the process write lines of this level and above, as `console` or `json`.

    What is `bound`, and what loggers are given as `extra`, becomes fields of a line.
    """
    import structlog  # only processes that serve or work pay for it

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                _with_bound,
                structlog.stdlib.ExtraAdder(),
                _plain,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendered(form)],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)


def _rendered(form: str) -> Sequence[Processor]:
    import structlog

    if form == "json":
        return structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)
    # Plain, because the traceback that is the default shows local variables, and with them secrets.
    plain = structlog.dev.plain_traceback
    return (structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain),)


def _with_bound(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {**_bound.get(), **event}


def _plain(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Uvicorn sends its messages a second time, with colours."""
    event.pop("color_message", None)
    return event
