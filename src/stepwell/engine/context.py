"""The context that an action is given, as `ports.Context` describes it."""

from __future__ import annotations

import itertools
import logging
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from stepwell.engine.journal import Journal
from stepwell.engine.workfolder import Files, WorkFolder
from stepwell.errors import Fail, InvalidInput
from stepwell.secrets import Masker
from stepwell.task import Publication
from stepwell.values import decode, encode

log = logging.getLogger("stepwell.task")

Publish = Callable[[str, object, str], tuple[Publication, bool]]
"""Publishes an event: its name, its payload, its key."""


class StepContext:
    """What one attempt sees of its task. `done_before`: the attempt of this step that completed last, if it is run
    again after that; its idempotency key is another one then."""

    def __init__(
        self,
        *,
        task_id: str,
        step_id: str | None,
        path: str,
        attempt: int,
        done_before: int,
        secrets: Mapping[str, str],
        masker: Masker,
        journal: Journal,
        folder: WorkFolder,
        publish: Publish,
    ) -> None:
        self.task_id, self.step_id, self.path, self.attempt = task_id, step_id, path, attempt
        self.idempotency_key = f"{task_id}/{path}{f'/{done_before}' if done_before else ''}"
        self.secrets = secrets
        self.cancelled = False
        self._masker, self._journal, self._folder = masker, journal, folder
        self._publish, self._emitted = publish, itertools.count(1)
        self._bytes: tuple[float, int] | None = None

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """Its lines become part of the task's events."""
        return TaskLogger(log, self)

    @property
    def work_folder(self) -> Path:
        """The folder of this attempt; made at the first call."""
        return self._folder.path

    def progress(
        self,
        *,
        percent: float | None = None,
        stage: str | None = None,
        message: str | None = None,
        filename: str | None = None,
        current_bytes: int | None = None,
        total_bytes: int | None = None,
    ) -> None:
        """Report how far it is; speed and remaining time are worked out from the bytes."""
        if percent is None and current_bytes is not None and total_bytes:
            percent = 100.0 * current_bytes / total_bytes
        changes = {
            "progress_percent": percent,
            "stage": stage,
            "message": message,
            "filename": filename,
            "current_bytes": current_bytes,
            "total_bytes": total_bytes,
            **self._pace(current_bytes, total_bytes),
        }
        given = {key: value for key, value in changes.items() if value is not None}
        self._journal.progress(decode(self.encode(given, "the progress")))

    def emit(self, name: str, payload: Any = None) -> str:
        """Publish an event; the key is the same in every attempt, so that it is published once."""
        text = decode(self.encode(payload, "the payload"))
        try:
            publication, _ = self._publish(name, text, f"{self.idempotency_key}/{next(self._emitted)}")
        except InvalidInput as error:
            raise Fail(f"the event was not published: {error}", code="invalid", retryable=False) from error
        return publication.id

    def line(self, level: int, message: str) -> None:
        """Add a log line to the task's events."""
        self._journal.line(self.path, self.attempt, logging.getLevelName(level).lower(), self.mask(message))

    def mask(self, text: str) -> str:
        """The text without secrets."""
        return self._masker.mask_text(text)

    def encode(self, value: object, what: str) -> str:
        """The JSON text of a value, without secrets."""
        return self._masker.mask_json(encode(value, what))

    def cancel(self) -> None:
        """Tell the action that it should stop."""
        self.cancelled = True

    @property
    def touches_files(self) -> bool:
        """Whether files are to be restored, kept or removed."""
        return self._folder.in_use

    def restore_files(self) -> None:
        """Bring the files of `needs_files` back."""
        self._folder.restore()

    def collect_files(self) -> Files:
        """Keep the files that `files` names."""
        return self._folder.collect()

    def close(self) -> None:
        """Remove the work folder."""
        self._folder.remove()

    def _pace(self, current: int | None, total: int | None) -> dict[str, float]:
        """Bytes a second since the first report, and the seconds that are left at this pace."""
        if current is None:
            return {}
        now = time.monotonic()
        if self._bytes is None:
            self._bytes = (now, current)
            return {}
        since, first = self._bytes
        speed = (current - first) / max(now - since, 1e-6)
        return {"speed": speed} | ({"eta_seconds": (total - current) / speed} if total and speed > 0 else {})


class TaskLogger(logging.LoggerAdapter[logging.Logger]):
    """A standard logger whose lines also become events of the task."""

    def __init__(self, logger: logging.Logger, context: StepContext) -> None:
        super().__init__(logger, {"task_id": context.task_id, "step": context.path})
        self._context = context

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log to the task's events at every level, and to the process's own log as it is configured."""
        text = self._context.mask(_formatted(level, msg, args, kwargs.pop("exc_info", None)))
        self._context.line(level, text)
        super().log(level, "%s", text, **kwargs)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add task and step to what the process's own log is given."""
        return msg, {**kwargs, "extra": {**(self.extra or {}), **kwargs.get("extra", {})}}


def _formatted(level: int, msg: object, args: tuple[object, ...], exc_info: Any) -> str:
    """The line as `logging` would format it; what cannot be formatted is shown as it is, and fails nothing."""
    found = sys.exc_info() if exc_info is True else exc_info
    if isinstance(found, BaseException):
        found = (type(found), found, found.__traceback__)
    record = logging.LogRecord("", level, "", 0, msg, args, found or None)
    try:
        return logging.Formatter().format(record)
    except (TypeError, ValueError, KeyError):
        return f"{msg} {args}"
