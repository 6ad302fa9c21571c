"""Checks of Redis: that it answers, what it keeps, its clock, and which workers are alive there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, cast
from urllib.parse import urlsplit

import redis

from stepwell.cli.doctor.finding import Finding, Level, clock, ok, warning, wrong
from stepwell.errors import StepwellError
from stepwell.queues.rq import names
from stepwell.redis_client import RedisClient
from stepwell.settings import Settings

OLDEST = (6, 2)
PATIENCE = 3.0
NEARLY_FULL = 0.8

Facts = Mapping[str, Any]


def check_redis(known: Settings, keeps_tasks: bool) -> Iterator[Finding]:
    """All about Redis; `keeps_tasks`: whether it is the store too, or only carries the bells."""
    name = _name(known)
    try:
        client = RedisClient(
            known.redis_url, sentinels=known.redis_sentinels, master=known.redis_master, patience=PATIENCE
        )
        with closing(client):
            connection = client.connection()
            server = _check_server(connection, name)
            yield server
            if server.level is Level.OK:
                yield _check_durability(connection, keeps_tasks)
                yield _check_memory(connection)
                yield _check_clock(connection)
                yield _check_suspension(connection, names.prefix(known.namespace))
                yield from _check_workers(connection, known)
    except (redis.RedisError, StepwellError) as error:
        yield wrong("redis", f"{name} cannot be used: {error}", "start it, or correct REDIS_URL or REDIS_SENTINELS")


def _name(known: Settings) -> str:
    """Which Redis, without its password."""
    if known.redis_sentinels:
        return f"the Redis {known.redis_master!r} of Sentinels {', '.join(known.redis_sentinels)}"
    url = urlsplit(known.redis_url)
    return f"Redis at {url.path if url.scheme == 'unix' else f'{url.hostname}:{url.port or 6379}'}"


def _check_server(connection: redis.Redis, name: str) -> Finding:
    facts = cast(Facts, connection.info())
    version = str(facts["redis_version"])
    told = f"{name}: version {facts.get('valkey_version', version)}"
    if tuple(map(int, version.split(".")[:2])) < OLDEST:
        return wrong("redis", told, "use Redis 6.2 or newer, or Valkey")
    if facts.get("role") != "master":
        return wrong("redis", f"{told}, a replica: it refuses writes", "name its master, or use REDIS_SENTINELS")
    if facts.get("cluster_enabled"):
        return wrong("redis", f"{told}, in cluster mode", "use one without; Sentinel makes it available")
    return ok("redis", told)


def _config(connection: redis.Redis, *wanted: str) -> Facts | None:
    """Some of its configuration; None where a provider does not let us read it."""
    try:
        found = cast(Facts, connection.config_get(*wanted))
    except redis.ResponseError:
        return None
    return found if set(wanted) <= found.keys() else None


def _check_durability(connection: redis.Redis, keeps_tasks: bool) -> Finding:
    check = "redis durability"
    if not keeps_tasks:
        return ok(check, "tasks are in the database; what Redis loses is queued again from there")
    if connection.info("persistence").get("aof_last_write_status", "ok") != "ok":
        return wrong(check, "its last write to the append-only file failed", "look for a full disk where Redis runs")
    found = _config(connection, "appendonly", "appendfsync", "no-appendfsync-on-rewrite")
    if found is None:
        message = "appendonly and appendfsync could not be checked, CONFIG is not allowed here"
        return warning(check, message, "ask for appendonly yes and appendfsync always")
    if found["appendonly"] != "yes":
        return wrong(check, "appendonly no: when Redis ends, acknowledged tasks are lost", "set appendonly yes")
    return _check_fsync(check, found)


def _check_fsync(check: str, found: Facts) -> Finding:
    told = f"appendonly yes, appendfsync {found['appendfsync']}"
    if found["appendfsync"] == "everysec":
        message = f"{told}: a crash of Redis may lose the last one to two seconds of what was acknowledged"
        return warning(check, message, "set appendfsync always")
    if found["appendfsync"] != "always":
        message = f"{told}: a crash of its machine may lose half a minute of what was acknowledged"
        return warning(check, message, "set appendfsync always")
    if found["no-appendfsync-on-rewrite"] == "yes":
        message = f"{told}, but no-appendfsync-on-rewrite yes: a crash during a rewrite may lose what was acknowledged"
        return warning(check, message, "set no-appendfsync-on-rewrite no")
    return ok(check, f"{told}: what is acknowledged survives a crash of Redis")


def _check_memory(connection: redis.Redis) -> Finding:
    check, facts = "redis memory", cast(Facts, connection.info("memory"))
    policy, limit, used = facts["maxmemory_policy"], facts["maxmemory"], facts["used_memory"]
    told = f"maxmemory-policy {policy}, {used / 2**20:,.0f} MiB used"
    if policy != "noeviction":
        report = wrong if limit else warning
        return report(check, f"{told}: a full Redis throws tasks away", "set maxmemory-policy noeviction")
    if limit and used > NEARLY_FULL * limit:
        return warning(check, f"{told} of {limit / 2**20:,.0f} MiB: a full Redis refuses new tasks", "raise maxmemory")
    return ok(check, told)


def _check_clock(connection: redis.Redis) -> Finding:
    before = time.time()
    seconds, microseconds = connection.time()
    after = time.time()
    ahead = seconds + microseconds / 1e6 - (before + after) / 2
    return clock("redis clock", "Redis", ahead, (after - before) / 2)


def _check_suspension(connection: redis.Redis, start: str) -> Finding:
    if connection.exists(f"{start}:suspended"):
        return warning("suspension", "workers are suspended and take no task", "run rq resume")
    return ok("suspension", "workers are not suspended")


def _check_workers(connection: redis.Redis, known: Settings) -> Iterator[Finding]:
    for queue in known.queues:
        alive = _alive(connection, names.prefix(known.namespace), queue)
        if alive:
            yield ok(f"workers {queue}", f"{alive} work-horse{'s' if alive > 1 else ''}")
        else:
            remedy = "start python run_worker.py, or leave the queue out of QUEUES"
            yield wrong(f"workers {queue}", "no worker is alive: tasks would wait for one", remedy)


def _alive(connection: redis.Redis, start: str, queue: str) -> int:
    """How many of RQ's workers listen to the queue, at any priority: a dead one's key expires."""
    sets = [f"{start}:workers:{line}" for line in names.lines([queue])]
    workers = cast(set[bytes], connection.sunion(sets))
    return connection.exists(*workers) if workers else 0
