"""What names on the command line mean: a workflow by id or file, a task by its id, or an end of it, or `last`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from stepwell.errors import FieldProblem, InvalidInput, NotFound

if TYPE_CHECKING:
    from stepwell.loader import Catalog, Definition
    from stepwell.service import Service
    from stepwell.task import Task
    from stepwell.wiring import System

SHORTEST_BEGINNING, SHORTEST_END = 8, 4
"""Characters of a task id that must be written at least. The beginning tells only when it was made."""

NEWEST = 10_000
"""How many tasks, the newest ones, are looked through for the end of an id."""

LAST = "last"
"""Stands for the newest task."""

_GREATEST = "ffffffff-ffff-ffff-ffff-ffffffffffff"


def catalog() -> Catalog:
    """The workflows of the settings."""
    from stepwell import settings
    from stepwell.definitions import open_catalog

    return open_catalog(settings.load())


@contextmanager
def opened_system() -> Iterator[System]:
    """The whole system of the settings, which runs nothing by itself and adopts nothing."""
    from stepwell import settings, wiring

    system = wiring.build(settings.load(), interactive=True)
    try:
        yield system
    finally:
        system.stop()


def is_file(name: str) -> bool:
    """Whether a name means a file rather than the id of a workflow."""
    return name.endswith((".yaml", ".yml")) or Path(name).is_file()


def find_definition(known: Catalog, name: str) -> Definition:
    """The workflow in a file, or of this id. Raises `NotFound`, `DefinitionError`."""
    if is_file(name):
        return known.from_file(Path(name))
    try:
        return known.get(name)
    except NotFound as error:
        if lack := lack_of_workflows(known):
            error.add_note(lack)
        raise


def lack_of_workflows(known: Catalog) -> str:
    """What is said if there is not a single workflow: where they were looked for."""
    from stepwell import settings

    folder = settings.load().workflows_dir.absolute()
    if not folder.is_dir():
        return f"there is no folder {str(folder)!r}: make it, or set WORKFLOWS_DIR"
    return "" if known.all() else f"there is no workflow in {str(folder)!r}: write one there, or set WORKFLOWS_DIR"


def find_task(service: Service, name: str) -> Task:
    """The task of this id, or whose id begins or ends with this, or the newest for `last`.

    Raises `NotFound`, and `InvalidInput` if there are several.
    """
    name = name.strip().lower()
    if len(name) >= len(_GREATEST):
        return service.get(name)
    if name != LAST and len(name) < SHORTEST_END:
        raise InvalidInput([FieldProblem("task", f"write at least {SHORTEST_END} characters of the id, not {name!r}")])
    found = _newest(service) if name == LAST else _beginning_with(service, name) or _ending_with(service, name)
    if not found:
        raise NotFound("task", name)
    if len(found) > 1:
        shown = ", ".join(task.task_id for task in found)
        raise InvalidInput([FieldProblem("task", f"{name!r} is a part of several, write more: {shown}, …")])
    return found[0]


def _newest(service: Service) -> list[Task]:
    from stepwell.ports import TaskFilter

    return list(service.tasks(TaskFilter(), limit=1).items)


def _beginning_with(service: Service, name: str) -> list[Task]:
    """Up to three tasks; lists are ordered by id, so that they are the first ones below the greatest such id."""
    from stepwell.ports import TaskFilter
    from stepwell.stores.records import encode_cursor

    if len(name) < SHORTEST_BEGINNING:
        return []
    page = service.tasks(TaskFilter(), limit=3, cursor=encode_cursor(name + _GREATEST[len(name) :]))
    return [task for task in page.items if task.task_id.startswith(name)]


def _ending_with(service: Service, name: str) -> list[Task]:
    """Up to three of the newest tasks."""
    return list(islice((task for task in islice(_all(service), NEWEST) if task.task_id.endswith(name)), 3))


def _all(service: Service) -> Iterator[Task]:
    """Every task, the newest first."""
    from stepwell.ports import TaskFilter

    page = service.tasks(TaskFilter(), limit=1000)
    yield from page.items
    while page.next_cursor is not None:
        page = service.tasks(TaskFilter(), limit=1000, cursor=page.next_cursor)
        yield from page.items
