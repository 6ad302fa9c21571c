"""What a run reads of what comes from outside: each topic that it asks for, and nothing twice."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from tests.tasks import queued

from stepwell.engine.incoming import Arrival, Incoming
from stepwell.ports import Claim
from stepwell.publishing import Publisher
from stepwell.stores.memory import MemoryStore
from stepwell.task import Mail, Publications
from stepwell.topics import topic

OTHERS = 500


class Outside:
    """A store whose publications are counted when they are read, and a task that they may concern."""

    def __init__(self) -> None:
        self.time, self.read = 1_700_000_000.0, 0
        self.store = MemoryStore(lambda: self.time)
        self.publisher = Publisher(self.store)
        self.mail: list[Mail] = []

    def incoming(self) -> Incoming:
        """As a run begins; its mailbox is `mail`."""
        claim = Claim(queued("t1"), "A", "", (), self.time, list(self.mail))
        return Incoming(claim, lambda after: self.mail[after:], self._published, lambda: self.time)

    def publish(self, order: int) -> None:
        self.time += 1
        self.publisher.publish("paid", {"order": order})

    def send(self, order: int, name: str = "paid") -> None:
        self.time += 1
        self.mail.append(Mail(len(self.mail) + 1, name, json.dumps({"order": order}), self.time))

    def _published(self, topic: str, after: str | None) -> Publications:
        page = self.store.published(topic, after)
        self.read += len(page.items)
        return page


@pytest.fixture
def outside() -> Outside:
    return Outside()


def order(number: int) -> str:
    found = topic("paid", "order", number)
    assert found is not None
    return found


def ids(arrivals: object) -> list[str]:
    assert isinstance(arrivals, list)
    return [arrival.id for arrival in arrivals if isinstance(arrival, Arrival)]


def test_only_what_has_the_topic_is_read(outside: Outside) -> None:
    for number in range(OTHERS):
        outside.publish(number)
    incoming = outside.incoming()
    assert [arrival.payload for arrival in incoming.of("paid", order(7))] == [{"order": 7}]
    outside.publish(8)
    assert not incoming.read()
    outside.publish(7)
    assert incoming.read()
    assert len(incoming.of("paid", order(7))) == outside.read == 2


@pytest.mark.parametrize("wanted", ["paid", order(7)], ids=["name", "value"])
def test_mail_and_publications_come_in_the_order_of_their_times(outside: Outside, wanted: str) -> None:
    comes: list[Callable[[int], None]] = [outside.publish, outside.send]
    for call in comes * 2:
        call(7)
    outside.send(7, name="sent")
    incoming = outside.incoming()
    assert ids(incoming.of("paid", wanted)) == ["pub:1", "mail:1", "pub:2", "mail:2"]
    for call in reversed(comes):
        call(7)
    assert incoming.read()
    assert ids(incoming.of("paid", wanted))[4:] == ["mail:4", "pub:3"]
    assert not incoming.read()


def test_topics_are_read_each_for_itself(outside: Outside) -> None:
    incoming = outside.incoming()
    assert ids(incoming.of("paid", order(1))) == []
    outside.publish(1)
    outside.send(1)
    incoming.read()
    assert ids(incoming.of("paid", "paid")) == ids(incoming.of("paid", order(1))) == ["pub:1", "mail:1"]
    assert ids(incoming.of("paid", order(2))) == []
    assert incoming.positions(["paid", order(1)]) == {"paid": "1", order(1): "1"}
