"""What queues, keys and workers are called in RQ."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from stepwell.errors import SettingsError

DEFAULT_NAMESPACE = "stepwell"

SUFFIXES = {3: ":urgent", 2: ":high", 1: "", 0: ":low"}
"""The four RQ queues of a queue, the one that is worked off first at the beginning."""


def prefix(namespace: str) -> str:
    """What all keys of RQ begin with: `rq`, unless there is a namespace of its own."""
    return "rq" if namespace == DEFAULT_NAMESPACE else f"{namespace}:rq"


def export_prefix(namespace: str) -> None:
    """Tell the rq library its prefix: it reads that once, from the environment, when it is imported.

    Raises `SettingsError` if it was imported before, with another one.
    """
    wanted = os.environ["RQ_KEY_PREFIX"] = prefix(namespace)
    defaults = sys.modules.get("rq.defaults")
    if defaults is not None and wanted != defaults.RQ_KEY_PREFIX:
        raise SettingsError(
            f"NAMESPACE={namespace} needs the key prefix {wanted!r} in RQ, but rq was imported with"
            f" {defaults.RQ_KEY_PREFIX!r}: set RQ_KEY_PREFIX={wanted} in the environment"
        )


def line(queue: str, priority: int) -> str:
    """The RQ queue for a queue and a priority."""
    return queue + SUFFIXES[priority]


def queue_and_priority(line: str) -> tuple[str, int]:
    """The other way round."""
    queue, colon, level = line.rpartition(":")
    priority = next((priority for priority, suffix in SUFFIXES.items() if suffix == colon + level), 1)
    return (line, 1) if priority == 1 else (queue, priority)


def lines(queues: Sequence[str]) -> list[str]:
    """All RQ queues of these queues, in the order in which they are worked off."""
    return [line(queue, priority) for priority in SUFFIXES for queue in queues]


def hints(namespace: str, queue: str) -> str:
    """The key of the list on which idle work-horses wait for tasks of a queue."""
    return f"{namespace}:wake:{queue}"
