"""Workers as others see them: JSON under a key for each, and an index by the time until which it counts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from stepwell.ports import HorseView, WorkerView
from stepwell.redis_client import RedisClient, Script

_ALIVE = Script("""
local now, views = redis.call('TIME')[1], {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', ARGV[1] .. ':presence', now, '+inf')) do
  views[#views + 1] = redis.call('GET', ARGV[1] .. ':presence:' .. name)
end
return views
""")


def alive(client: RedisClient, namespace: str) -> Sequence[WorkerView]:
    """The workers that are alive, by name. Raises `Unavailable`."""
    views = [_decoded(text) for text in client.run(_ALIVE, [namespace]) if text]
    return sorted(views, key=lambda view: view.name)


def encoded(view: WorkerView) -> str:
    """The JSON of a worker."""
    return json.dumps(asdict(view))


def _decoded(text: bytes) -> WorkerView:
    fields = json.loads(text)
    horses = tuple(HorseView(**horse) for horse in fields.pop("horses"))
    return WorkerView(**fields | {"queues": tuple(fields["queues"])}, horses=horses)
