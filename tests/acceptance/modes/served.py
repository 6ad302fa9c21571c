"""Tasks over HTTP: on a server that runs them itself, or on one with a queue and workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.acceptance.cluster import TASKS
from tests.acceptance.modes.cases import Act, Seen, seen
from tests.acceptance.serving import Server, eventually


class Served:
    """A mode in which a real server is asked."""

    crashes = False

    def __init__(self, server: Server) -> None:
        self._server = server

    def submit(self, workflow: str, variables: Mapping[str, Any]) -> str:
        """Submit a task; its id."""
        answer = self._server.post(f"/workflows/{workflow}/execute?async_execute=true", {"variables": dict(variables)})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["task_id"])

    def find(self, workflow: str) -> str:
        """The id of the only task of a workflow, once there is one."""
        (task,) = eventually(lambda: self._items(f"{TASKS}?workflow={workflow}"))
        return str(task["task_id"])

    def act(self, task_id: str, act: Act) -> None:
        """Do it."""
        told = {"signal": f"{TASKS}/{task_id}/signal/{act.name}", "publish": f"/events/{act.name}"}
        answer = self._server.post(told.get(act.do, f"{TASKS}/{task_id}/cancel"), act.payload)
        assert answer.is_success, answer.text

    def until_waits(self, task_id: str, path: str) -> None:
        """Wait until a step waits."""
        eventually(lambda: self._steps(task_id).get(path) == "waiting")

    def ended(self, task_id: str) -> Seen:
        """What came of a task, once it has ended."""
        task, url = self._server.ended(task_id), f"{TASKS}/{task_id}"
        steps, events, children = (self._items(f"{url}/{part}?limit=1000") for part in ("steps", "events", "children"))
        return seen(task, steps, events, len(children))

    def _steps(self, task_id: str) -> dict[str, str]:
        return {step["path"]: step["status"] for step in self._items(f"{TASKS}/{task_id}/steps?limit=1000")}

    def _items(self, url: str) -> list[dict[str, Any]]:
        answer = self._server.get(url)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items
