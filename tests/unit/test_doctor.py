"""What `stepwell doctor` finds: real Redis servers and databases, set well and badly."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import rq
from tests.programs import free_port
from tests.servers import PostgresServer, RedisServer, Sentinels

from stepwell.cli.doctor.database import check_database
from stepwell.cli.doctor.finding import Finding, Level, clock
from stepwell.cli.doctor.project import check_project, check_settings
from stepwell.cli.doctor.redis_server import check_redis
from stepwell.settings import Settings
from stepwell.stores.sql import SqlStore

QUEUES = ("workflow_execute", "chat_process")


def queued(url: str) -> Settings:
    """Settings of a deployment with a queue."""
    return Settings(queue_enabled=True, redis_url=url, queues=QUEUES)


def by_check(findings: Iterable[Finding]) -> dict[str, Finding]:
    """The findings by the name of their check; what is not ok says what to do."""
    found = list(findings)
    assert all(bool(one.remedy) == (one.level is not Level.OK) for one in found)
    return {one.check: one for one in found}


# -- Redis ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def durable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis as it should be."""
    with RedisServer(tmp_path_factory.mktemp("redis"), appendfsync="always") as server:
        yield server


def test_a_good_redis_is_ok_and_says_what_it_keeps(durable: RedisServer) -> None:
    found = by_check(check_redis(queued(durable.url), keeps_tasks=True))
    wrong = [one for one in found.values() if one.level is not Level.OK and not one.check.startswith("workers")]
    assert wrong == []
    assert "appendfsync always" in found["redis durability"].message


@pytest.mark.parametrize(
    ("options", "check", "level", "told"),
    [
        ((), "redis durability", Level.WRONG, "appendonly no"),
        (("--appendonly", "yes", "--appendfsync", "everysec"), "redis durability", Level.WARNING, "one to two seconds"),
        (("--appendonly", "yes", "--appendfsync", "no"), "redis durability", Level.WARNING, "half a minute"),
        (
            ("--appendonly", "yes", "--appendfsync", "always", "--no-appendfsync-on-rewrite", "yes"),
            "redis durability",
            Level.WARNING,
            "rewrite",
        ),
        (("--rename-command", "CONFIG", ""), "redis durability", Level.WARNING, "could not be checked"),
        (("--maxmemory-policy", "allkeys-lru"), "redis memory", Level.WARNING, "allkeys-lru"),
        (("--maxmemory-policy", "volatile-ttl", "--maxmemory", "99mb"), "redis memory", Level.WRONG, "volatile-ttl"),
        (("--maxmemory", "1100kb"), "redis memory", Level.WARNING, "refuses new tasks"),
        (("--replicaof", "127.0.0.1", "1"), "redis", Level.WRONG, "replica"),
        (("--cluster-enabled", "yes"), "redis", Level.WRONG, "cluster"),
    ],
)
def test_a_bad_redis_is_told(tmp_path: Path, options: tuple[str, ...], check: str, level: Level, told: str) -> None:
    with RedisServer(tmp_path, *options) as server:
        found = by_check(check_redis(queued(server.url), keeps_tasks=True))
    assert (found[check].level, told in found[check].message) == (level, True), found[check]


def test_with_a_database_redis_need_not_keep_anything(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        found = by_check(check_redis(queued(server.url), keeps_tasks=False))
    assert found["redis durability"].level is Level.OK


def test_a_redis_that_does_not_answer_is_wrong_and_its_password_is_not_told() -> None:
    [found] = check_redis(queued(f"redis://user:hunter22@127.0.0.1:{free_port()}/0"), keeps_tasks=True)
    assert (found.check, found.level) == ("redis", Level.WRONG)
    assert "127.0.0.1" in found.message
    assert "hunter22" not in found.message


def test_sentinels_are_asked_for_the_master(tmp_path: Path) -> None:
    with Sentinels(tmp_path) as sentinels:
        addresses = tuple(sentinels.addresses.split(","))
        known = Settings(queue_enabled=True, redis_sentinels=addresses, redis_master=sentinels.master_name)
        found = by_check(check_redis(known, keeps_tasks=True))
    assert found["redis"].level is Level.OK
    assert sentinels.master_name in found["redis"].message


def test_each_queue_needs_a_worker_of_any_priority(durable: RedisServer) -> None:
    known = queued(durable.url)
    connection = durable.client()
    worker = rq.Worker([f"{QUEUES[0]}:urgent", QUEUES[0]], connection=connection, name="one")
    worker.register_birth()  # type: ignore[no-untyped-call]
    found = by_check(check_redis(known, keeps_tasks=True))
    worker.register_death()  # type: ignore[no-untyped-call]
    assert found[f"workers {QUEUES[0]}"].level is Level.OK
    assert "1 work-horse" in found[f"workers {QUEUES[0]}"].message
    assert found[f"workers {QUEUES[1]}"].level is Level.WRONG
    after = by_check(check_redis(known, keeps_tasks=True))
    assert after[f"workers {QUEUES[0]}"].level is Level.WRONG


def test_a_suspension_is_told(durable: RedisServer) -> None:
    connection = durable.client()
    connection.set("rq:suspended", 1)
    found = by_check(check_redis(queued(durable.url), keeps_tasks=True))
    connection.delete("rq:suspended")
    assert found["suspension"].level is Level.WARNING


def test_a_namespace_has_workers_of_its_own(durable: RedisServer) -> None:
    connection = durable.client()
    connection.sadd(f"shop:rq:workers:{QUEUES[0]}:low", "shop:rq:worker:one")
    connection.set("shop:rq:worker:one", "")
    known = queued(durable.url)
    apart = known.model_copy(update={"namespace": "shop"})
    levels = [by_check(check_redis(one, True))[f"workers {QUEUES[0]}"].level for one in (known, apart)]
    connection.delete("shop:rq:worker:one", f"shop:rq:workers:{QUEUES[0]}:low")
    assert levels == [Level.WRONG, Level.OK]


@pytest.mark.parametrize(
    ("ahead", "tolerance", "level", "told"),
    [
        (0.9, 0.0, Level.OK, "agree"),
        (3.0, 0.0, Level.WARNING, "3.0 s ahead of"),
        (-3.0, 0.0, Level.WARNING, "3.0 s behind"),
        (-3.0, 2.5, Level.OK, "agree"),
    ],
)
def test_clocks_that_differ_are_told(ahead: float, tolerance: float, level: Level, told: str) -> None:
    found = clock("redis clock", "Redis", ahead, tolerance)
    assert (found.level, told in found.message) == (level, True)


# -- SQL -----------------------------------------------------------------------------------------------------------


def sqlite_finding(file: Path, is_queued: bool = False) -> Finding:
    [found] = check_database(f"sqlite:///{file}", is_queued)
    return found


def test_a_database_that_is_not_there_yet_is_ok_and_not_made(tmp_path: Path) -> None:
    assert sqlite_finding(tmp_path / "data" / "new.db").level is Level.OK
    assert list(tmp_path.iterdir()) == []


def test_our_own_database_is_ok_but_for_workers_of_one_host_only(tmp_path: Path) -> None:
    file = tmp_path / "tasks #1.db"
    SqlStore(f"sqlite:///{file}").close()
    assert sqlite_finding(file).level is Level.OK
    assert sqlite_finding(file, is_queued=True).level is Level.WARNING


def test_a_database_in_another_journal_mode_is_told(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "old.db")
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    found = sqlite_finding(tmp_path / "old.db")
    assert (found.level, "journal mode delete" in found.message) == (Level.WARNING, True)


def test_a_damaged_database_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "bad.db").write_bytes(os.urandom(8192))
    assert sqlite_finding(tmp_path / "bad.db").level is Level.WRONG


def test_postgres_tells_what_it_promises() -> None:
    with PostgresServer(fsync=True) as server:
        found = by_check(check_database(server.url, is_queued=True))
        relaxed = by_check(check_database(f"{server.url}&options=-csynchronous_commit%3Doff", is_queued=True))
    assert [one.level for one in found.values()] == [Level.OK, Level.OK]
    assert "synchronous_commit on" in found["store"].message
    assert relaxed["store"].level is Level.WARNING


def test_postgres_without_fsync_is_wrong(postgres_url: str) -> None:
    found = by_check(check_database(postgres_url, is_queued=True))
    assert (found["store"].level, "fsync off" in found["store"].message) == (Level.WRONG, True)


def test_postgres_that_does_not_answer_is_wrong_and_its_password_is_not_told() -> None:
    [found] = check_database(f"postgresql://user:hunter22@127.0.0.1:{free_port()}/tasks", is_queued=True)
    assert found.level is Level.WRONG
    assert "hunter22" not in found.message


def test_another_kind_of_database_is_wrong() -> None:
    [found] = check_database("mysql://localhost/tasks", is_queued=False)
    assert (found.level, "mysql" in found.message) == (Level.WRONG, True)


# -- the project ---------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one good workflow, in which this process is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "good.yaml").write_text("steps: [{id: one, output: 1}]")
    return tmp_path


def project_finding(check: str, **settings: object) -> Finding:
    return by_check(check_project(Settings.model_validate(settings)))[check]


def test_a_good_project_is_ok(folder: Path) -> None:
    assert {one.level for one in check_project(Settings())} == {Level.OK}


def test_settings_that_do_not_load_are_wrong(folder: Path) -> None:
    (folder / ".env").write_text("MAX_WORKERS=many\nQUEUE_ENABLD=true")
    known, found = check_settings()
    assert (known, found.level) == (None, Level.WRONG)
    assert "MAX_WORKERS" in found.message
    assert "did you mean QUEUE_ENABLED" in found.message


def test_a_workflow_that_does_not_load_is_wrong(folder: Path) -> None:
    (folder / "workflows" / "bad.yaml").write_text("steps: [{uses: nothing.like.it}]")
    found = project_finding("workflows")
    assert (found.level, "bad.yaml:1" in found.message) == (Level.WRONG, True)


@pytest.mark.parametrize(("name", "level"), [("nowhere", Level.WRONG), ("empty", Level.WARNING)])
def test_a_folder_without_workflows_is_told(folder: Path, name: str, level: Level) -> None:
    (folder / "empty").mkdir()
    assert project_finding("workflows", workflows_dir=name).level is level


@pytest.mark.parametrize(
    ("key", "level"), [(None, Level.WRONG), ("short", Level.WRONG), ("k" * 40, Level.OK)], ids=["none", "short", "good"]
)
def test_secret_variables_need_a_key(folder: Path, key: str | None, level: Level) -> None:
    (folder / "workflows" / "good.yaml").write_text("variables: {pin: {type: secret}}\nsteps: [{id: one, output: 1}]")
    assert project_finding("secrets", secret_key=key).level is level


@pytest.mark.parametrize(
    ("settings", "level"),
    [
        ({"host": "0.0.0.0"}, Level.WRONG),
        ({"host": "::1"}, Level.OK),
        ({"host": "0.0.0.0", "api_keys": "ci:viewer:sha256=" + "0" * 64}, Level.OK),
    ],
)
def test_a_server_that_others_reach_needs_keys(folder: Path, settings: dict[str, str], level: Level) -> None:
    assert project_finding("access", **settings).level is level


@pytest.mark.parametrize(
    ("url", "is_queued", "level"),
    [("./files", False, Level.OK), ("./files", True, Level.WARNING), ("s3://bucket/files", True, Level.OK)],
)
def test_files_in_a_folder_are_told_when_there_are_workers(
    folder: Path, url: str, is_queued: bool, level: Level
) -> None:
    assert project_finding("files", files_url=url, queue_enabled=is_queued).level is level


@pytest.mark.parametrize(("wait", "level"), [("330", Level.OK), ("300", Level.WARNING), ("soon", Level.WRONG)])
def test_a_supervisor_that_kills_too_early_is_told(folder: Path, wait: str, level: Level) -> None:
    (folder / "supervisord.conf").write_text(f"[program:worker]\nstopwaitsecs = {wait}  ; seconds\n")
    assert project_finding("supervisor").level is level
