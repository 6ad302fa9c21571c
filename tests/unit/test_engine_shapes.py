"""A real DAG of 495 steps on 8 slots, judged; and the judge itself."""

from __future__ import annotations

import threading
import time

import pytest
from tests.dag_shapes import Shape, Span, load, most_at_once, violations
from tests.unit.engine_harness import Harness, use

from stepwell.task import Status
from stepwell.values import encode

SLOTS = 8


def test_montage_keeps_the_order_and_the_bound(timed: Harness) -> None:
    shape = load("montage-500.json").scaled(work=1.0)
    spans: dict[str, Span] = {}
    lock = threading.Lock()

    def work(seconds: float, context: object) -> None:
        begin = time.monotonic()
        threading.Event().wait(seconds)
        with lock:
            spans[context.step_id] = Span(begin, time.monotonic())  # type: ignore[attr-defined]

    use("work", work)
    task = timed.run(encode(shape.workflow("work", SLOTS)), timeout=600)
    assert task.status is Status.COMPLETED
    assert violations(shape, spans, SLOTS) == []
    assert most_at_once(spans) > 1
    told = {path: Span(record.started_at or 0, record.completed_at or 0) for path, record in timed.steps(task).items()}
    assert violations(shape, told, SLOTS) == []  # the record tells the same story


DIAMOND = Shape({"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}, {"a": 1, "b": 2, "c": 3, "d": 1})


@pytest.mark.parametrize(("slots", "seconds"), [(1, 7), (2, 5)])
def test_the_ideal_makespan_of_a_diamond(slots: int, seconds: float) -> None:
    assert DIAMOND.makespan(slots) == seconds


@pytest.mark.parametrize(
    ("trace", "found"),
    [
        ({"a": Span(0, 1), "b": Span(1, 2), "c": Span(2, 3)}, ["d never ran"]),
        (
            {"a": Span(0, 1), "b": Span(0.5, 2), "c": Span(2, 3), "d": Span(3, 4), "x": Span(9, 9)},
            ["x is unknown", "b began before a had ended", "2 steps at once, 1 allowed"],
        ),
    ],
)
def test_the_judge_finds_what_is_wrong(trace: dict[str, Span], found: list[str]) -> None:
    assert violations(DIAMOND, trace, 1) == found
