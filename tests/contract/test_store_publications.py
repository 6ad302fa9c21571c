"""Published events: kept in order, read from a position, given to each group once, and woken for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.building import NOTHING, running

from stepwell.errors import InvalidInput
from stepwell.ports import Suspension, TaskStore
from stepwell.task import NewMail, Publication, Status, Task
from stepwell.topics import topic, topics_of

if TYPE_CHECKING:
    from tests.contract.conftest import Clock

REDELIVERED = 30


def publish(store: TaskStore, number: int = 0, name: str = "paid", key: str | None = None) -> Publication:
    """Publish `{"order": number}`."""
    payload = f'{{"order":{number}}}'
    return store.publish(name, payload, topics_of(name, {"order": number}), key, "ann")[0]


def order(number: int, name: str = "paid") -> str:
    """The topic of the events of one order."""
    found = topic(name, "order", number)
    assert found is not None
    return found


def listening(store: TaskStore, task_id: str = "t1", token: str = "A", **suspension: Any) -> Task:
    """A task that waits for publications."""
    running(store, task_id, token)
    return store.suspend(task_id, token, NOTHING, Suspension(**{"topics": ["paid"], **suspension}))


def end_of_log(store: TaskStore, *topics: str) -> dict[str, str]:
    """That all has been read of these topics, or of `paid`."""
    return {topic: store.published(topic, limit=10_000).position for topic in topics or ("paid",)}


class TestLog:
    def test_what_is_published_is_kept(self, store: TaskStore, clock: Clock) -> None:
        payload = '{"order":7,"text":"é\\u0000"}'
        publication, is_new = store.publish("paid", payload, topics_of("paid", {"order": 7}), sender="ann")
        assert is_new
        assert (publication.name, publication.payload, publication.sender) == ("paid", payload, "ann")
        assert (publication.published_at, publication.topics) == (clock(), ("paid", order(7)))
        assert list(store.published("paid").items) == [publication]

    def test_a_key_publishes_once(self, store: TaskStore, clock: Clock) -> None:
        first, is_new = store.publish("paid", "1", ["paid"], key="k")
        clock.advance(1)
        assert is_new
        assert store.publish("paid", "2", ["paid"], key="k", sender="bob") == (first, False)
        assert store.publish("paid", "2", ["paid"], key="other")[1]
        assert [one.payload for one in store.published("paid").items] == ["1", "2"]

    def test_of_each_name_in_order(self, store: TaskStore) -> None:
        for number in range(6):
            publish(store, number, name="paid" if number % 2 else "sent")
        assert [one.payload for one in store.published("paid").items] == [f'{{"order":{n}}}' for n in (1, 3, 5)]
        assert store.published("unheard-of").items == []

    def test_of_each_value_in_order(self, store: TaskStore) -> None:
        made = [publish(store, number) for number in (1, 2, 1, 3, 1)]
        publish(store, 1, name="sent")
        assert list(store.published(order(1)).items) == [made[0], made[2], made[4]]
        assert list(store.published(order(2)).items) == [made[1]]
        assert store.published(order(4)).items == []
        assert list(store.published("paid").items) == made

    @pytest.mark.parametrize("read", ["paid", order(7)], ids=["name", "value"])
    def test_read_in_parts(self, store: TaskStore, read: str) -> None:
        made = []
        for _ in range(5):
            made.append(publish(store, 7))
            publish(store, 7, name="other")
        position: str | None = None
        found: list[Publication] = []
        for size in (2, 2, 1, 0):
            part = store.published(read, after=position, limit=2)
            assert len(part.items) == size
            found.extend(part.items)
            position = part.position
        assert found == made
        publish(store, 7, name="other")
        assert store.published(read, after=position).items == []
        last = publish(store, 7)
        assert list(store.published(read, after=position).items) == [last]

    @pytest.mark.parametrize("read", ["paid", order(0)], ids=["name", "value"])
    def test_the_end_of_an_empty_log_is_a_position(self, store: TaskStore, read: str) -> None:
        end = store.published(read).position
        publication = publish(store)
        assert list(store.published(read, after=end).items) == [publication]

    @pytest.mark.parametrize("read", ["paid", order(7)], ids=["name", "value"])
    def test_since_a_time(self, store: TaskStore, clock: Clock, read: str) -> None:
        publish(store, 7)
        clock.advance(10)
        second = publish(store, 7)
        assert list(store.published(read, since=clock()).items) == [second]
        clock.advance(1)
        part = store.published(read, since=clock())
        assert part.items == []
        third = publish(store, 7)
        assert list(store.published(read, after=part.position, since=clock()).items) == [third]

    def test_a_clock_that_goes_back_changes_no_order(self, store: TaskStore, clock: Clock) -> None:
        made = []
        for number in range(12):
            made.append(publish(store, number % 2))
            clock.advance(-5)
        assert list(store.published("paid").items) == made
        assert list(store.published(order(1)).items) == made[1::2]

    @pytest.mark.parametrize("field", ["name", "payload", "key", "sender"])
    def test_what_is_no_text(self, store: TaskStore, field: str) -> None:
        values = {"name": "paid", "payload": "1", "key": "k", "sender": "ann", field: "a\0"}
        with pytest.raises(InvalidInput, match=field):
            store.publish(values["name"], values["payload"], ["paid"], values["key"], values["sender"])
        assert store.published("paid").items == []

    def test_large_ones(self, store: TaskStore) -> None:
        payload = '"' + "é" * 500_000 + '"'
        store.publish("paid", payload, ["paid"])
        assert store.published("paid").items[0].payload == payload
        assert store.undelivered("waits", "a")[0].payload == payload

    def test_old_ones_are_purged(self, store: TaskStore, clock: Clock) -> None:
        publish(store, 1, key="k")
        publish(store, 2)
        ends = end_of_log(store, "paid", order(1), order(2))
        clock.advance(60)
        second = publish(store, 2)
        clock.advance(1)
        assert store.purge(60).tasks == 0
        for read, found in (("paid", [second]), (order(1), []), (order(2), [second])):
            assert list(store.published(read).items) == found
            assert list(store.published(read, after=ends[read]).items) == found
        assert store.undelivered("waits", "a") == [second]
        assert store.publications()["paid"]["published"] == 3
        assert store.publish("paid", "3", ["paid"], key="k")[1]

    def test_any_number_of_old_ones_is_purged(self, store: TaskStore, clock: Clock) -> None:
        for number in range(2100):
            publish(store, number)
        clock.advance(61)
        last = publish(store, 7)
        assert store.purge(60).tasks == 0
        assert list(store.published("paid", limit=3000).items) == [last]
        assert list(store.published(order(7)).items) == [last]


class TestDelivery:
    def test_each_goes_to_one_consumer_of_each_group(self, store: TaskStore) -> None:
        made = [publish(store, number) for number in range(5)]
        assert list(store.undelivered("waits", "a", limit=3)) == made[:3]
        assert list(store.undelivered("waits", "b", limit=3)) == made[3:]
        assert list(store.undelivered("waits", "a")) == []
        assert list(store.undelivered("triggers", "a")) == made

    def test_what_is_not_delivered_is_given_again_after_a_while(self, store: TaskStore, clock: Clock) -> None:
        made = [publish(store, number) for number in range(3)]
        assert list(store.undelivered("waits", "a")) == made
        store.delivered("waits", made[1])
        clock.advance(REDELIVERED - 1)
        assert list(store.undelivered("waits", "b")) == []
        last = publish(store, 3)
        clock.advance(1)
        assert list(store.undelivered("waits", "b")) == [made[0], made[2], last]
        clock.advance(REDELIVERED - 1)
        assert list(store.undelivered("waits", "a")) == []
        for one in (made[0], made[2], last):
            store.delivered("waits", one)
        clock.advance(1000)
        assert list(store.undelivered("waits", "a")) == []

    def test_a_new_group_gets_all(self, store: TaskStore, clock: Clock) -> None:
        made = [publish(store, number) for number in range(3)]
        for one in store.undelivered("waits", "a"):
            store.delivered("waits", one)
        clock.advance(1000)
        assert list(store.undelivered("triggers", "a")) == made

    def test_nothing(self, store: TaskStore) -> None:
        assert list(store.undelivered("waits", "a")) == []

    def test_how_many_received_it_is_counted_once(self, store: TaskStore) -> None:
        publication = publish(store)
        store.undelivered("waits", "a")
        store.undelivered("triggers", "a")
        for _ in range(2):
            store.delivered("waits", publication, 3)
        store.delivered("triggers", publication, 1)
        assert store.publications()["paid"]["received"] == 4


class TestRouse:
    def test_who_listens_is_queued(self, store: TaskStore) -> None:
        listening(store, "t1")
        listening(store, "t2", topics=["paid", "other"])
        listening(store, "t3", topics=["other"])
        publication = publish(store)
        tasks = store.rouse(publication)
        assert sorted(task.task_id for task in tasks) == ["t1", "t2"]
        assert all(task == store.get(task.task_id) and task.status is Status.QUEUED for task in tasks)
        assert store.get("t3").status is Status.WAITING
        assert store.rouse(publication) == []

    def test_only_who_waits_for_its_value(self, store: TaskStore) -> None:
        for number in range(3):
            listening(store, f"t{number}", topics=[order(number)])
        assert [task.task_id for task in store.rouse(publish(store, 1))] == ["t1"]
        assert store.rouse(publish(store, 1, name="sent")) == []

    def test_it_wakes_once(self, store: TaskStore) -> None:
        listening(store)
        first, second = publish(store, 1), publish(store, 2)
        assert len(store.rouse(first)) == 1
        assert store.rouse(second) == []
        store.claim("t1", "B", "host:1")
        assert store.rouse(second) == []

    def test_it_suspends_again_only_for_what_it_has_not_read(self, store: TaskStore) -> None:
        publication = publish(store)
        task = listening(store, positions=end_of_log(store))
        assert task.status is Status.WAITING
        assert store.rouse(publication) == []
        assert len(store.rouse(publish(store))) == 1

    def test_what_was_published_before_it_suspends_is_not_lost(self, store: TaskStore) -> None:
        running(store)
        read = end_of_log(store)
        publish(store)
        suspension = Suspension(topics=["paid"], positions=read)
        assert store.suspend("t1", "A", NOTHING, suspension).status is Status.QUEUED

    def test_each_topic_is_read_for_itself(self, store: TaskStore) -> None:
        running(store)
        narrow = end_of_log(store, order(2))
        publication = publish(store, 2)
        read = {**end_of_log(store, "paid", order(1)), **narrow}
        suspension = Suspension(topics=["paid", order(1), order(2)], positions=read)
        assert store.suspend("t1", "A", NOTHING, suspension).status is Status.QUEUED
        store.claim("t1", "B", "host:1")
        suspension = replace(suspension, topics=["paid", order(1)])
        assert store.suspend("t1", "B", NOTHING, suspension).status is Status.WAITING
        assert store.rouse(publication) == []
        assert len(store.rouse(publish(store, 1))) == 1

    def test_what_of_a_topic_nobody_has_read_wakes_only_when_it_is_told(self, store: TaskStore) -> None:
        publication = publish(store, 2)
        running(store)
        suspension = Suspension(topics=["paid", order(2)], positions=end_of_log(store))
        assert store.suspend("t1", "A", NOTHING, suspension).status is Status.WAITING
        assert len(store.rouse(publication)) == 1

    def test_what_was_published_under_other_topics_is_no_reason(self, store: TaskStore) -> None:
        running(store)
        read = end_of_log(store, order(2))
        publish(store, 1)
        publish(store, 2, name="sent")
        suspension = Suspension(topics=[order(2)], positions=read)
        assert store.suspend("t1", "A", NOTHING, suspension).status is Status.WAITING
        assert len(store.rouse(publish(store, 2))) == 1

    @pytest.mark.parametrize("end", ["wake", "cancel", "send"])
    def test_who_no_longer_waits_listens_no_more(self, store: TaskStore, clock: Clock, end: str) -> None:
        listening(store, due=clock() + 5)
        clock.advance(5)
        ends: dict[str, Callable[[], object]] = {
            "wake": store.wake,
            "cancel": lambda: store.cancel("t1"),
            "send": lambda: store.send("t1", NewMail("x", "1")),
        }
        ends[end]()
        assert store.publications().get("paid", {"listening": 0})["listening"] == 0
        assert store.rouse(publish(store)) == []
        if end == "cancel":
            return
        store.claim("t1", "B", "host:1")
        assert store.suspend("t1", "B", NOTHING, Suspension(mail=1)).status is Status.WAITING
        assert store.rouse(publish(store)) == []

    def test_a_thousand_in_a_call(self, store: TaskStore) -> None:
        for number in range(1100):
            listening(store, f"t{number:04}")
        publication = publish(store)
        found = [store.rouse(publication) for _ in range(3)]
        assert [len(tasks) for tasks in found] == [1000, 100, 0]
        assert len({task.task_id for tasks in found for task in tasks}) == 1100


def test_publications_are_counted(store: TaskStore) -> None:
    assert store.publications() == {}
    listening(store, "t1", topics=[order(1), order(2), "sent"])
    listening(store, "t2")
    publish(store, 7)
    publish(store, 8)
    counts = store.publications()
    assert dict(counts["paid"]) == {"published": 2, "received": 0, "listening": 2}
    assert dict(counts["sent"]) == {"published": 0, "received": 0, "listening": 1}
    assert len(store.rouse(publish(store, 2))) == 2
    counts = store.publications()
    assert dict(counts["paid"]) == {"published": 3, "received": 0, "listening": 0}
    assert counts.get("sent", {"listening": 0})["listening"] == 0
