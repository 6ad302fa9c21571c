"""Transactions on publications: the log of them and its index of topics, tasks that listen, and groups of consumers.

A publication's id, and a position, is its number. Who publishes holds the log until the end, so that numbers are seen
in order; who begins to listen shares it, so that nothing is published between its look at the log and its end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from stepwell import lifecycle
from stepwell.ports import Suspension
from stepwell.stores import records
from stepwell.stores.sql import rows
from stepwell.stores.sql.database import Params
from stepwell.stores.sql.transaction import Transaction
from stepwell.task import Publication, Publications, Task

BATCH = 1000
"""How many tasks one call of `rouse` answers at most."""

OLD = 500
"""How many publications one call of `forget` drops at most."""


def publish(
    transaction: Transaction, name: str, payload: str, topics: Sequence[str], key: str | None, sender: str | None
) -> tuple[Publication, bool]:
    """See `TaskStore.publish`."""
    session, sql = transaction.session, transaction.sql.publishing
    now, [*_, found] = session.look(*_turn(sql.lock_log), (sql.find_key, {"key": key}))
    if found:
        return rows.read_publication(found[0]), False
    row = {"name": name, "payload": payload, "published_at": now, "sender": sender, "key": key}
    [[id_]] = session.rows(sql.insert, {**row, "topics": records.to_json(topics)})
    index = [{"topic": topic, "publication": id_, "published_at": now} for topic in _digests(topics)]
    session.do_many(sql.insert_topic, index)
    transaction.tallies[name, "published"] += 1
    return Publication(str(id_), name, payload, now, tuple(topics), sender), True


def published(transaction: Transaction, topic: str, after: str | None, since: float, limit: int) -> Publications:
    """See `TaskStore.published`."""
    session, sql = transaction.session, transaction.sql.publishing
    [[newest]] = session.rows(sql.newest, {})  # before the others, which hold no less than what was there then
    wanted = {"topic": _digest(topic), "since": since}
    begin = int(after or 0)
    if after is None:
        [[first]] = session.rows(sql.first_since, wanted)
        begin = (first or 1) - 1
    found = session.rows(sql.with_topic, {**wanted, "after": begin, "limit": limit + 1})
    items = [rows.read_publication(row) for row in found[:limit]]
    last = int(items[-1].id) if items else int(after or 0)
    return Publications(items, str(last if len(found) > limit else max(last, newest or 0)))


def undelivered(transaction: Transaction, group: str, consumer: str, limit: int) -> list[Publication]:
    """See `TaskStore.undelivered`."""
    session, sql = transaction.session, transaction.sql.publishing
    session.do(sql.new_group, {"group": group})
    now, [[[position]]] = session.look((sql.lock_group, {"group": group}))
    overdue = session.rows(sql.overdue, {"group": group, "latest": now - records.REDELIVERY, "limit": limit})
    fresh = session.rows(sql.after, {"after": position, "limit": limit - len(overdue)})
    ids = [row[0] for row in (*overdue, *fresh)]
    taken = [{"consumer_group": group, "publication": id_, "consumer": consumer, "since": now} for id_ in ids]
    session.do_many(sql.deliver, taken)
    if fresh:
        session.do(sql.move_group, {"group": group, "position": fresh[-1][0]})
    return [rows.read_publication(row) for row in (*overdue, *fresh)]


def is_something_undelivered(transaction: Transaction, group: str) -> bool:
    """Whether `undelivered` would answer something; this only reads."""
    latest = transaction.session.now() - records.REDELIVERY
    [[some]] = transaction.session.rows(transaction.sql.publishing.has_some, {"group": group, "latest": latest})
    return bool(some)


def delivered(transaction: Transaction, group: str, publication: Publication, received: int) -> None:
    """See `TaskStore.delivered`."""
    one = {"group": group, "publication": int(publication.id)}
    if transaction.session.rows(transaction.sql.publishing.delivered, one) and received:
        transaction.tallies[publication.name, "received"] += received


def rouse(transaction: Transaction, publication: Publication) -> list[Task]:
    """See `TaskStore.rouse`."""
    session, sql = transaction.session, transaction.sql
    common = {"before": int(publication.id), "limit": BATCH}
    topics = [{"topic": digest, **common} for digest in _digests(publication.topics)]
    _, found = session.look(*((sql.publishing.listening, topic) for topic in topics))
    ids = list(dict.fromkeys(task_id for listening in found for (task_id,) in listening))[:BATCH]
    now, [locked] = session.look((sql.waiting.lock_waiting, sql.waiting.ids(ids)))
    waiting = [rows.read_task(row) for row in locked]
    listening = [row for row in waiting if lifecycle.listens(row.task)]
    return transaction.save_all([(row, replace(row, task=lifecycle.woken(row.task, now))) for row in listening])


def counts(transaction: Transaction) -> Mapping[str, Mapping[str, int]]:
    """See `TaskStore.publications`."""
    found: dict[str, dict[str, int]] = {}
    for name, counter, number in transaction.session.rows(transaction.sql.publishing.counts, {}):
        if number:
            found.setdefault(name, {"published": 0, "received": 0, "listening": 0})[counter] = int(number)
    return found


def has_missed(transaction: Transaction, suspension: Suspension) -> bool:
    """Whether something was published that a task which begins to wait has not read; until the end nothing more is."""
    sql, positions = transaction.sql.publishing, suspension.positions
    unread: list[tuple[str, Params]] = [
        (sql.has_topic, {"topic": _digest(topic), "after": int(positions[topic])})
        for topic in suspension.topics
        if topic in positions
    ]
    if not unread:
        return False
    _, found = transaction.session.look(*_turn(sql.share_log), *unread)
    return any(is_there for [[is_there]] in found[-len(unread) :])


def listen(transaction: Transaction, task_id: str, suspension: Suspension) -> None:
    """Have a task woken by what is published under the topics of its suspension."""
    names = {topic: topic.partition("\0")[0] for topic in suspension.topics}
    listens = [
        {
            "topic": _digest(topic),
            "task_id": task_id,
            "name": name,
            "position": int(suspension.positions.get(topic, 0)),
        }
        for topic, name in names.items()
    ]
    transaction.session.do_many(transaction.sql.publishing.listen, listens)
    transaction.tallies.update((name, "listening") for name in set(names.values()))


def forget(transaction: Transaction, older_than: float) -> bool:
    """Drop the oldest of what was published so many seconds ago or before; whether there may be more."""
    session, sql = transaction.session, transaction.sql.publishing
    dropped = session.rows(sql.drop_old, {"latest": session.now() - older_than, "limit": OLD})
    index = [{"topic": topic, "publication": id_} for id_, topics in dropped for topic in _digests(json.loads(topics))]
    session.do_many(sql.drop_topic, index)
    if len(dropped) == OLD:
        return True
    session.do(sql.drop_deliveries, {})
    return False


def _turn(lock: str | None) -> list[tuple[str, Params]]:
    """The statement that waits for the log, if writers do not take turns anyway."""
    return [] if lock is None else [(lock, {})]


def _digests(topics: Iterable[str]) -> list[str]:
    """In one order, so that no two transactions wait for each other's rows."""
    return sorted(set(map(_digest, topics)))


def _digest(topic: str) -> str:
    return hashlib.sha256(topic.encode(errors="surrogatepass")).hexdigest()
