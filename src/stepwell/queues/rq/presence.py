"""Presence: a worker and its work-horses, as `rq info`, dashboards and our own statistics see them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from stepwell.ports import HorseView, WorkerView
from stepwell.queues.rq import names, views
from stepwell.redis_client import RedisClient, Script

if TYPE_CHECKING:
    from stepwell.queues.rq.horse import Horse

PERIOD = 3.0
"""Seconds between two beats."""

TTL = 30
"""Seconds after the last beat for which a worker counts as alive."""

SWEEP_EVERY = 20
"""So many beats lie between two looks for the names of workers that died without a word."""


class Presence:
    """Written by the parent of a worker, for itself and all its work-horses, in one round trip each time."""

    def __init__(self, client: RedisClient, queues: Sequence[str], *, namespace: str = names.DEFAULT_NAMESPACE) -> None:
        """`queues` are those that the worker serves."""
        names.export_prefix(namespace)
        self._client, self._namespace = client, namespace
        self._lines = names.lines(queues)
        self._script = Script((resources.files(__package__) / "presence.lua").read_text())
        self._shown: dict[str, Horse] = {}
        self._name = ""
        self._beats = 0

    def beat(self, view: WorkerView) -> bool:
        """Show the worker as it is now: work-horses that are new are registered, those that are missing unregistered.

        To be called when one starts or ends, and every `PERIOD` seconds. Answers whether `rq suspend` holds. Raises
        `Unavailable`; the next beat then makes up for it.
        """
        horses = {horse.name: self._shown.get(horse.name) or self._born(view, horse) for horse in view.horses}
        left = [name for name in self._shown if name not in horses]
        self._name = view.name
        self._shown |= horses
        suspended = self._write(view, horses, left)
        self._shown = horses
        self._beats += 1
        return suspended

    def gone(self) -> None:
        """The worker ends: nothing of it is left. Raises `Unavailable`."""
        self._write(None, {}, list(self._shown))
        self._shown = {}

    def _born(self, view: WorkerView, horse: HorseView) -> Horse:
        from stepwell.queues.rq.horse import Horse  # rq reads its prefix when it is imported

        return Horse(horse, view.host, self._lines, self._client.connection())

    def _write(self, view: WorkerView | None, horses: dict[str, Horse], left: Sequence[str]) -> bool:
        beat: dict[str, Any] = {
            "namespace": self._namespace,
            "prefix": names.prefix(self._namespace),
            "ttl": TTL,
            "lines": self._lines,
            "name": self._name,
            "horses": {name: horse.fields() for name, horse in horses.items()},
            "left": left,
            "sweep": self._beats % SWEEP_EVERY == 0,
        }
        if view is not None:
            beat["view"] = views.encoded(view)
        return bool(self._client.run(self._script, [json.dumps(beat)]))
