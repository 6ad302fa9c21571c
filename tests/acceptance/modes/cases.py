"""What a workflow of the table is, and what must come of it in every mode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

CHILDREN = "chat_process"
"""The queue of all child tasks in the table."""

MODULE = """
def price(net: float, rate: int = 20) -> float:
    return net + net * rate / 100
"""
"""The function that `call` names, in `modes_shop.py`."""

TOKEN = "a-token-that-nobody-may-see"
"""The value of the secret `MODES_TOKEN`."""


@dataclass(frozen=True)
class Act:
    """What somebody does to the task as soon as the step `at` waits; at once, if there is none."""

    do: Literal["signal", "publish", "cancel"]
    name: str = ""
    payload: Any = None
    at: str | None = None


@dataclass(frozen=True)
class Case:
    """A workflow and what comes of it: `completed` and so on are the paths of its steps, `children` is the number of
    its child tasks, `undone` the order of what ran to undo it. `others` are workflows that it runs, by their ids.

    `triggered`: it is not submitted, an act starts it. `after_crashes` is what differs where the process dies all the
    time.
    """

    text: str
    status: str = "completed"
    error: str | None = None
    outputs: Any = field(default_factory=dict)
    completed: str = ""
    failed: str = ""
    skipped: str = ""
    cancelled: str = ""
    children: int = 0
    undone: Sequence[str] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)
    acts: Sequence[Act] = ()
    triggered: bool = False
    after_crashes: Mapping[str, Any] | None = None

    def expected(self, crashes: bool) -> Seen:
        """What is to be seen in a mode with crashes, or one without."""
        if crashes and self.after_crashes is not None:
            return replace(self, **self.after_crashes).expected(crashes=False)
        statuses = ("completed", "failed", "skipped", "cancelled")
        steps = {path: status for status in statuses for path in getattr(self, status).split()}
        return Seen(self.status, self.error, self.outputs, steps, self.children, list(self.undone), [])


@dataclass(frozen=True)
class Seen:
    """What came of a task: its status, the code of its error, its outputs, the status of each step, how many child
    tasks it had, in which order it was undone, and what completed more than once."""

    status: str
    error: str | None
    outputs: Any
    steps: Mapping[str, str]
    children: int
    undone: Sequence[str]
    repeated: Sequence[str]


def seen(
    task: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], events: Iterable[Mapping[str, Any]], children: int
) -> Seen:
    """What came of a task, from the answers of the API."""
    ended = [event["path"] for event in events if event["kind"] == "step.completed"]
    return Seen(
        status=task["status"],
        error=task["error"] and task["error"]["code"],
        outputs=task["result"]["outputs"],
        steps={step["path"]: step["status"] for step in steps},
        children=children,
        undone=[path for path in ended if "compensate/" in path],
        repeated=sorted(path for path, number in Counter(ended).items() if number > 1),
    )
