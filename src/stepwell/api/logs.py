"""The log of a serving process: lines for people, or JSON for machines, on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping, Sequence
from typing import Any

import structlog
from structlog.typing import Processor


def configure(level: str, form: str) -> None:
    """Have every logger of the process write lines of this level and above, as `console` or `json`.

    What loggers are given as `extra`, like the task and the step of a line, becomes fields of it.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                _plain,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendered(form)],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)


def _rendered(form: str) -> Sequence[Processor]:
    if form == "json":
        return structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)
    # Plain, because the traceback that is the default shows local variables, and with them secrets.
    plain = structlog.dev.plain_traceback
    return (structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain),)


def _plain(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Uvicorn sends its messages a second time, with colours."""
    event.pop("color_message", None)
    return event
