"""The API's own decisions: which problem an error is, how far a task is, what is waited for."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import Request
from pydantic import BaseModel, field_validator

from stepwell import errors
from stepwell.api import answers, views, waiting
from stepwell.api.app import create_app
from stepwell.api.bodies import body_of, parse
from stepwell.api.guards import FRAMING, SizeGuard
from stepwell.api.inside import MAX_PAGE
from stepwell.api.json_response import Json
from stepwell.api.problems import INTERNAL, KINDS, TooLarge
from stepwell.api.requests import Execution
from stepwell.api.server import _listening, serve
from stepwell.logs import configure
from stepwell.plan import compile_definition
from stepwell.settings import Settings
from stepwell.stores.memory import MemoryStore
from stepwell.task import Apart, Error, Event, Page, Status, StepRecord, StepStatus, Task

DEFINITION = '{"steps": [{"id": "a", "output": 1}, {"id": "b", "output": 1}, {"id": "c", "output": 1}]}'

NOW = 1_000_100.0


def task(status: Status = Status.RUNNING, **fields: Any) -> Task:
    """A task that was created at 1,000,000."""
    values = {"started_at": NOW - 50, **fields}
    return Task("id", "hello", "hash", status, "chat_process", 2, "{}", NOW - 100, NOW, 60.0, 0, **values)


class Asked:
    """A service whose task has completed `done` steps, the first for many items, and runs the next."""

    def __init__(self, done: int, items: int = 1) -> None:
        statuses = [StepStatus.COMPLETED] * done + [StepStatus.RUNNING]
        outermost = [StepRecord(path, path, status, "output") for path, status in zip("abc", statuses, strict=False)]
        each = [StepRecord(f"a[{number}]", "a", StepStatus.COMPLETED, "output") for number in range(items)]
        self.records = [outermost[0], *each, *outermost[1:]]
        self.read = 0

    def plan(self, _: Task) -> object:
        return compile_definition(DEFINITION)

    def steps(self, _task_id: str, limit: int, cursor: str | None) -> Page[StepRecord]:
        start = int(cursor or 0)
        page = self.records[start : start + limit]
        self.read += len(page)
        return Page(page, str(start + limit) if start + limit < len(self.records) else None)


def progress(found: Task, done: int = 1, items: int = 1) -> Any:
    service: Any = Asked(done, items)
    return views.progress(service, found, NOW)


@pytest.mark.parametrize(
    "error", [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, errors.StepwellError)]
)
def test_every_error_of_ours_is_a_kind_of_problem(error: type[errors.StepwellError]) -> None:
    found = [KINDS[base] for base in error.__mro__ if base in KINDS]
    assert found[-1] is INTERNAL
    if error in (errors.QueueFull, errors.Unavailable):
        assert found[0].status == 503


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_795_253_400.125, "2026-11-21T09:30:00.125Z"),
        (1_795_253_400, "2026-11-21T09:30:00.000Z"),
    ],
)
def test_times_are_in_utc_with_a_z(seconds: float, text: str) -> None:
    assert views.time(seconds) == text


def test_progress_from_the_outermost_steps() -> None:
    found = progress(task())
    assert found.progress_percent == pytest.approx(100 / 3)
    assert found.stage == "b"
    assert found.eta_seconds == pytest.approx(100.0)


def test_progress_after_a_step_with_many_items() -> None:
    found = progress(task(), done=2, items=700)
    assert (found.progress_percent, found.stage) == (pytest.approx(200 / 3), "c")


def test_progress_among_too_many_records_is_not_told() -> None:
    service: Any = Asked(2, 10_000)
    found = views.progress(service, task(), NOW)
    assert (found.progress_percent, found.eta_seconds, service.read) == (None, 0.0, 1000)
    assert views.status(service, task(), NOW).progress is None


def test_no_more_steps_are_read_than_are_needed() -> None:
    service: Any = Asked(2, 100)
    service.records += [StepRecord(f"finally/{number}", "d", StepStatus.COMPLETED, "output") for number in range(500)]
    assert views.progress(service, task(), NOW).stage == "c"
    assert service.read == 200


@pytest.mark.parametrize(
    ("found", "percent"),
    [
        (task(Status.FAILED), None),
        (task(Status.FAILED, progress={"progress_percent": 40.0}), 40.0),
        (task(Status.COMPLETED), 100.0),
        (task(Status.QUEUED, started_at=None), 0.0),
    ],
)
def test_a_list_tells_only_what_the_records_hold(found: Task, percent: float | None) -> None:
    service = SimpleNamespace(tasks=lambda *_: Page([found] * 60))
    items = asked(system_with(service), "/workflows/tasks").json()["items"]
    assert [item["progress"]["progress_percent"] for item in items] == [percent] * 60


def test_a_body_is_parsed_on_a_thread() -> None:
    seen: list[int] = []

    class Seen(BaseModel):
        text: str

        @field_validator("text")
        @classmethod
        def note(cls, value: str) -> str:
            seen.append(threading.get_ident())
            return value

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b'{"text": "x"}', "more_body": False}

    request = Request({"type": "http", "headers": [(b"content-type", b"application/json")]}, receive)
    assert asyncio.run(body_of(Seen)(request)).text == "x"
    assert seen
    assert threading.get_ident() not in seen


def test_countless_wrong_fields_are_counted() -> None:
    content = json.dumps({f"field_{number}": 0 for number in range(100_000)}).encode()
    with pytest.raises(errors.InvalidInput, match="body: 100,000 fields do not fit"):
        parse(Execution, content)


def test_text_that_is_not_unicode_is_answered_as_escapes() -> None:
    upload = answers.Upload(sha256="", name="\ud800", size=0)
    assert json.loads(bytes(Json(upload).body))["name"] == "\ud800"


@pytest.mark.parametrize(
    ("found", "percent"),
    [
        (task(Status.QUEUED, started_at=None), 0.0),
        (task(Status.COMPLETED), 100.0),
        (task(Status.COMPLETED, progress={"progress_percent": 40.0}), 100.0),
        (task(Status.FAILED, progress={"progress_percent": 40.0}), 40.0),
        (task(progress={"progress_percent": 140.0}), 100.0),
        (task(progress={"stage": "fetching"}), 100 / 3),
    ],
)
def test_what_is_reported_goes_before_what_the_steps_tell(found: Task, percent: float) -> None:
    assert progress(found).progress_percent == pytest.approx(percent)


def test_the_small_form_has_no_estimate_for_what_does_not_run() -> None:
    service: Any = Asked(1)
    assert views.status(service, task(), NOW).estimated_time == pytest.approx(100.0)
    failed = task(Status.FAILED, error=Error("broken", "it broke"))
    form = views.status(service, failed, NOW)
    assert (form.state, form.estimated_time) == ("failed", None)
    assert form.error_details is not None
    assert form.error_details.code == "broken"


def system_with(service: Any, pool: Any = None) -> Any:
    """A system with a service of this test."""
    return SimpleNamespace(
        settings=Settings(), service=service, pool=pool, store=MemoryStore(), drain=lambda: None, away=lambda: None
    )


def waited_on(future: Future[Task | None] | None, kept: Task) -> Any:
    """A system whose pool has this future, and whose store has this task."""
    pool = SimpleNamespace(ended=lambda _: future, stats=lambda: {"is_running": True})
    return SimpleNamespace(pool=pool, service=SimpleNamespace(get=lambda _: kept))


def test_a_caller_that_goes_away_leaves_the_pools_future_alone() -> None:
    future: Future[Task | None] = Future()

    async def hang_up() -> None:
        waiter = asyncio.create_task(waiting.until_through(waited_on(future, task()), "id"))
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter

    asyncio.run(hang_up())
    assert not future.cancelled()
    future.set_result(None)


def test_what_the_pool_gave_up_is_read_from_the_store() -> None:
    future: Future[Task | None] = Future()
    future.set_result(None)
    kept = task(Status.QUEUED)
    assert asyncio.run(waiting.until_through(waited_on(future, kept), "id")) is kept
    assert asyncio.run(waiting.until_through(waited_on(None, kept), "id")) is kept


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.WAITING, Status.QUEUED])
def test_a_task_that_a_worker_took_first_is_waited_for_until_nobody_runs_it(status: Status) -> None:
    future: Future[Task | None] = Future()
    future.set_result(None)
    seen = [task(Status.RUNNING), task(Status.RUNNING), task(status)]
    system = waited_on(future, seen[0])
    system.service.get = lambda _: seen.pop(0)
    assert asyncio.run(waiting.until_through(system, "id")).status is status
    system = waited_on(future, task(Status.RUNNING))
    system.pool.stats = lambda: {"is_running": False}
    assert asyncio.run(waiting.until_through(system, "id")).status is Status.RUNNING


def test_a_task_of_another_process_is_looked_at_until_it_ends() -> None:
    seen = [task(), task(), replace(task(), status=Status.COMPLETED)]
    system = waited_on(None, seen[0])
    system.service.get = lambda _: seen.pop(0) if len(seen) > 1 else seen[0]
    assert asyncio.run(waiting.until_ended(system, "id", 60)).status is Status.COMPLETED
    assert asyncio.run(waiting.until_ended(waited_on(None, task()), "id", 0)).status is Status.RUNNING


class Inside:
    """A service whose task has these steps, and events of which each hundredth is a log line."""

    def __init__(self, sizes: Sequence[int] = (), events: int = 0) -> None:
        self._steps = [
            StepRecord(f"s{number}", f"{number:02}", StepStatus.COMPLETED, "output", output=Apart(size))
            for number, size in enumerate(sizes)
        ]
        self._events = events

    def get(self, _task_id: str) -> Task:
        return task()

    def steps(self, _task_id: str, limit: int, cursor: str | None) -> Page[StepRecord]:
        start = int(cursor or 0)
        more = start + limit < len(self._steps)
        return Page(self._steps[start : start + limit], str(start + limit) if more else None)

    def output(self, _task_id: str, record: StepRecord) -> object:
        return record.path

    def events(self, task_id: str, after: int, limit: int) -> list[Event]:
        numbers = range(after + 1, min(after + limit, self._events) + 1)
        data = {"attempt": 1, "level": "info", "message": "said"}
        return [Event(one, task_id, NOW, "other" if one % 100 else "log", "a", data) for one in numbers]


def paged(service: Any, path: str) -> list[list[dict[str, Any]]]:
    """The pages of a list."""
    system, found, cursor = system_with(service), [], ""
    while cursor is not None:
        page = asked(system, f"{path}{'&cursor=' if cursor else ''}{cursor}").json()
        found.append(page["items"])
        cursor = page["next_cursor"]
    return found


def test_a_page_of_steps_ends_before_it_is_too_large() -> None:
    sizes = [MAX_PAGE // 2, MAX_PAGE // 2, 1, MAX_PAGE * 3, 1, 1]
    pages = paged(Inside(sizes), "/workflows/tasks/x/steps?limit=50")
    assert [[step["path"] for step in page] for page in pages] == [["s0", "s1"], ["s2"], ["s3"], ["s4", "s5"]]


@pytest.mark.parametrize("events", [0, 99, 100, 3050, 50_000])
def test_log_lines_are_found_among_many_events(events: int) -> None:
    pages = paged(Inside(events=events), "/workflows/tasks/x/logs?limit=200")
    assert [line["id"] for page in pages for line in page] == list(range(100, events + 1, 100))
    assert max(map(len, pages)) <= 200


def asked(system: Any, path: str) -> httpx.Response:
    """The answer of the API of a system to a GET."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(system), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path)

    return asyncio.run(ask())


def a_system(ping: Any, is_running: bool = True) -> Any:
    """A system whose store answers like `ping`."""
    pool = SimpleNamespace(stats=lambda: {"is_running": is_running})
    return system_with(SimpleNamespace(ping=ping), pool)


def test_a_body_is_counted_over_all_its_pieces() -> None:
    pieces = [{"type": "http.request", "body": b"12345", "more_body": True} for _ in range(3)]

    async def read(_scope: Any, receive: Any, _send: Any) -> None:
        for _ in range(3):
            await receive()

    async def receive() -> dict[str, Any]:
        return pieces.pop()

    async def unsent(message: Any) -> None:
        pytest.fail(f"answered {message}")

    scope = {"type": "http", "path": "/files", "headers": []}
    guard = SizeGuard(read, limit=1, upload_limit=14 - FRAMING)
    with pytest.raises(TooLarge, match="MAX_UPLOAD_BYTES"):
        asyncio.run(guard(scope, receive, unsent))
    assert pieces == []


def away() -> None:
    raise errors.Unavailable("the database at 10.1.2.3:5432 cannot be used", retry_after=2.5)


def wrong() -> None:
    raise KeyError("a secret")


def test_ready_asks_the_store_and_tells_no_stranger_where_it_is() -> None:
    assert asked(a_system(lambda: None), "/ready").json() == {"status": "ready"}
    answer = asked(a_system(away), "/ready")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
    assert answer.json()["detail"] == "the store does not answer; the server's log tells more"
    assert asked(a_system(away), "/health").status_code == 200


def test_a_server_that_stops_is_not_ready() -> None:
    answer = asked(a_system(lambda: None, is_running=False), "/ready")
    assert (answer.status_code, "stopping" in answer.json()["detail"]) == (503, True)


def test_a_bug_tells_nothing_to_callers() -> None:
    answer = asked(a_system(wrong), "/ready")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "secret" not in answer.text


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_in_the_log_shows_no_values(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    password = "hunter" + "2"
    before = logging.getLogger().handlers[:]
    configure("INFO", form)
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        logging.getLogger("stepwell").exception("it broke")
    finally:
        logging.basicConfig(handlers=before, force=True)
    written = capsys.readouterr().err
    assert "it broke" in written
    assert "RuntimeError: broken" in written
    assert password not in written


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "shop.example", ""])
def test_without_api_keys_only_loopback_is_served(host: str) -> None:
    with pytest.raises(errors.SettingsError, match="API_KEYS"):
        serve(Settings(host=host))


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(errors.SettingsError, match=f"PORT={port} cannot be listened on"):
            serve(Settings(port=port))


def test_connections_send_at_once() -> None:
    """Asyncio switches Nagle's algorithm off only for sockets that say they are TCP; else each answer waits 40 ms."""
    with _listening(Settings(port=0)) as listener:
        assert listener.proto == socket.IPPROTO_TCP
