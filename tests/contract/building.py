"""Tasks, records and claims for the tests of the stores, and calls at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from stepwell.errors import Conflict
from stepwell.ports import Claim, Commit, TaskStore
from stepwell.task import Crew, Error, NewEvent, NewTask, Page, Status, StepRecord, StepStatus, Task

T = TypeVar("T")
LEASE = 10.0
NOTHING = Commit()
ERROR = Error("step_failed", "no disk", step="load", path="load", attempt=2, status=507, retry_after=1.5, traceback="…")


def new(task_id: str = "t1", **changes: Any) -> NewTask:
    base = NewTask(task_id, "orders", "hash-1", "steps: []", "line", 1, '{"a":1}', timeout=60, max_retries=3)
    return replace(base, **changes)


def step(path: str = "load", status: StepStatus = StepStatus.COMPLETED, **changes: Any) -> StepRecord:
    return replace(StepRecord(path, f"0001/{path}", status, "call", id=path, attempts=1, tries=1), **changes)


def running(store: TaskStore, task_id: str = "t1", token: str = "A", **changes: Any) -> Claim:
    store.create(new(task_id, **changes))
    claim = store.claim(task_id, token, "host:1")
    assert claim is not None
    return claim


def ended(store: TaskStore, task_id: str, status: Status = Status.COMPLETED, **changes: Any) -> Task:
    running(store, task_id, **changes)
    return store.finish(task_id, "A", NOTHING, status, None, None)


def kinds(store: TaskStore, task_id: str = "t1") -> list[str]:
    return [event.kind for event in store.events(task_id)]


def bring(store: TaskStore, status: Status, task_id: str = "t1", undo: bool = False) -> Task:
    """A task in this state."""
    if status is Status.PENDING:
        return store.create(new(task_id, delay=5, undo=undo))[0]
    task, _ = store.create(new(task_id, undo=undo))
    if status is Status.QUEUED:
        return task
    store.claim(task_id, "A", "host:1")
    if status is Status.WAITING:
        return store.back_off(task_id, "A", NOTHING, 5, ERROR)
    return store.get(task_id) if status is Status.RUNNING else store.finish(task_id, "A", NOTHING, status, None, None)


def at_once(calls: Iterable[Callable[[], T]]) -> list[T | Exception]:
    """What the calls answer or raise, each from its own thread, begun together."""
    calls = list(calls)
    answers: list[T | Exception] = []
    begin = threading.Barrier(len(calls))

    def run(call: Callable[[], T]) -> None:
        begin.wait()
        try:
            answers.append(call())
        except Conflict as error:
            answers.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def keeping(path: str, *sha256s: str) -> StepRecord:
    return step(path, files={f"{number}.txt": {"size": 1, "sha256": one} for number, one in enumerate(sha256s)})


def end(store: TaskStore, call: str, token: str, commit: Commit | None = None) -> Task:
    commit = commit or Commit(steps=[step()], events=[NewEvent("log")])
    if call == "finish":
        return store.finish("t1", token, commit, Status.COMPLETED, '{"x":1}', None)
    return store.back_off("t1", token, commit, 5, ERROR) if call == "back_off" else store.release("t1", token, commit)


def all_pages(ask: Callable[[str | None], Page[T]]) -> Sequence[Sequence[T]]:
    pages, cursor = [], None
    while True:
        page = ask(cursor)
        pages.append(page.items)
        cursor = page.next_cursor
        if cursor is None:
            return pages


def child(index: int = 0, place: str = "each", **changes: Any) -> NewTask:
    """A child of `t1`, named after its place: `each-0000`."""
    number = f"{place}-{index:04}"
    return new(number, **{"ancestors": ("t1",), "place": place, "index": index, "max_retries": 0, **changes})


def crew_of(total: int, **changes: Any) -> Crew:
    """The crew of a step that may run all its children at once, and tolerates no failure."""
    return replace(Crew(total=total, at_once=total, allowed=0, wanted=total), **changes)


def finish(store: TaskStore, task_id: str, status: Status = Status.COMPLETED, token: str = "A") -> Task:
    """Claim a queued task and end it."""
    assert store.claim(task_id, token, "host:1") is not None
    return store.finish(task_id, token, NOTHING, status, None, None)


def outcome(call: Callable[[], T]) -> T | Conflict:
    """What a call answers, or the conflict that it raises."""
    try:
        return call()
    except Conflict as error:
        return error
