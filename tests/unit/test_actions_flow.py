"""`log`, `fail`, `sleep` and `stop`."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.actions.flow import sleep
from stepwell.errors import Fail, Stop

if TYPE_CHECKING:
    from tests.unit.action_fixtures import ActionContext


@pytest.mark.parametrize(
    ("inputs", "level", "line"),
    [
        ({"message": "50% done: %s"}, logging.INFO, "50% done: %s"),
        ({"message": "bad", "level": "Error"}, logging.ERROR, "bad"),
        ({"message": {"rows": [1, None]}, "level": "debug"}, logging.DEBUG, '{"rows":[1,null]}'),
    ],
)
def test_log(
    context: ActionContext, caplog: pytest.LogCaptureFixture, inputs: dict[str, Any], level: int, line: str
) -> None:
    assert context.run("log", **inputs) is None
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(level, line)]


def test_an_unknown_level_is_named(context: ActionContext) -> None:
    with pytest.raises(Fail, match=r"unknown level 'eror' \(did you mean 'error'\?\)") as failure:
        context.run("log", message="x", level="eror")
    assert not failure.value.retryable


@pytest.mark.parametrize(
    ("inputs", "code", "retryable"),
    [({}, "step_failed", False), ({"code": "no_stock", "retryable": True}, "no_stock", True)],
)
def test_fail(context: ActionContext, inputs: dict[str, Any], code: str, retryable: bool) -> None:
    with pytest.raises(Fail) as failure:
        context.run("fail", message="sold out", **inputs)
    assert (failure.value.message, failure.value.code, failure.value.retryable) == ("sold out", code, retryable)


@pytest.mark.parametrize("seconds", [0, "1ms", 0.001])
def test_sleep(context: ActionContext, seconds: Any) -> None:
    assert context.run("sleep", seconds=seconds) is None


@pytest.mark.parametrize("seconds", [-1, "soon", float("inf"), float("nan")])
def test_sleep_needs_a_duration(context: ActionContext, seconds: Any) -> None:
    with pytest.raises(Fail, match="is not a duration"):
        context.run("sleep", seconds=seconds)


@pytest.mark.parametrize("seconds", [3601, "61m", "2h"])
def test_sleep_is_for_an_hour_at_most(context: ActionContext, seconds: Any) -> None:
    with pytest.raises(Fail, match=r"longer than an hour.*`wait`") as failure:
        context.run("sleep", seconds=seconds)
    assert (failure.value.code, failure.value.retryable) == ("invalid", False)


def test_sleep_can_be_cancelled() -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(sleep("1h"))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


@pytest.mark.parametrize("status", ["completed", "cancelled"])
def test_stop(context: ActionContext, status: str) -> None:
    with pytest.raises(Stop) as stop:
        context.run("stop", status=status, message="nothing to do")
    assert (stop.value.status, stop.value.message) == (status, "nothing to do")


def test_stop_knows_two_statuses(context: ActionContext) -> None:
    with pytest.raises(Fail, match="status"):
        context.run("stop", status="failed")
