"""The Redis client: scripts, connections, and what its settings may say."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from redis.exceptions import ResponseError
from tests.acceptance.serving import eventually
from tests.programs import free_port
from tests.servers import RedisServer

from stepwell.errors import NotDelivered, SettingsError, Unavailable
from stepwell.redis_client import RedisClient, Script

COUNT = Script("return redis.call('INCRBY', 'count', ARGV[1])")
ECHO = Script("return {KEYS, ARGV}")


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[RedisClient]:
    with closing(RedisClient(redis_server.url)) as client:
        client.do("FLUSHALL")
        client.do("SCRIPT", "FLUSH")
        yield client


def test_a_script_gets_its_keys_and_arguments_and_answers_bytes(client: RedisClient) -> None:
    assert client.run(ECHO, [b"\x00\xff", "ü", 1, 0.5], ["k"]) == [[b"k"], [b"\x00\xff", "ü".encode(), b"1", b"0.5"]]


def test_a_script_that_redis_forgot_is_run_all_the_same(client: RedisClient) -> None:
    assert client.run(COUNT, [1]) == 1
    client.do("SCRIPT", "FLUSH")
    assert client.run(COUNT, [1]) == 2
    assert client.do("SCRIPT", "EXISTS", COUNT.sha) == [1]


def test_a_script_that_redis_knows_is_not_sent_again(client: RedisClient) -> None:
    client.run(COUNT, [1])
    client.do("CONFIG", "RESETSTAT")
    client.run(COUNT, [1])
    assert b"cmdstat_evalsha" in client.do("INFO", "commandstats")
    assert b"cmdstat_eval:" not in client.do("INFO", "commandstats")


def test_errors_of_the_callers_own_pass_unchanged(client: RedisClient) -> None:
    with pytest.raises(ResponseError, match="mine"):
        client.run(Script("return redis.error_reply('MINE it is mine')"), [])
    client.do("SET", "count", "text")
    before = client.do("CLIENT", "ID")
    with pytest.raises(ResponseError, match="not an integer"):
        client.run(COUNT, [1])
    assert client.do("ECHO", "in step") == b"in step"
    assert client.do("CLIENT", "ID") == before


def test_the_redis_library_gets_the_same_settings(client: RedisClient, redis_server: RedisServer) -> None:
    library = client.connection()
    library.set("name", "ü")
    assert library.get("name") == "ü".encode()
    assert library.connection_pool.connection_kwargs["socket_timeout"] == 5.0


# -- connections ---------------------------------------------------------------------------------------------------


def connected(client: RedisClient) -> int:
    """How many clients Redis sees."""
    return len(client.do("CLIENT", "LIST", "TYPE", "normal").splitlines())


def test_threads_share_no_more_connections_than_are_allowed(redis_server: RedisServer) -> None:
    with closing(RedisClient(redis_server.url, connections=2)) as client:
        client.do("FLUSHALL")
        before = connected(client)
        threads = [threading.Thread(target=lambda: [client.run(COUNT, [1]) for _ in range(50)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.do("GET", "count") == b"400"
        assert connected(client) - before <= 1


def test_who_finds_all_connections_in_use_is_told_so(redis_server: RedisServer) -> None:
    with closing(RedisClient(redis_server.url, connections=1, patience=0.2)) as client:
        blocked = threading.Thread(target=lambda: client.do("BLPOP", "nothing", 0, wait=60))
        blocked.start()
        try:
            with closing(RedisClient(redis_server.url)) as other:
                eventually(lambda: b"cmd=blpop" in other.do("CLIENT", "LIST"))
                with pytest.raises(Unavailable, match=r"all 1 connections of this process to Redis at .* are in use"):
                    client.do("PING")
                assert client.state().answers
        finally:
            with closing(RedisClient(redis_server.url)) as other:
                other.do("RPUSH", "nothing", "x")
            blocked.join()


def test_a_command_may_block_for_longer_than_the_patience(redis_server: RedisServer) -> None:
    with closing(RedisClient(redis_server.url, patience=0.1)) as client:
        assert client.do("BLPOP", "nothing", 0.3, wait=5) is None


def test_a_reply_that_came_too_late_is_not_taken_for_another(redis_server: RedisServer) -> None:
    with closing(RedisClient(redis_server.url, patience=0.1)) as client:
        with pytest.raises(Unavailable):
            client.do("BLPOP", "nothing", 0.3)
        assert client.do("ECHO", "mine") == b"mine"


def test_a_forked_process_opens_its_own_connections(redis_server: RedisServer) -> None:
    with closing(RedisClient(redis_server.url)) as client:
        mine = client.do("CLIENT", "ID")
        child = os.fork()
        if child == 0:
            os._exit(int(client.do("CLIENT", "ID") == mine))
        assert os.waitpid(child, 0)[1] == 0
        assert client.do("CLIENT", "ID") == mine


def test_closing_gives_connections_back(redis_server: RedisServer) -> None:
    with closing(RedisClient(redis_server.url)) as other:
        before = connected(other)
        client = RedisClient(redis_server.url)
        client.do("PING")
        client.connection().ping()
        assert connected(other) == before + 2
        client.close()
        eventually(lambda: connected(other) == before)


# -- settings ------------------------------------------------------------------------------------------------------


def test_the_url_names_database_user_and_time_limit(redis_server: RedisServer) -> None:
    with closing(RedisClient(redis_server.url)) as admin:
        admin.do("ACL", "SETUSER", "tester", "on", ">p@ss/word", "~*", "+@all")
        url = f"redis://tester:p%40ss%2Fword@127.0.0.1:{redis_server.port}/3?socket_timeout=0.2"
        with closing(RedisClient(url)) as client:
            assert client.do("ACL", "WHOAMI") == b"tester"
            assert b" db=3 " in client.do("CLIENT", "INFO")
            with pytest.raises(Unavailable):
                client.do("BLPOP", "nothing", 30)
        admin.do("ACL", "DELUSER", "tester")


def test_the_url_may_name_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with (
        RedisServer(tmp_path / "redis", "--unixsocket", str(path)),
        closing(RedisClient(f"unix://{path}?db=2")) as client,
    ):
        assert b" db=2 " in client.do("CLIENT", "INFO")


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """The files of a certificate that nobody signed, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=36500))
    (tmp_path / "cert.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")


def test_the_url_may_ask_for_tls(tmp_path: Path, certificate: tuple[str, str]) -> None:
    cert, key = certificate
    port = free_port()
    settings = ("--tls-port", str(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no")
    with RedisServer(tmp_path / "redis", *settings):
        with closing(RedisClient(f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none")) as client:
            assert client.run(ECHO, [], ["k"]) == [[b"k"], []]
        with (
            closing(RedisClient(f"rediss://127.0.0.1:{port}/0")) as client,
            pytest.raises(NotDelivered, match="certificate verify failed"),
        ):
            client.do("PING")


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("redis://me:hush/hush@localhost", {}, "REDIS_URL cannot be read.*%2F"),
        ("redis://me:hush@localhost?nonsense=1", {}, "REDIS_URL has an option that cannot be used.*nonsense"),
        ("rediss://me:hush@localhost?ssl_cert_reqs=perhaps", {}, "REDIS_URL has an option .*perhaps"),
        ("redis://me:hush@localhost", {"sentinels": ["a:1"]}, "REDIS_SENTINELS needs REDIS_MASTER"),
        ("redis://localhost", {"sentinels": ["a:b"], "master": "m"}, "'a:b' is not an address like host:26379"),
        ("unix:///redis.sock", {"sentinels": ["a:1"], "master": "m"}, "does not go together with a REDIS_URL of a"),
    ],
)
def test_settings_that_cannot_be_understood_are_named(url: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        RedisClient(url, **options)
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_replies_are_read_the_same_way_whatever_the_url_says(redis_server: RedisServer) -> None:
    with closing(RedisClient(f"{redis_server.url}?protocol=3&decode_responses=True&retry_on_timeout=True")) as client:
        assert client.do("HELLO")[5] == 2
        assert client.do("ECHO", "x") == b"x"
