"""The bound of the inline pool over HTTP: room that was reserved is always given back."""

from __future__ import annotations

import pytest
from tests.acceptance.conftest import StartServer
from tests.acceptance.serving import Server


@pytest.fixture(scope="module")
def narrow(start_shared: StartServer) -> Server:
    """A server that has room for two tasks at a time."""
    return start_shared(INLINE_MAX_CONCURRENCY="1", INLINE_QUEUE_MAX_SIZE="1")


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/workflows/hello/execute", {"variables": {"nam": 1}}, {}, 422),
        ("/workflows/hello/execute", {"external_id": "a\0b"}, {}, 422),
        ("/workflows/hello/execute", {"delay": "1h"}, {}, 202),
        ("/workflows/hello/execute", {}, {"Idempotency-Key": "same"}, 200),
        ("/workflows/hello/execute/batch", {"items": [{"delay": "1h"}, {"external_id": "a\0b"}]}, {}, 422),
        ("/workflows/hello/execute/batch", {"items": [{}, {}, {}]}, {}, 503),
        ("/workflows/tasks/no/retry", {}, {}, 404),
    ],
)
def test_room_is_given_back(
    narrow: Server, path: str, body: dict[str, object], headers: dict[str, str], status: int
) -> None:
    for _ in range(4):
        assert narrow.post(path, body, headers=headers).status_code == status
    stats = narrow.get("/queue/stats").json()
    assert (stats["current_processing"], stats["queue_size"]) == (0, 0)
    items = [{"delay": "1h"}, {"delay": "1h"}]
    assert narrow.post("/workflows/hello/execute/batch", {"items": items}).status_code == 202
