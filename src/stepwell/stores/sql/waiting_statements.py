"""The statements for mail, crews and children."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection

import sqlalchemy as sa

from stepwell.stores.sql.ledger_statements import Insert
from stepwell.stores.sql.rows import CREW_COLUMNS
from stepwell.stores.sql.tables import tasks
from stepwell.stores.sql.waiting_tables import crews, listens, mail
from stepwell.task import ENDED, Status

_NONE: sa.ColumnElement[int] = sa.literal_column("0")
_LIMIT: sa.BindParameter[int] = sa.bindparam("limit", type_=sa.Integer)
_MAIL_COLUMNS = (mail.c.id, mail.c.name, mail.c.payload, mail.c.sent_at, mail.c.sender, mail.c.key)
_IN_ORDER = (tasks.c.place, tasks.c.index, tasks.c.task_id)


def disowned(is_sqlite: bool) -> sa.ColumnElement[int]:
    """Whether the task of a row is to be cancelled because of an ancestor, as `lifecycle.disowned` says."""
    above = (
        "json_each(tasks.ancestors) AS above"
        if is_sqlite
        else "jsonb_array_elements_text(CAST(tasks.ancestors AS jsonb)) AS above(value)"
    )
    ended = ", ".join(f"'{status}'" for status in sorted(ENDED))
    return sa.literal_column(
        f"EXISTS (SELECT 1 FROM {above} JOIN tasks AS ancestor ON ancestor.task_id = above.value"
        f" WHERE ancestor.status IN ({ended}) OR (ancestor.cancel_requested = 1 AND tasks.undoing = 0))"
    )


class WaitingStatements:
    """The texts; `text` compiles a statement."""

    def __init__(self, text: Callable[[sa.ClauseElement], str], insert: Insert, is_sqlite: bool) -> None:
        self._text, self._insert, self._is_sqlite = text, insert, is_sqlite
        self._compile_mail()
        self._compile_crews()
        self._compile_children()
        self._compile_several()

    def ids(self, task_ids: Collection[str]) -> dict[str, object]:
        """The parameter `ids` of statements for several tasks."""
        return {"ids": json.dumps(list(task_ids)) if self._is_sqlite else list(task_ids)}

    def _compile_mail(self) -> None:
        one, found = mail.c.task_id == sa.bindparam("task_id"), sa.select(*_MAIL_COLUMNS)
        after = mail.c.id > sa.bindparam("after", type_=sa.Integer)
        named, keyed = mail.c.name == sa.bindparam("name"), mail.c.key == sa.bindparam("key")
        first = found.where(one, named).order_by(mail.c.id).limit(sa.literal_column("1")).offset(_NONE)
        self.insert_mail = self._text(sa.insert(mail))
        self.mail_after = self._text(found.where(one, after).order_by(mail.c.id))
        self.has_mail = self._text(sa.select(sa.exists().where(one, after)))
        self.count_mail = self._text(sa.select(sa.func.count()).select_from(mail).where(one))
        self.first_named = self._text(first)
        self.find_key = self._text(found.where(one, keyed))
        self.drop_mail = self._text(sa.delete(mail).where(one, named))

    def _compile_crews(self) -> None:
        one, path = crews.c.task_id == sa.bindparam("task_id"), crews.c.path == sa.bindparam("path")
        columns = (crews.c.told, *(crews.c[name] for name in CREW_COLUMNS))
        self.get_crew = self._text(sa.select(*columns).where(one, path))
        self.crews_of = self._text(sa.select(crews.c.path, *columns).where(one).order_by(crews.c.path))
        new = self._insert(crews)
        replaced = {name: new.excluded[name] for name in ("told", *CREW_COLUMNS)}
        self.put_crew = self._text(new.on_conflict_do_update(index_elements=["task_id", "path"], set_=replaced))

    def _compile_children(self) -> None:
        child = tasks.alias("child")
        parent_of = sa.select(child.c.parent).where(child.c.task_id == sa.bindparam("task_id")).scalar_subquery()
        self.lock_parent = self._text(sa.select(tasks.c.task_id).where(tasks.c.task_id == parent_of).with_for_update())
        theirs = tasks.c.parent == sa.bindparam("parent", type_=sa.Text)
        placed = tasks.c.place == sa.bindparam("place", type_=sa.Text)
        held = (theirs, placed, tasks.c.status == sa.literal_column(f"'{Status.PENDING}'"), tasks.c.due.is_(None))
        self.lock_held = self._text(
            sa.select(tasks).where(*held).order_by(tasks.c.index).limit(_LIMIT).offset(_NONE).with_for_update()
        )
        not_cancelled = (theirs, tasks.c.completed_at.is_(None), tasks.c.cancel_requested == _NONE)
        some = sa.select(tasks).order_by(*_IN_ORDER).limit(_LIMIT).offset(_NONE).with_for_update()
        self.lock_children = self._text(some.where(*not_cancelled))
        self.lock_crew = self._text(some.where(*not_cancelled, placed))
        self.is_disowned = self._text(
            sa.select(disowned(self._is_sqlite)).select_from(tasks).where(tasks.c.task_id == sa.bindparam("task_id"))
        )

    def _compile_several(self) -> None:
        chosen, in_order = self._among(tasks.c.task_id), sa.select(tasks).order_by(tasks.c.task_id)
        self.get_several = self._text(in_order.where(chosen))
        waiting = tasks.c.status == sa.literal_column(f"'{Status.WAITING}'")
        self.lock_waiting = self._text(in_order.where(chosen, waiting).with_for_update())
        self.lock_free = self._text(sa.select(tasks.c.task_id).where(chosen).with_for_update(skip_locked=True))
        of_roots = sa.select(tasks).where(self._among(tasks.c.root)).order_by(tasks.c.root, tasks.c.task_id)
        self.lock_of_roots = self._text(of_roots.limit(_LIMIT).offset(_NONE).with_for_update())
        silent = sa.delete(listens).where(self._among(listens.c.task_id))
        self.drop_listens = self._text(silent.returning(listens.c.task_id, listens.c.name))

    def _among(self, column: sa.Column[str]) -> sa.ColumnElement[bool]:
        """Whether the value of a column is one of the parameter `ids`."""
        if self._is_sqlite:
            return column.in_(sa.text("SELECT value FROM json_each(:ids)").columns(value=sa.Text))
        return column == sa.any_(sa.cast(sa.bindparam("ids"), sa.ARRAY(sa.Text)))
