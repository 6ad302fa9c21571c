"""Pages of tasks: roots, newest first, or the children of one task in order of their places and indices."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from stepwell.ports import TaskFilter
from stepwell.stores import records
from stepwell.stores.sql.tables import labels, tasks
from stepwell.task import Task

Listing = tuple[sa.Select[Any], dict[str, Any]]
"""A statement and its parameters; `limit` is the caller's."""

_LIMIT: sa.BindParameter[int] = sa.bindparam("limit", type_=sa.Integer)
_NONE: sa.ColumnElement[int] = sa.literal_column("0")


def listing(only: TaskFilter, cursor: str | None) -> Listing:
    """What answers the tasks that a filter shows, from a cursor on."""
    statement, params = _filtered(only)
    statement = statement.limit(_LIMIT).offset(_NONE)
    return (
        _roots(statement, params, only, cursor) if only.parent is None else _children(statement, params, only, cursor)
    )


def cursor_after(only: TaskFilter, last: Task) -> str:
    """What asks for the page after one that ends with this task."""
    return records.encode_cursor(last.task_id) if only.parent is None else records.encode_place(last)


def _filtered(only: TaskFilter) -> Listing:
    wanted = {
        "status": only.status and only.status.value,
        "workflow_id": only.workflow_id,
        "queue": only.queue,
        "external_id": only.external_id,
        "parent": only.parent,
        "place": only.place,
    }
    params: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    statement = sa.select(tasks).where(*(tasks.c[name] == sa.bindparam(name) for name in params))
    for number, (name, value) in enumerate(only.labels.items()):
        params.update({f"label_{number}": name, f"value_{number}": value})
        labelled = sa.select(labels.c.task_id).where(
            labels.c.name == sa.bindparam(f"label_{number}"), labels.c.value == sa.bindparam(f"value_{number}")
        )
        statement = statement.where(tasks.c.task_id.in_(labelled))
    if only.dead is not None:  # literally, so that the index of dead letters serves
        statement = statement.where(tasks.c.dead == sa.literal_column(str(int(only.dead))))
    return statement, params


def _roots(statement: sa.Select[Any], params: dict[str, Any], only: TaskFilter, cursor: str | None) -> Listing:
    if not only.dead:  # no child is a dead letter
        statement = statement.where(tasks.c.parent.is_(None))
    if cursor is not None:
        [params["before"]] = records.decode_cursor(cursor, 1)
        statement = statement.where(tasks.c.task_id < sa.bindparam("before"))
    return statement.order_by(tasks.c.task_id.desc()), params


def _children(statement: sa.Select[Any], params: dict[str, Any], only: TaskFilter, cursor: str | None) -> Listing:
    order = [tasks.c.place, tasks.c.index, tasks.c.task_id]
    after = [sa.bindparam(f"after_{column.name}", type_=column.type) for column in order]
    if only.place is not None:  # all have it: without it SQLite sees that the index is in order
        del order[0], after[0]
    if cursor is not None:
        params["after_place"], params["after_index"], params["after_task_id"] = records.decode_place(cursor)
        statement = statement.where(sa.tuple_(*order) > sa.tuple_(*after))
    return statement.order_by(*order), params
