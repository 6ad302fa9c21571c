"""The judge itself: what was planted is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.chaos.inside.effects import Effect
from tests.chaos.judge import Ended, Evidence, leftovers, violations
from tests.servers import RedisServer

OUTPUTS = {"total": 6}
FIRST, SECOND = Effect("t", "first", 1, 7, 10.0), Effect("t", "second", 1, 7, 20.0)
RECORD: Mapping[str, Any] = {
    "task_id": "t",
    "status": "completed",
    "retry_count": 0,
    "result": {"outputs": OUTPUTS},
}


def event(kind: str, path: str | None, at: float) -> dict[str, Any]:
    return {"kind": kind, "path": path, "at": datetime.fromtimestamp(at, UTC).isoformat()}


EVENTS = (
    event("step.completed", "first", 11.0),
    event("step.completed", "second", 21.0),
    event("task.completed", None, 22.0),
)
TASK = Ended(RECORD, EVENTS, OUTPUTS, ["first", "second"])
GOOD = Evidence([TASK], [FIRST, SECOND])


def changed(**fields: Any) -> Evidence:
    return replace(GOOD, tasks=[replace(TASK, record={**RECORD, **fields})])


def told(*events: dict[str, Any]) -> Evidence:
    return replace(GOOD, tasks=[replace(TASK, events=[*EVENTS, *events])])


def ran(*more: Effect, **fields: Any) -> Evidence:
    return replace(GOOD, effects=[FIRST, SECOND, *more], **fields)


def test_a_run_without_faults_is_good() -> None:
    assert violations(GOOD) == []


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(ran(replace(FIRST, attempt=2, at=10.5), faults={"t": 1}), id="one more run for one crash"),
        pytest.param(ran(replace(FIRST, attempt=2, at=10.5), everywhere=1), id="one more run for an outage"),
        pytest.param(ran(replace(FIRST, pid=8, at=12.0), everywhere=1, zombies=[8]), id="a late one of a zombie"),
    ],
)
def test_what_crashes_excuse_is_good(seen: Evidence) -> None:
    assert violations(seen) == []


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        pytest.param(changed(status="queued"), "it is queued, not completed", id="lost task"),
        pytest.param(changed(status="failed", error="e"), "it is failed, not completed: e", id="failed task"),
        pytest.param(changed(result={"outputs": {"total": 7}}), "its outputs are {'total': 7}", id="wrong result"),
        pytest.param(changed(retry_count=1), "counted as 1 retries", id="counted retry"),
        pytest.param(told(event("task.completed", None, 23.0)), "ended more than once", id="two endings"),
        pytest.param(told(event("step.completed", "first", 12.0)), "first was committed 2 times", id="two commits"),
        pytest.param(ran(replace(FIRST, at=10.5)), "first ran 2 times instead of 1 to 1", id="doubled step"),
        pytest.param(ran(replace(FIRST, at=12.0), faults={"t": 1}), "again after its commit", id="step after commit"),
        pytest.param(replace(GOOD, effects=[FIRST]), "second ran 0 times", id="lost step"),
        pytest.param(ran(replace(FIRST, task_id="u")), "nobody was told of that task", id="unknown task"),
        pytest.param(replace(GOOD, left=["t in wip"]), "left behind: t in wip", id="leftover"),
    ],
)
def test_what_was_planted_is_found(seen: Evidence, found: str) -> None:
    (problem,) = violations(seen)
    assert found in problem


@pytest.mark.parametrize(
    "command",
    [
        ("ZADD", "stepwell:running:q", "1", "t1"),
        ("ZADD", "stepwell:asleep", "1", "t1"),
        ("ZADD", "stepwell:queued:1:q", "1", "t1"),
        ("ZADD", "stepwell:list:queued:q", "0", "t1"),
        ("HSET", "stepwell:worker:w", "token", "t1"),
        ("RPUSH", "rq:queue:q", "t1"),
        ("RPUSH", "rq:intermediate:q", "t1"),
        ("ZADD", "rq:wip:q", "+inf", "t1:run"),
        ("ZADD", "rq:deferred:q", "1", "t1"),
        ("SADD", "rq:worker:w:executions", "t1:run"),
        ("HSET", "rq:execution:t1:run", "id", "run"),
        ("SET", "rq:executions:t1", "1"),
    ],
)
def test_leftovers_in_redis_are_found(redis_server: RedisServer, command: tuple[str, ...]) -> None:
    client = redis_server.client()
    client.flushall()
    client.rpush("stepwell:task:t1", "{}")
    client.zadd("rq:finished:q", {"t1": 1})
    assert leftovers(client, ["t1"]) == []
    client.execute_command(*command)  # type: ignore[no-untyped-call]
    assert leftovers(client, ["t1"]) == [f"t1 in {command[1]}"]
