"""What PostgreSQL adds to the SQL store: a server that goes away, sessions of its own, and workers side by side."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.contract.building import NOTHING, child, crew_of, new, running, step
from tests.servers import PostgresServer

from stepwell import lifecycle
from stepwell.errors import NotDelivered, Unavailable
from stepwell.ports import Commit, Suspension
from stepwell.stores.sql import SqlStore, publishing, waiting
from stepwell.stores.sql.database import Session
from stepwell.task import Status


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of the test's own, that it may stop."""
    with PostgresServer() as server:
        yield server


def test_a_server_that_is_restarted_is_used_again(server: PostgresServer) -> None:
    with closing(SqlStore(server.url)) as store:
        store.create(new("t1"))
        assert store.claim("t1", "A", "w")
        server.stop(signal.SIGQUIT)
        with pytest.raises(NotDelivered, match="cannot be used"):
            store.commit("t1", "A", Commit(steps=[step("a")]))
        with pytest.raises(Unavailable):
            store.get("t1")
        server.start()
        store.commit("t1", "A", Commit(steps=[step("a")]))
        assert store.finish("t1", "A", NOTHING, Status.COMPLETED, None, None).status is Status.COMPLETED
        assert [record.path for record in store.steps("t1").items] == ["a"]


def test_a_server_that_crashes_under_load_loses_nothing_that_was_acknowledged(server: PostgresServer) -> None:
    acknowledged: list[str] = []
    stop = threading.Event()

    def submit(worker: int, store: SqlStore) -> None:
        number = 0
        while not stop.is_set():
            id_ = f"w{worker}-{number}"
            try:
                store.create(new(id_))
            except Unavailable:
                continue  # the same id again: if it is there, that is the answer
            acknowledged.append(id_)
            number += 1

    with closing(SqlStore(server.url)) as store:
        threads = [threading.Thread(target=submit, args=(number, store)) for number in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(2):
            before = len(acknowledged)
            while len(acknowledged) < before + 20:
                stop.wait(0.01)
            server.restart("immediate")
        stop.set()
        for thread in threads:
            thread.join()
        assert {store.get(id_).status for id_ in acknowledged} == {Status.QUEUED}
        assert len(acknowledged) == len(set(acknowledged)) == store.counts()["line"]["queued"]


def test_what_is_acknowledged_is_on_disk_whatever_the_default_of_the_server(postgres_url: str) -> None:
    lax = f"{postgres_url}{'&' if '?' in postgres_url else '?'}options=-csynchronous_commit%3Doff"
    with closing(SqlStore(lax)) as store:
        assert store._db.read(lambda session: session.rows("SHOW synchronous_commit", {})) == [("on",)]


def test_a_worker_that_stops_within_a_transaction_keeps_no_lock_for_ever(postgres_url: str) -> None:
    with closing(SqlStore(postgres_url)) as store:
        found = store._db.read(lambda session: session.rows("SHOW idle_in_transaction_session_timeout", {}))
    assert found == [("10s",)]


def test_a_locked_task_is_passed_over_by_those_who_sweep(postgres_url: str) -> None:
    with closing(SqlStore(postgres_url)) as store, closing(SqlStore(postgres_url)) as other:
        for id_ in ("lock-1", "lock-2"):
            store.create(new(id_, delay=0.001))

        def wake_beside(locked: str) -> list[str]:
            def act(session: Session) -> list[str]:
                assert session.rows(store._sql.lock_task, {"task_id": locked})
                return [task.task_id for task in other.wake()]

            return store._db.write(act)

        assert wake_beside("lock-1") == ["lock-2"]
        assert [task.task_id for task in other.wake()] == ["lock-1"]


WORKER = """
import sys
from stepwell.ports import Commit
from stepwell.stores.sql import SqlStore
from stepwell.task import NewTask, Status
url, me = sys.argv[1:]
store = SqlStore(url, lease_seconds=0.01, connections=2)
def new(number, key):
    return NewTask(f"{me}-{number}", "w", "h", "text", "line", 1, "{}", 60, 3, idempotency_key=key, delay=0.001)
keys = [f"shared-{number}" for number in range(10)]
for number in range(15):
    batch = keys if number % 2 else keys[::-1]
    store.create_many([new(f"{number}-{key}", f"{key}-{number}") for key in batch])
    for task in store.wake():
        store.claim(task.task_id, f"{me}-{number}", me)
    store.renew({task.task_id: f"{me}-{number}" for task in store.queued(0)})
    store.lose(me, crashed=False)
    store.reap()
    store.purge(0)
store.close()
"""


def test_processes_sweep_side_by_side_without_a_deadlock(server: PostgresServer) -> None:
    with closing(SqlStore(server.url)) as store:
        processes = [subprocess.Popen([sys.executable, "-c", WORKER, server.url, f"p{number}"]) for number in range(3)]
        assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
        assert _deadlocks(store) == 0
        counts = store.counts()["line"]
        assert counts["created_total"] == 150
        assert sum(counts[status] for status in Status) == 150


def _deadlocks(store: SqlStore) -> int:
    asked = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    [[number]] = store._db.read(lambda session: session.rows(asked, {}))
    return int(number)


FAMILY_WORKER = """
import sys
from stepwell.ports import Commit, TaskFilter
from stepwell.stores.sql import SqlStore
from stepwell.task import NewTask, Status
url, me = sys.argv[1], int(sys.argv[2])
store = SqlStore(url, connections=2)
ends, lost = (Status.COMPLETED, Status.FAILED), set()
while True:
    queued = store.list(TaskFilter(parent="t1", status=Status.QUEUED)).items
    if not queued:
        break
    for task in queued[me::3] or queued:
        if store.claim(task.task_id, f"A{me}", f"worker-{me}") is None:
            continue
        store.renew({task.task_id: f"A{me}"})
        store.commit(task.task_id, f"A{me}", Commit())
        if task.index % 5 == 0 and task.index not in lost:
            lost.add(task.index)
            store.lose(f"worker-{me}", crashed=False)
        else:
            store.finish(task.task_id, f"A{me}", Commit(), ends[task.index % 2], None, None)
    store.wake()
    store.reap()
    if me == 0 and len(store.list(TaskFilter(parent="t1", status=Status.COMPLETED), limit=100).items) > 30:
        while store.cancel_children("t1"):
            pass
store.close()
"""


def test_a_family_whose_children_end_side_by_side_is_told_once(server: PostgresServer) -> None:
    with closing(SqlStore(server.url)) as store:
        running(store)
        store.spawn("t1", "A", "each", crew_of(200, at_once=20, allowed=200), [child(index) for index in range(200)])
        store.suspend("t1", "A", NOTHING, Suspension())
        command = [sys.executable, "-c", FAMILY_WORKER, server.url]
        processes = [subprocess.Popen([*command, str(number)]) for number in range(3)]
        assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
        crew = store.crew("t1", "each")
        assert (crew.active, crew.completed + crew.failed, crew.closed) == (0, 200, True)
        assert [mail.payload for mail in store.mailbox("t1")] == ["1"]
        counts = store.counts()["line"]
        assert (counts["completed"], counts["completed"] + counts["failed"] + counts["cancelled"]) == (
            crew.completed,
            200,
        )
        assert _deadlocks(store) == 0


def _waits_for_the_log(store: SqlStore, publisher: threading.Thread) -> bool:
    """Whether a thread comes to wait for its turn to publish, or ends without."""
    asked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    while publisher.is_alive():
        if store._db.read(lambda session: session.rows(asked, {})) != [(0,)]:
            return True
    return False


def test_what_is_published_while_a_task_begins_to_listen_wakes_it(postgres_url: str) -> None:
    with closing(SqlStore(postgres_url)) as store, closing(SqlStore(postgres_url)) as other:
        store.create(new("listens"))
        assert store.claim("listens", "A", "w")
        suspension = Suspension(topics=["heard"], positions={"heard": store.published("heard").position})
        roused: list[str] = []

        def publish() -> None:
            publication, _ = other.publish("heard", "1", ["heard"])
            roused.extend(task.task_id for task in other.rouse(publication))

        publisher = threading.Thread(target=publish)

        def act(session: Session) -> None:
            waiting.suspend(store._transaction(session), "listens", "A", NOTHING, suspension)
            publisher.start()
            assert _waits_for_the_log(other, publisher)

        store._db.write(act)
        publisher.join()
        assert roused == ["listens"]


def test_publications_are_seen_in_the_order_of_their_positions(postgres_url: str) -> None:
    with closing(SqlStore(postgres_url)) as store, closing(SqlStore(postgres_url)) as other:
        position = store.published("ordered").position
        later = threading.Thread(target=other.publish, args=("ordered", "2", ["ordered"]))

        def act(session: Session) -> None:
            publishing.publish(store._transaction(session), "ordered", "1", ["ordered"], None, None)
            later.start()
            assert _waits_for_the_log(other, later)

        store._db.write(act)
        later.join()
        assert [one.payload for one in store.published("ordered", after=position).items] == ["1", "2"]


def test_a_child_whose_parent_is_busy_is_reaped_later(server: PostgresServer) -> None:
    time = [1_700_000_000.0]
    with closing(SqlStore(server.url, clock=lambda: time[0])) as store:
        running(store, "t1")
        store.spawn("t1", "A", "each", crew_of(1), [child(0)])
        for number in range(lifecycle.MAX_CRASHES - 1):
            assert store.claim("each-0000", f"B{number}", "w")
            store.lose("w")
            time[0] += 5
            store.wake()
        assert store.claim("each-0000", "C", "w")
        time[0] += 60
        store.renew({"t1": "A"})

        def reap_beside(session: Session) -> list[str]:
            assert session.rows(store._sql.lock_task, {"task_id": "t1"})
            return [task.task_id for task in store.reap()]

        assert store._db.write(reap_beside) == []
        assert [(task.task_id, task.status) for task in store.reap()] == [("each-0000", Status.FAILED)]
        assert store.crew("t1", "each").over
