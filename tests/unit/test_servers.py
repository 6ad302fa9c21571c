"""The real parts of the tests: they do what they are said to do."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.acceptance.serving import ROOT, environment, eventually
from tests.faults.clock import ShiftedClock
from tests.faults.proxy import ChaosProxy
from tests.programs import free_port, required
from tests.servers import PostgresServer, RedisServer, Sentinels

DAY = 24 * 3600


@pytest.fixture
def no_retry() -> Retry:
    """Clients that tell what happened the first time."""
    return Retry(NoBackoff(), 0)


class TestRequired:
    def test_a_missing_program_skips_the_test_and_names_the_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CI", raising=False)
        monkeypatch.delenv("STEPWELL_REQUIRE_ALL", raising=False)
        with pytest.raises(pytest.skip.Exception, match="apt-get install the-package"):
            required("no-such-program", "the-package")

    @pytest.mark.parametrize("variable", ["CI", "STEPWELL_REQUIRE_ALL"])
    def test_in_continuous_integration_it_fails(self, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
        monkeypatch.setenv(variable, "1")
        with pytest.raises(pytest.fail.Exception, match="apt-get install the-package"):
            required("no-such-program", "the-package")


class TestRedis:
    def test_appendfsync_always_keeps_what_was_acknowledged_before_a_kill(self, tmp_path: Path) -> None:
        with RedisServer(tmp_path, appendfsync="always") as server:
            server.client().set("kept", "yes")
            server.kill()
            server.start()
            assert server.client().get("kept") == b"yes"

    def test_without_it_nothing_is_kept(self, tmp_path: Path) -> None:
        with RedisServer(tmp_path) as server:
            server.client().set("kept", "no")
            server.restart()
            assert server.client().dbsize() == 0

    def test_paused_it_takes_connections_and_does_not_answer(self, tmp_path: Path, no_retry: Retry) -> None:
        with RedisServer(tmp_path) as server:
            server.pause()
            with pytest.raises(redis.TimeoutError):
                server.client(socket_timeout=0.05, retry=no_retry).ping()
            server.resume()
            assert server.client().ping()

    def test_a_server_that_cannot_start_shows_its_log(self, redis_server: RedisServer, tmp_path: Path) -> None:
        second = RedisServer(tmp_path, port=redis_server.port)
        with pytest.raises(AssertionError, match="Address already in use"):
            second.start()
        assert not second.running

    def test_it_dies_with_a_killed_parent(self, tmp_path: Path) -> None:
        required("redis-server", "redis-server")
        code = (
            "import sys, pathlib; sys.path.insert(0, sys.argv[2])\n"
            "from tests.servers import RedisServer\n"
            "print(RedisServer(pathlib.Path(sys.argv[1])).start().port, flush=True)\n"
            "sys.stdin.read()\n"
        )
        command = [sys.executable, "-c", code, str(tmp_path), str(ROOT)]
        with subprocess.Popen(
            command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as parent:
            assert parent.stdout is not None
            client = redis.Redis(port=int(parent.stdout.readline()), retry=Retry(NoBackoff(), 0))
            client.ping()
            parent.send_signal(signal.SIGKILL)
        eventually(lambda: _is_gone(client))


class TestSentinels:
    def test_after_a_failover_the_replica_is_the_master_and_has_the_data(self, tmp_path: Path) -> None:
        with Sentinels(tmp_path) as sentinels:
            assert sentinels.master_port() == sentinels.master.port
            master = sentinels.master.client()
            master.set("kept", "yes")
            master.wait(1, 5_000)
            sentinels.failover()
            assert sentinels.master_port() == sentinels.replica.port
            replica = sentinels.replica.client()
            assert replica.get("kept") == b"yes"
            eventually(lambda: replica.info("replication")["role"] == "master")


class TestProxy:
    @pytest.fixture
    def proxy(self, redis_server: RedisServer, tmp_path: Path) -> ChaosProxy:
        redis_server.client().flushall()
        return ChaosProxy(tmp_path, redis_server.port)

    def test_a_dropped_reply_leaves_the_command_done(
        self, redis_server: RedisServer, proxy: ChaosProxy, no_retry: Retry
    ) -> None:
        with proxy:
            client = redis.Redis.from_url(proxy.url, socket_timeout=0.2, retry=no_retry)
            client.ping()
            proxy.set(drop_reply_after=0)
            with pytest.raises(redis.TimeoutError):
                client.incr("counter")
            assert redis_server.client().get("counter") == b"1"
            proxy.heal()
            assert client.incr("counter") == 2

    def test_open_connections_are_reset(self, proxy: ChaosProxy) -> None:
        with proxy, socket.create_connection(("127.0.0.1", proxy.port)) as connection:
            connection.sendall(b"PING\r\n")
            assert connection.recv(100) == b"+PONG\r\n"
            assert proxy.set(kill=True)["killed"] == 1
            with pytest.raises(ConnectionResetError):
                connection.recv(100)

    def test_a_reply_is_cut_half_way(self, redis_server: RedisServer, proxy: ChaosProxy, no_retry: Retry) -> None:
        redis_server.client().set("long", "x" * 10_000)
        with proxy:
            proxy.set(cut_after_bytes=5_000)
            with pytest.raises(redis.ConnectionError):
                redis.Redis.from_url(proxy.url, retry=no_retry).get("long")

    def test_refused(self, proxy: ChaosProxy, no_retry: Retry) -> None:
        with proxy:
            proxy.set(refuse=True)
            with pytest.raises(redis.ConnectionError):
                redis.Redis.from_url(proxy.url, retry=no_retry).ping()


class TestClock:
    @pytest.mark.parametrize("shift", [7 * DAY, -DAY])
    def test_redis_sees_the_shift_at_once(self, tmp_path: Path, shifted_clock: ShiftedClock, shift: int) -> None:
        with RedisServer(tmp_path, env=shifted_clock.env) as server:
            client = server.client()
            assert client.time()[0] == pytest.approx(time.time(), abs=DAY / 24)
            shifted_clock.shift(shift)
            assert client.time()[0] == pytest.approx(time.time() + shift, abs=DAY / 24)

    def test_keys_expire(self, tmp_path: Path, shifted_clock: ShiftedClock) -> None:
        with RedisServer(tmp_path, env=shifted_clock.env) as server:
            client = server.client()
            client.set("week", "x", ex=7 * DAY)
            shifted_clock.shift(7 * DAY - 60)
            assert client.get("week") == b"x"
            shifted_clock.shift(7 * DAY + 60)
            assert client.get("week") is None

    def test_python_sees_it_too(self, shifted_clock: ShiftedClock) -> None:
        shifted_clock.shift(7 * DAY)
        command = [sys.executable, "-c", "import time; print(time.time())"]
        told = subprocess.check_output(command, env=environment(**shifted_clock.env))
        assert float(told) == pytest.approx(time.time() + 7 * DAY, abs=DAY / 24)


class TestPostgres:
    @pytest.mark.parametrize("on_loopback", [False, True])
    def test_a_crash_keeps_what_was_committed_and_breaks_connections(self, on_loopback: bool) -> None:
        with PostgresServer(fsync=True, port=free_port() if on_loopback else None) as server:
            with psycopg.connect(server.url) as connection:
                connection.execute("CREATE TABLE kept AS SELECT 1 AS number")
            with psycopg.connect(server.url, autocommit=True) as connection:
                server.restart()
                with pytest.raises(psycopg.OperationalError):
                    connection.execute("SELECT number FROM kept")
            with psycopg.connect(server.url) as connection:
                assert connection.execute("SELECT number FROM kept").fetchone() == (1,)
        assert not server.folder.exists()


def _is_gone(client: redis.Redis) -> bool:
    try:
        client.ping()
    except redis.ConnectionError:
        return True
    return False
