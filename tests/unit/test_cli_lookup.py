"""Which task a word on the command line means."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepwell.cli.lookup import find_task
from stepwell.errors import InvalidInput, NotFound
from stepwell.loader import Catalog
from stepwell.queues.silent import SilentQueue
from stepwell.registry import actions
from stepwell.secrets import Cipher
from stepwell.service import Defaults, Service
from stepwell.stores.memory import MemoryStore
from stepwell.task import NewTask

IDS = [
    "0193a2b4-5c6d-7000-8000-00000000aaaa",
    "0193a2b4-5c6d-7001-8000-00000001aaaa",
    "0193a2b4-5c6e-7000-8000-00000000bbbb",
]


@pytest.fixture
def service(tmp_path: Path) -> Service:
    store = MemoryStore()
    for task_id in IDS:
        text = '{"steps": [{"output": 1}]}'
        store.create(NewTask(task_id, "w", "hash", text, "q", 1, "{}", timeout=1.0, max_retries=0))
    return Service(store, SilentQueue(), SilentQueue(), Catalog(tmp_path, registry=actions), Cipher(None), Defaults())


@pytest.mark.parametrize(
    ("word", "number"),
    [
        (IDS[0], 0),
        (IDS[1].upper(), 1),
        ("0193a2b4-5c6e", 2),
        ("0193a2b4-5c6d-7001", 1),
        ("bbbb", 2),
        ("0001aaaa", 1),
        ("00000000aaaa", 0),
        ("last", 2),
    ],
)
def test_a_task_is_found_by_its_id_either_end_of_it_or_as_the_last(service: Service, word: str, number: int) -> None:
    assert find_task(service, word).task_id == IDS[number]


@pytest.mark.parametrize(
    ("word", "error", "told"),
    [
        ("bbb", InvalidInput, "at least 4 characters"),
        ("aaaa", InvalidInput, "part of several"),
        ("0193a2b4-5c6d", InvalidInput, "part of several"),
        ("0193a2b", NotFound, "unknown task"),
        ("cccc", NotFound, "unknown task"),
    ],
)
def test_a_word_that_means_no_single_task_is_told(
    service: Service, word: str, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        find_task(service, word)


def test_the_last_of_no_tasks_is_unknown(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path, registry=actions)
    with pytest.raises(NotFound):
        find_task(Service(MemoryStore(), SilentQueue(), SilentQueue(), catalog, Cipher(None), Defaults()), "last")
