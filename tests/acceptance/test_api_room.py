"""The bound of the inline pool over HTTP: room that was reserved is always given back."""

from __future__ import annotations

import pytest
from tests.acceptance.serving import Gate, Server, eventually

TWO = [{"delay": "1h"}, {"delay": "1h"}]


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/workflows/hello/execute", {"variables": {"nam": 1}}, {}, 422),
        ("/workflows/hello/execute", {"external_id": "a\0b"}, {}, 422),
        ("/workflows/hello/execute", {"delay": "1h"}, {}, 202),
        ("/workflows/hello/execute", {}, {"Idempotency-Key": "same"}, 200),
        ("/workflows/hello/execute/batch", {"items": [{"delay": "1h"}, {"external_id": "a\0b"}]}, {}, 422),
        ("/workflows/hello/execute/batch", {"items": [{}, {}, {}]}, {}, 422),
        ("/workflows/tasks/no/retry", {}, {}, 404),
    ],
)
def test_room_is_given_back(
    strict: Server, path: str, body: dict[str, object], headers: dict[str, str], status: int
) -> None:
    for _ in range(4):
        assert strict.post(path, body, headers=headers).status_code == status
    stats = strict.get("/queue/stats").json()
    assert (stats["current_processing"], stats["queue_size"]) == (0, 0)
    assert strict.post("/workflows/hello/execute/batch", {"items": TWO}).status_code == 202


def test_a_batch_that_can_never_fit_is_told_so(strict: Server) -> None:
    answer = strict.post("/workflows/hello/execute/batch", {"items": [{}, {}, {}]})
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["field"], "retry-after" in answer.headers) == (422, "items", False)
    assert "3 are more than the 2" in error["message"]
    assert "INLINE_QUEUE_MAX_SIZE" in error["message"]


def test_a_batch_that_does_not_fit_now_may_come_again(strict: Server, gate: Gate) -> None:
    batch = {"items": [{"variables": {"gate": str(gate.path)}}]}
    [running] = strict.post("/workflows/gated/execute/batch", batch).json()["items"]
    with gate.held():
        answer = strict.post("/workflows/hello/execute/batch", {"items": TWO})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    strict.ended(running["task_id"])
    eventually(lambda: strict.get("/queue/stats").json()["current_processing"] == 0)
