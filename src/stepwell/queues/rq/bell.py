"""The bell as Lua text, with its constants filled in: what a script calls when it moves a task."""

from __future__ import annotations

import math
from importlib import resources

from stepwell.queues.rq import names

FUNCTION = "stepwell.worker.run_task"
"""What a stock RQ worker imports and calls, without arguments: the id of the job is that of the task."""


def bell(namespace: str, result_ttl: float, retries: int = 3) -> str:
    """Lua text that defines a local table `bell` and no other name, to stand before the code of a script.

    A job lasts until its task is forgotten, its entry in a registry `result_ttl` seconds. `retries` is how often RQ
    itself may start a job again whose (stock) worker died; Stepwell counts on its own.
    """
    return f"local bell = (function()\n{body(namespace, result_ttl, retries)}\nreturn bell\nend)()\n"


def body(namespace: str, result_ttl: float, retries: int) -> str:
    """The same with all names in it, for scripts that do more with the lists."""
    constants = {
        "PREFIX": f"'{names.prefix(namespace)}'",
        "WAKE": f"'{names.hints(namespace, '')}'",
        "FUNCTION": f"'{FUNCTION}'",
        "RESULT_TTL": math.ceil(result_ttl),
        "RETRIES": max(1, retries),
    }
    head = "".join(f"local {name} = {value}\n" for name, value in constants.items())
    return head + (resources.files(__package__) / "bell.lua").read_text()
