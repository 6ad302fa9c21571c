"""Transactions on publications: the log of them, tasks that listen, and groups of consumers.

A publication's id, and a position, is its number. Who publishes holds the log until the end, so that numbers are seen
in order; who begins to listen shares it, so that nothing is published between its look at the log and its end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from stepwell import lifecycle
from stepwell.ports import Suspension
from stepwell.stores import records
from stepwell.stores.sql import rows
from stepwell.stores.sql.database import Params, Row
from stepwell.stores.sql.transaction import Transaction
from stepwell.task import Publication, Publications, Task

BATCH = 1000
"""How many tasks one call of `rouse` answers at most."""

_LOOK = 100
"""So many publications are looked through to see whether a task that begins to wait has missed one."""


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
    transaction.tallies[name, "published"] += 1
    return Publication(str(id_), name, payload, now, tuple(topics), sender), True


def published(transaction: Transaction, name: str, after: str | None, since: float, limit: int) -> Publications:
    """See `TaskStore.published`."""
    session, sql = transaction.session, transaction.sql.publishing
    [[newest]] = session.rows(sql.newest, {})  # before the others, which hold no less than what was there then
    named = {"name": name, "since": since}
    begin = int(after or 0)
    if after is None:
        [[first]] = session.rows(sql.first_since, named)
        begin = (first or 1) - 1
    found = session.rows(sql.named_after, {**named, "after": begin, "limit": limit + 1})
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
    topics = [{"topic": digest, **common} for digest in sorted(set(map(_digest, publication.topics)))]
    _, found = session.look(*((sql.publishing.listening, topic) for topic in topics))
    ids = list(dict.fromkeys(task_id for listening in found for (task_id,) in listening))[:BATCH]
    now, [locked] = session.look((sql.waiting.lock_waiting, sql.waiting.ids(ids)))
    waiting = [rows.read_task(row) for row in locked]
    return transaction.save_all([(row, replace(row, task=lifecycle.woken(row.task, now))) for row in waiting])


def counts(transaction: Transaction) -> Mapping[str, Mapping[str, int]]:
    """See `TaskStore.publications`."""
    found: dict[str, dict[str, int]] = {}
    for name, counter, number in transaction.session.rows(transaction.sql.publishing.counts, {}):
        if number:
            found.setdefault(name, {"published": 0, "received": 0, "listening": 0})[counter] = int(number)
    return found


def has_missed(transaction: Transaction, suspension: Suspension) -> bool:
    """Whether something was published that a task which begins to wait has not read; until the end nothing more is."""
    sql, topics = transaction.sql.publishing, set(suspension.topics)
    if not suspension.positions:
        return False
    unread = (
        (sql.named_after, {"name": name, "after": int(position), "since": 0.0, "limit": _LOOK})
        for name, position in sorted(suspension.positions.items())
    )
    _, found = transaction.session.look(*_turn(sql.share_log), *unread)
    found = found[-len(suspension.positions) :]
    return any(len(read) == _LOOK or _concerns(topics, read) for read in found)


def listen(transaction: Transaction, task_id: str, suspension: Suspension) -> None:
    """Have a task woken by what is published under the topics of its suspension."""
    names = {topic: topic.partition("\0")[0] for topic in suspension.topics}
    listens = [
        {
            "topic": _digest(topic),
            "task_id": task_id,
            "name": name,
            "position": int(suspension.positions.get(name, 0)),
        }
        for topic, name in names.items()
    ]
    transaction.session.do_many(transaction.sql.publishing.listen, listens)
    transaction.tallies.update((name, "listening") for name in set(names.values()))


def forget(transaction: Transaction, latest: float) -> None:
    """Drop what was published before this time."""
    transaction.session.do(transaction.sql.publishing.drop_old, {"latest": latest})
    transaction.session.do(transaction.sql.publishing.drop_deliveries, {})


def _turn(lock: str | None) -> list[tuple[str, Params]]:
    """The statement that waits for the log, if writers do not take turns anyway."""
    return [] if lock is None else [(lock, {})]


def _concerns(topics: set[str], read: Iterable[Row]) -> bool:
    return any(not topics.isdisjoint(rows.read_publication(row).topics) for row in read)


def _digest(topic: str) -> str:
    return hashlib.sha256(topic.encode(errors="surrogatepass")).hexdigest()
