"""What names on the command line mean: a workflow by id or file, a task by its id or the beginning of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stepwell.errors import FieldProblem, InvalidInput, NotFound

if TYPE_CHECKING:
    from stepwell.loader import Catalog, Definition
    from stepwell.service import Service
    from stepwell.task import Task
    from stepwell.wiring import System

SHORTEST = 8
"""Characters of a task id that must be written at least."""

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
    return known.from_file(Path(name)) if is_file(name) else known.get(name)


def find_task(service: Service, name: str) -> Task:
    """The task whose id is, or begins with, this. Raises `NotFound`, and `InvalidInput` if there are several."""
    name = name.strip().lower()
    if len(name) >= len(_GREATEST):
        return service.get(name)
    if len(name) < SHORTEST:
        raise InvalidInput([FieldProblem("task", f"write at least {SHORTEST} characters of the id, not {name!r}")])
    found = _beginning_with(service, name)
    if not found:
        raise NotFound("task", name)
    if len(found) > 1:
        shown = ", ".join(task.task_id for task in found)
        raise InvalidInput([FieldProblem("task", f"{name!r} is the beginning of several, write more: {shown}, …")])
    return found[0]


def _beginning_with(service: Service, name: str) -> list[Task]:
    """Up to three tasks; lists are ordered by id, so that they are the first ones below the greatest such id."""
    from stepwell.ports import TaskFilter
    from stepwell.stores.records import encode_cursor

    page = service.tasks(TaskFilter(), limit=3, cursor=encode_cursor(name + _GREATEST[len(name) :]))
    return [task for task in page.items if task.task_id.startswith(name)]
