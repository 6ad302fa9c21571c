"""Publications in Redis: their log, who has got which of them, and the tasks that they wake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stepwell.stores import records
from stepwell.stores.redis import arguments, forms
from stepwell.stores.redis.ledger import RedisLedger
from stepwell.task import Publication, Publications, Task

_ROUSED = "1000"
"""How many tasks one call of `rouse` answers at most."""

_OLD = "500"
"""How many publications one script removes at most, so that it is soon done."""

_COUNTERS = ("published", "received", "listening")


class RedisPublications(RedisLedger):
    """The part of `RedisStore` that concerns publications."""

    def publish(
        self, name: str, payload: str, topics: Sequence[str], key: str | None = None, sender: str | None = None
    ) -> tuple[Publication, bool]:
        """See `TaskStore.publish`."""
        records.check_text([("name", name), ("payload", payload), ("key", key), ("sender", sender)])
        words = [name, payload, sender or "", key or "", *arguments.topics(topics)]
        publication, is_new = self._run("publish", *words)
        return forms.read_publication(publication), is_new == b"1"

    def published(self, topic: str, after: str | None = None, since: float = 0.0, limit: int = 100) -> Publications:
        """See `TaskStore.published`."""
        found, position = self._run("published", arguments.topic(topic), after or "", str(since), str(limit))
        return Publications([forms.read_publication(one) for one in found], position.decode())

    def undelivered(self, group: str, consumer: str, limit: int = 100) -> Sequence[Publication]:  # noqa: ARG002
        """See `TaskStore.undelivered`. The consumers of a group need no names."""
        return [forms.read_publication(one) for one in self._run("undelivered", group, str(limit))]

    def delivered(self, group: str, publication: Publication, received: int = 0) -> None:
        """See `TaskStore.delivered`."""
        self._run("delivered", group, publication.name, publication.id, str(received))

    def rouse(self, publication: Publication) -> list[Task]:
        """See `TaskStore.rouse`."""
        found = self._run("rouse", publication.id, _ROUSED, *arguments.topics(publication.topics))
        return [forms.read_task(reply) for reply in found]

    def publications(self) -> Mapping[str, Mapping[str, int]]:
        """See `TaskStore.publications`."""
        words = self._client.do("HGETALL", self._key("publications"))
        found: dict[str, dict[str, int]] = {}
        for field, number in zip(words[::2], words[1::2], strict=True):
            name, _, counter = field.decode().rpartition("\0")
            found.setdefault(name, dict.fromkeys(_COUNTERS, 0))[counter] = int(number)
        return {name: counters for name, counters in sorted(found.items()) if any(counters.values())}

    def _forget_publications(self, older_than: float) -> None:
        while self._run("forget", str(older_than), _OLD):
            continue
