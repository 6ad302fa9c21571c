"""Listeners: told in order, each on a thread of its own, and none of them breaks anything."""

from __future__ import annotations

import logging
import threading

import pytest

from stepwell import listeners as module
from stepwell.listeners import Listeners, Told


def told(kind: str = "task.completed", number: int = 0) -> Told:
    """An event."""
    return Told(kind, f"task-{number}", "hello", 0.0)


def test_each_is_told_what_its_pattern_names_in_order() -> None:
    listeners, seen = Listeners(), {"task.*": list[str](), "step.failed": list[str](), "*": list[str]()}

    def collect(pattern: str) -> None:
        listeners.add(pattern, lambda event: seen[pattern].append(event.kind))

    for pattern in seen:
        collect(pattern)
    for kind in ("task.started", "step.started", "step.failed", "task.failed"):
        listeners.tell(told(kind))
    listeners.settle()
    assert seen == {
        "task.*": ["task.started", "task.failed"],
        "step.failed": ["step.failed"],
        "*": ["task.started", "step.started", "step.failed", "task.failed"],
    }


def test_one_that_raises_is_logged_and_goes_on_and_so_do_the_others(caplog: pytest.LogCaptureFixture) -> None:
    listeners, seen = Listeners(), list[str]()

    def breaks(event: Told) -> None:
        raise ValueError(event.task_id)

    listeners.add("*", breaks)
    listeners.add("*", lambda event: seen.append(event.task_id))
    with caplog.at_level(logging.ERROR):
        for number in range(3):
            listeners.tell(told(number=number))
        listeners.settle()
    assert seen == ["task-0", "task-1", "task-2"]
    assert [record.message.endswith(f"task-{n}") for n, record in enumerate(caplog.records)] == [True] * 3


def test_one_that_hangs_holds_up_nobody_and_misses_what_is_too_much(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    listeners, go_on, begun = Listeners(), threading.Event(), threading.Event()
    slow, quick = list[str](), list[str]()

    def hangs(event: Told) -> None:
        begun.set()
        go_on.wait(30)
        slow.append(event.task_id)

    listeners.add("*", hangs)
    listeners.tell(told(number=0))
    assert begun.wait(30)
    monkeypatch.setattr(module, "MAX_WAITING", 100)
    listeners.add("*", lambda event: quick.append(event.task_id))
    for number in range(1, 6):
        listeners.tell(told(number=number))
    list(listeners)[1].settle()
    assert quick == [f"task-{number}" for number in range(1, 6)]
    go_on.set()
    listeners.settle()
    assert slow == ["task-0", "task-1", "task-2"]
    assert sum("misses some" in record.message for record in caplog.records) == 1


def test_a_coroutine_is_refused() -> None:
    async def later(event: Told) -> None: ...

    with pytest.raises(TypeError, match="later is async"):
        Listeners().add("*", later)


def test_a_pattern_that_names_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'task\.failed'"):
        Listeners().add("task.faild", print)
    with pytest.raises(TypeError, match="write @on"):
        module.on(print)  # type: ignore[arg-type]  # as one writes it who forgets the brackets
