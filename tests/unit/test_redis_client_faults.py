"""What the Redis client raises when Redis is away, refuses or falls silent, and how it finds back."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.serving import eventually
from tests.faults.proxy import ChaosProxy
from tests.programs import free_port
from tests.servers import RedisServer, Sentinels
from tests.unit.canned_redis import CannedRedis

from stepwell.errors import NotDelivered, Unavailable
from stepwell.redis_client import RedisClient, Script, breaker

SET = Script("return redis.call('SET', 'key', ARGV[1])")
GET = Script("return redis.call('GET', 'key')")
STORED = b"OK"


@pytest.fixture
def proxy(redis_server: RedisServer, tmp_path: Path) -> Iterator[ChaosProxy]:
    with redis_server.client() as client:
        client.flushall()
    with ChaosProxy(tmp_path / "proxy", redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def one_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """The background asks once after a failure, and then not for long."""
    monkeypatch.setattr(breaker, "PAUSE", 3600.0)


@pytest.fixture
def many_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The background asks all the time."""
    monkeypatch.setattr(breaker, "PAUSE", 0.01)


def undelivered(client: RedisClient) -> str:
    """What is said about a request that was certainly not done."""
    with pytest.raises(NotDelivered) as caught:
        client.run(SET, ["x"])
    return str(caught.value)


def unknown(act: Callable[[], Any]) -> str:
    """What is said about a request that may have been done."""
    with pytest.raises(Unavailable) as caught:
        act()
    assert not isinstance(caught.value, NotDelivered)
    return str(caught.value)


# -- not connected -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fail_fast", [False, True])
def test_a_refused_connection_delivers_nothing(fail_fast: bool) -> None:
    port = free_port()
    with closing(RedisClient(f"redis://me:hush@127.0.0.1:{port}/0", fail_fast=fail_fast)) as client:
        assert f"Redis at 127.0.0.1:{port} cannot be reached" in undelivered(client)
        state = client.state()
        assert (state.answers, state.reads) == (False, False)
        assert "Connection refused" in (state.reason or "")
        assert "hush" not in (state.reason or "")


def test_a_host_without_address_delivers_nothing() -> None:
    with closing(RedisClient("redis://no.such.host.invalid:6379/0")) as client:
        assert "cannot be reached" in undelivered(client)


def test_a_connection_that_does_not_come_about_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, socket.socket() as first:
        first.connect(listener.getsockname())  # the only place in line is taken: further ones get no answer
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        with closing(RedisClient(url, fail_fast=True)) as client:
            assert "cannot be reached: " in undelivered(client)


def test_a_name_that_takes_too_long_to_resolve_is_given_up(monkeypatch: pytest.MonkeyPatch, one_probe: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found, resolve = threading.Event(), socket.getaddrinfo

        def slow(*args: Any, **options: Any) -> Any:
            if threading.current_thread().name == "redis-probe":
                raise socket.gaierror("only the request's connection matters here")
            found.wait()
            return resolve("127.0.0.1", *args[1:], **options)

        monkeypatch.setattr(socket, "getaddrinfo", slow)
        with closing(RedisClient(f"redis://redis.test:{listener.getsockname()[1]}/0", fail_fast=True)) as client:
            assert "not connected within 0.2 s" in undelivered(client)
            found.set()
            late, _ = listener.accept()
            with late:
                late.sendall(b"+OK\r\n" * 3)
                late.settimeout(30)
                while late.recv(4096):  # it says hello, and is closed at once
                    pass


def test_silence_while_logging_in_delivers_nothing(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        server.pause()
        with closing(RedisClient(server.url, patience=0.2)) as client:
            assert "cannot be reached" in undelivered(client)
        server.resume()


# -- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "reads"),
    [
        ("-LOADING Redis is loading the dataset in memory", False),
        ("-READONLY You can't write against a read only replica.", False),
        ("-READONLY You can't write against a read only replica. script: f00, on @user_script:1.", False),
        ("-ERR Error running script (call to f_0): @user_script:1: @user_script: 1: -READONLY You can't write", False),
        ("-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", False),
        ("-CLUSTERDOWN The cluster is down", False),
        ("-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", False),
        ("-NOAUTH Authentication required.", False),
        ("-DENIED Redis is running in protected mode", False),
        ("-ERR max number of clients reached", False),
        ("-OOM command not allowed when used memory > 'maxmemory'.", True),
        ("-ERR Error running script (call to f_0): @user_script:3: @user_script: 3: -OOM command not allowed", True),
        ("-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", True),
        ("-NOREPLICAS Not enough good replicas to write.", True),
    ],
)
def test_a_refusal_delivers_nothing(reply: str, reads: bool) -> None:
    code = reply.partition(" -")[2].partition(" ")[0] or reply[1:].partition(" ")[0]
    with (
        CannedRedis(lambda _: f"{reply}\r\n".encode()) as server,
        closing(RedisClient(server.url)) as client,
    ):
        assert f"({'FULL' if code == 'ERR' else code})" in undelivered(client)
        assert client.state().reads is reads


def test_a_replica_refuses(tmp_path: Path, redis_server: RedisServer) -> None:
    with (
        RedisServer(tmp_path, replicaof=redis_server) as replica,
        closing(RedisClient(replica.url)) as client,
    ):
        assert "is a read-only replica (READONLY)" in undelivered(client)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("--maxmemory", "1"), "has no memory left (maxmemory) (OOM)"),
        (("--min-replicas-to-write", "1"), "has too few replicas, and so refuses writes (NOREPLICAS)"),
    ],
)
def test_reads_go_on_while_writes_are_refused(tmp_path: Path, settings: tuple[str, ...], message: str) -> None:
    with RedisServer(tmp_path, *settings) as server, closing(RedisClient(server.url, fail_fast=True)) as client:
        assert message in undelivered(client)
        assert client.run(GET, []) is None
        assert message in undelivered(client)
        assert not client.state().answers
        with server.client() as admin:
            admin.config_set(settings[0][2:], 0)
        eventually(lambda: client.state().answers)
        assert client.run(SET, ["x"]) == STORED


def test_a_script_that_has_begun_to_write_is_not_refused_half_way(tmp_path: Path) -> None:
    fill = Script("for n = 1, 30 do redis.call('SET', 'big' .. n, string.rep('x', 1000000)) end return 'done'")
    with RedisServer(tmp_path, "--maxmemory", "10mb") as server, closing(RedisClient(server.url)) as client:
        assert client.run(fill, []) == b"done"
        with pytest.raises(NotDelivered, match="OOM"):
            client.run(fill, [])


def test_a_redis_that_cannot_save_refuses(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--save", "900 1") as server, closing(RedisClient(server.url)) as client:
        (tmp_path / "dump.rdb" / "in-the-way").mkdir(parents=True)
        client.run(SET, ["x"])
        client.do("BGSAVE")
        eventually(lambda: b"rdb_last_bgsave_status:err" in client.do("INFO", "persistence"))
        assert "cannot save its data, and so refuses writes (MISCONF)" in undelivered(client)


def test_a_wrong_password_is_not_shown(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        with server.client() as admin:
            admin.config_set("requirepass", "right")
        with closing(RedisClient(f"redis://:hush@127.0.0.1:{server.port}/0")) as client:
            told = undelivered(client)
            assert "refuses the user or the password in REDIS_URL (WRONGPASS)" in told
            assert "hush" not in told
        with closing(RedisClient(server.url)) as client:
            assert "wants a password: REDIS_URL must name it" in undelivered(client)
        server.kill()


def test_a_request_of_which_a_part_was_not_taken_is_not_delivered(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, closing(RedisClient(server.url, patience=0.2)) as client:
        client.do("PING")
        server.pause()
        with pytest.raises(NotDelivered, match="did not take the request"):
            client.do("SET", "key", b"x" * 64_000_000)
        server.resume()
        assert client.run(GET, []) is None


# -- unknown -------------------------------------------------------------------------------------------------------


def test_a_lost_reply_is_unknown(proxy: ChaosProxy, redis_server: RedisServer) -> None:
    with closing(RedisClient(proxy.url, patience=0.3)) as client:
        client.run(SET, ["before"])
        proxy.set(drop_reply_after=0)
        assert "did not answer in time; whether" in unknown(lambda: client.run(SET, ["after"]))
        with redis_server.client() as direct:
            assert direct.get("key") == b"after"
        proxy.heal()
        assert client.run(GET, []) == b"after"


def test_a_reply_that_is_cut_is_unknown(proxy: ChaosProxy) -> None:
    with closing(RedisClient(proxy.url)) as client:
        client.run(SET, ["x" * 1000])
        proxy.set(cut_after_bytes=500)
        assert "broke off before its answer" in unknown(lambda: client.run(GET, []))
        proxy.heal()
        assert client.run(GET, []) == b"x" * 1000


def test_a_connection_that_breaks_while_waiting_is_unknown(redis_server: RedisServer) -> None:
    with closing(RedisClient(redis_server.url)) as client, redis_server.client() as admin:
        number = client.do("CLIENT", "ID")
        told: list[str] = []
        waiting = threading.Thread(
            target=lambda: told.append(unknown(lambda: client.do("BLPOP", "nothing", 30, wait=60)))
        )
        waiting.start()
        eventually(lambda: b"cmd=blpop" in bytes(admin.execute_command("CLIENT", "LIST", NEVER_DECODE=True)))
        admin.client_kill_filter(_id=str(number))
        waiting.join()
        assert "broke off before its answer" in told[0]


def test_what_is_no_redis_at_all_is_unknown() -> None:
    with (
        CannedRedis(lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n") as server,
        closing(RedisClient(server.url)) as client,
    ):
        assert "whether the request was done is not known" in unknown(lambda: client.run(SET, ["x"]))


# -- back again ----------------------------------------------------------------------------------------------------


def test_a_restart_between_two_calls_goes_unnoticed(tmp_path: Path) -> None:
    with RedisServer(tmp_path, appendfsync="always") as server, closing(RedisClient(server.url)) as client:
        client.run(SET, ["kept"])
        server.kill()
        server.start()
        assert client.run(GET, []) == b"kept"


def test_idle_connections_that_were_killed_go_unnoticed(redis_server: RedisServer) -> None:
    with closing(RedisClient(redis_server.url)) as client, redis_server.client() as admin:
        threads = [threading.Thread(target=client.do, args=("BLPOP", "nothing", 0.2)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        admin.client_kill_filter(_type="normal", skipme=True)
        assert [client.run(SET, ["x"]) for _ in range(5)] == [STORED] * 5


def test_without_fail_fast_every_call_is_tried(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, closing(RedisClient(server.url)) as client:
        server.kill()
        undelivered(client)
        undelivered(client)
        server.start()
        assert client.run(SET, ["x"]) == STORED
        assert client.state().answers
        assert not [thread for thread in threading.enumerate() if thread.name == "redis-probe"]


def test_a_failover_is_followed(tmp_path: Path) -> None:
    with (
        Sentinels(tmp_path) as servers,
        closing(
            RedisClient("redis:///1", sentinels=servers.addresses.split(","), master=servers.master_name)
        ) as client,
        closing(
            RedisClient("redis:///1", sentinels=servers.addresses.split(","), master="unheard-of", fail_fast=True)
        ) as lost,
    ):
        assert client.run(SET, ["x"]) == STORED
        assert client.connection().get("key") == b"x"
        assert "no Sentinel that answers knows a master of this name" in undelivered(lost)
        servers.failover()
        eventually(lambda: b"role:master" in client.do("INFO", "replication"))
        assert client.run(SET, ["y"]) == STORED
        assert client.connection().get("key") == b"y"


# -- the breaker ---------------------------------------------------------------------------------------------------


def test_a_redis_that_is_away_costs_the_next_call_nothing(one_probe: None) -> None:
    with (
        CannedRedis(lambda _: b"-LOADING it\r\n") as server,
        closing(RedisClient(server.url, fail_fast=True)) as client,
    ):
        assert "is still loading its data (LOADING)" in undelivered(client)
        eventually(lambda: len(server.commands) == 2)
        since = client.state().since
        for _ in range(10):
            assert "(LOADING) (asked again in the background)" in undelivered(client)
        assert [command[0] for command in server.commands] == [b"EVALSHA", b"LPUSHX"]
        assert server.connections == 2
        assert client.state().since == since


def test_the_breaker_closes_without_a_request(many_probes: None) -> None:
    replies = [b"-LOADING it\r\n"] * 5
    with (
        CannedRedis(lambda _: replies.pop() if replies else b":0\r\n") as server,
        closing(RedisClient(server.url, fail_fast=True)) as client,
    ):
        undelivered(client)
        eventually(lambda: client.state().answers)
        assert [command[0] for command in server.commands] == [b"EVALSHA"] + [b"LPUSHX"] * 5
        assert client.run(SET, ["x"]) == 0
        eventually(lambda: "redis-probe" not in [thread.name for thread in threading.enumerate()])


def test_the_breaker_opens_each_time(many_probes: None) -> None:
    replies: list[bytes] = []
    with (
        CannedRedis(lambda _: replies.pop() if replies else b":0\r\n") as server,
        closing(RedisClient(server.url, fail_fast=True)) as client,
    ):
        for _ in range(50):
            replies.append(b"-LOADING it\r\n")
            undelivered(client)
            eventually(lambda: client.state().answers)


def test_a_probe_that_fails_in_another_way_is_tried_again(many_probes: None, caplog: pytest.LogCaptureFixture) -> None:
    replies = [b"-ERR nobody expects it\r\n"] * 3 + [b"-LOADING it\r\n"]
    with (
        CannedRedis(lambda _: replies.pop() if replies else b":0\r\n") as server,
        closing(RedisClient(server.url, fail_fast=True)) as client,
    ):
        undelivered(client)
        eventually(lambda: client.state().answers)
        assert [record.message for record in caplog.records] == ["asking whether Redis is back failed"]
        replies.append(b"-LOADING it\r\n")
        undelivered(client)
        eventually(lambda: client.state().answers)


def test_a_lost_reply_opens_the_breaker(proxy: ChaosProxy, many_probes: None) -> None:
    with closing(RedisClient(proxy.url, patience=0.3, fail_fast=True)) as client:
        client.run(SET, ["x"])
        proxy.set(drop_reply_after=0)
        unknown(lambda: client.run(SET, ["y"]))
        assert "did not answer in time" in undelivered(client)
        proxy.heal()
        eventually(lambda: client.state().answers)
        assert client.run(GET, []) == b"y"


def test_the_probe_changes_nothing(redis_server: RedisServer, many_probes: None) -> None:
    with redis_server.client() as admin, closing(RedisClient(redis_server.url, fail_fast=True)) as client:
        admin.flushall()
        client._probe()
        assert admin.dbsize() == 0
