"""The statements for publications: their log, who listens, and which groups of consumers got them."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from stepwell.stores.sql.ledger_statements import Insert, adding
from stepwell.stores.sql.waiting_tables import (
    consumer_groups,
    deliveries,
    listens,
    publication_counters,
    publication_topics,
    publications,
)

_LOG_LOCK = 7_301_994_424
_NONE: sa.ColumnElement[int] = sa.literal_column("0")
_LIMIT: sa.BindParameter[int] = sa.bindparam("limit", type_=sa.Integer)
_COLUMNS = (
    publications.c.id,
    publications.c.name,
    publications.c.payload,
    publications.c.published_at,
    publications.c.topics,
    publications.c.sender,
)


class PublishingStatements:
    """The texts; `text` compiles a statement."""

    lock_log: str | None
    """Has those who publish take turns, so that publications are seen in order; None where all writers do."""

    share_log: str | None
    """Keeps publications away until the end; None where the transaction does."""

    def __init__(self, text: Callable[[sa.ClauseElement], str], insert: Insert, is_sqlite: bool) -> None:
        self._text, self._insert = text, insert
        self.lock_log = None if is_sqlite else f"SELECT pg_advisory_xact_lock({_LOG_LOCK})"
        self.share_log = None if is_sqlite else f"SELECT pg_advisory_xact_lock_shared({_LOG_LOCK})"
        self._compile_log()
        self._compile_topics()
        self._compile_listening()
        self._compile_groups()

    def _compile_log(self) -> None:
        found = sa.select(*_COLUMNS).order_by(publications.c.id).limit(_LIMIT).offset(_NONE)
        after = publications.c.id > sa.bindparam("after", type_=sa.BigInteger)
        columns = ("name", "payload", "published_at", "topics", "sender", "key")
        values: dict[str, sa.BindParameter[object]] = {name: sa.bindparam(name) for name in columns}
        self.insert = self._text(sa.insert(publications).values(values).returning(publications.c.id))
        self.find_key = self._text(sa.select(*_COLUMNS).where(publications.c.key == sa.bindparam("key")))
        self.after = self._text(found.where(after))
        self.newest = self._text(sa.select(sa.func.max(publications.c.id)))
        old = publications.c.published_at < sa.bindparam("latest", type_=sa.Double)
        oldest = sa.select(publications.c.id).where(old).order_by(publications.c.published_at).limit(_LIMIT)
        dropped = sa.delete(publications).where(publications.c.id.in_(oldest.offset(_NONE)))
        self.drop_old = self._text(dropped.returning(publications.c.id, publications.c.topics))

    def _compile_topics(self) -> None:
        number, published_at = publication_topics.c.publication, publication_topics.c.published_at
        topic = publication_topics.c.topic == sa.bindparam("topic")
        recent = published_at >= sa.bindparam("since", type_=sa.Double)
        after = number > sa.bindparam("after", type_=sa.BigInteger)
        self.insert_topic = self._text(sa.insert(publication_topics))
        # Plus 0, so that it goes by number: those that are too old are few there.
        not_old = published_at + _NONE >= sa.bindparam("since", type_=sa.Double)
        page = sa.select(number).where(topic, not_old, after).order_by(number).limit(_LIMIT).offset(_NONE).subquery()
        numbered = page.c.publication == publications.c.id
        self.with_topic = self._text(sa.select(*_COLUMNS).join(page, numbered).order_by(publications.c.id))
        # Plus 0, lest all with this topic are walked through in order of the numbers, from the first one.
        self.first_since = self._text(sa.select(sa.func.min(number + _NONE)).where(topic, recent))
        self.has_topic = self._text(sa.select(sa.exists().where(topic, after)))
        one = number == sa.bindparam("publication", type_=sa.BigInteger)
        self.drop_topic = self._text(sa.delete(publication_topics).where(topic, one))

    def _compile_listening(self) -> None:
        topic, before = listens.c.topic == sa.bindparam("topic"), sa.bindparam("before", type_=sa.BigInteger)
        self.listen = self._text(self._insert(listens).on_conflict_do_nothing())
        self.listening = self._text(
            sa.select(listens.c.task_id)
            .where(topic, listens.c.position < before)
            .order_by(listens.c.position)
            .limit(_LIMIT)
            .offset(_NONE)
        )
        counters = publication_counters
        self.count = self._text(adding(self._insert(counters), counters, "name", "counter", "shard"))
        total = sa.func.sum(counters.c.number)
        self.counts = self._text(
            sa.select(counters.c.name, counters.c.counter, total)
            .group_by(counters.c.name, counters.c.counter)
            .order_by(counters.c.name)
        )

    def _compile_groups(self) -> None:
        group = consumer_groups.c.name == sa.bindparam("group")
        mine = deliveries.c.consumer_group == sa.bindparam("group")
        overdue = deliveries.c.since <= sa.bindparam("latest", type_=sa.Double)
        position = sa.select(consumer_groups.c.position).where(group)
        self.new_group = self._text(
            self._insert(consumer_groups).values(name=sa.bindparam("group"), position=_NONE).on_conflict_do_nothing()
        )
        self.lock_group = self._text(position.with_for_update())
        self.move_group = self._text(
            sa.update(consumer_groups).where(group).values(position=sa.bindparam("position", type_=sa.BigInteger))
        )
        unread = publications.c.id > sa.func.coalesce(position.scalar_subquery(), _NONE)
        self.has_some = self._text(sa.select(sa.or_(sa.exists().where(unread), sa.exists().where(mine, overdue))))
        self.overdue = self._text(
            sa.select(*_COLUMNS)
            .join(deliveries, deliveries.c.publication == publications.c.id)
            .where(mine, overdue)
            .order_by(publications.c.id)
            .limit(_LIMIT)
            .offset(_NONE)
        )
        new = self._insert(deliveries)
        replaced = {name: new.excluded[name] for name in ("consumer", "since")}
        key = ["consumer_group", "publication"]
        self.deliver = self._text(new.on_conflict_do_update(index_elements=key, set_=replaced))
        one = deliveries.c.publication == sa.bindparam("publication", type_=sa.BigInteger)
        self.delivered = self._text(sa.delete(deliveries).where(mine, one).returning(deliveries.c.publication))
        kept = sa.exists().where(publications.c.id == deliveries.c.publication)
        self.drop_deliveries = self._text(sa.delete(deliveries).where(~kept))
