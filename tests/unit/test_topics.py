"""Topics: whoever waits for a value is found by every payload that has it."""

from __future__ import annotations

import pytest

from stepwell.errors import Conflict, InvalidInput
from stepwell.publishing import Publisher, check_repeat
from stepwell.stores.memory import MemoryStore
from stepwell.topics import MAX_FIELDS, topic, topics_of


@pytest.mark.parametrize(
    ("waited", "published"), [(1, 1.0), (1, True), (False, 0), (0.5, 0.5), ("x", "x"), (None, None)]
)
def test_equal_values_have_the_same_topic(waited: object, published: object) -> None:
    assert topic("paid", "id", waited) in topics_of("paid", {"other": [], "id": published})


@pytest.mark.parametrize(("waited", "published"), [(1, "1"), (1, 2), ("a", "A"), (None, 0), (0.5, 0)])
def test_others_have_not(waited: object, published: object) -> None:
    assert topic("paid", "id", waited) not in topics_of("paid", {"id": published})


@pytest.mark.parametrize("value", ["x" * 201, [1], {"a": 1}])
def test_what_cannot_be_listened_for_is_found_by_the_name_alone(value: object) -> None:
    assert topic("paid", "id", value) is None
    assert topics_of("paid", {"id": value}) == ("paid",)


def test_a_payload_with_too_many_fields_is_refused() -> None:
    publisher = Publisher(MemoryStore())
    publisher.publish("wide", dict.fromkeys(map(str, range(MAX_FIELDS)), 1))
    with pytest.raises(InvalidInput, match="201 fields"):
        publisher.publish("wide", dict.fromkeys(map(str, range(MAX_FIELDS + 1)), 1))


@pytest.mark.parametrize("payload", [{"x": float("nan")}, [float("inf")], "x" * (1024 * 1024)])
def test_a_payload_that_cannot_be_kept_is_refused(payload: object) -> None:
    with pytest.raises(InvalidInput, match="payload"):
        Publisher(MemoryStore()).publish("odd", payload)


@pytest.mark.parametrize(("name", "payload"), [("paid", {"id": 2}), ("shipped", {"id": 1})])
def test_the_key_of_one_event_is_not_for_another(name: str, payload: object) -> None:
    first, _ = Publisher(MemoryStore()).publish("paid", {"id": 1}, "key")
    check_repeat(first, "paid", {"id": 1.0})
    with pytest.raises(Conflict, match="'paid'"):
        check_repeat(first, name, payload)
