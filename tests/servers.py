"""Servers that tests start for themselves, reachable from this machine only: Redis, its Sentinels, PostgreSQL."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.acceptance.serving import eventually
from tests.programs import Program, free_port, required


class RedisServer(Program):
    """A redis-server on loopback. Without `appendfsync` it keeps nothing; with it, an append-only file in `folder`."""

    def __init__(
        self,
        folder: Path,
        *settings: str,
        appendfsync: Literal["always", "everysec"] | None = None,
        port: int | None = None,
        replicaof: RedisServer | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Further settings are words of the command line: `"--maxmemory", "10mb"`. The port stays over restarts."""
        super().__init__(folder, env)
        self.port = free_port() if port is None else port
        self._settings = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(folder), "--save", ""]
        self._settings += ["--repl-diskless-sync-delay", "0"]
        if appendfsync is not None:
            self._settings += ["--appendonly", "yes", "--appendfsync", appendfsync]
        if replicaof is not None:
            self._settings += ["--replicaof", "127.0.0.1", str(replicaof.port)]
        self._settings += settings

    @property
    def url(self) -> str:
        """For `REDIS_URL`."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options: Any) -> redis.Redis:
        """A client of its own; the options are those of `redis.Redis`."""
        return _client(self.port, **options)

    def command(self) -> list[str]:
        return [required("redis-server", "redis-server"), *self._settings]

    def answers(self) -> bool:
        return _serves(self.port, self.pid)


class _SentinelServer(Program):
    def __init__(self, folder: Path, master: RedisServer) -> None:
        super().__init__(folder)
        self.port = free_port()
        self._config = folder / "sentinel.conf"  # Sentinel notes in its file what it found out
        self._config.write_text(
            f"bind 127.0.0.1\nport {self.port}\ndir {folder}\n"
            f"sentinel monitor {Sentinels.master_name} 127.0.0.1 {master.port} 2\n"
            f"sentinel down-after-milliseconds {Sentinels.master_name} 1000\n"
            f"sentinel failover-timeout {Sentinels.master_name} 3000\n"
        )

    def command(self) -> list[str]:
        return [required("redis-server", "redis-server"), str(self._config), "--sentinel"]

    def answers(self) -> bool:
        return _serves(self.port, self.pid)

    def master_port(self) -> int:
        """The port of the Redis that it takes for the master."""
        with _client(self.port) as client:
            return int(client.sentinel_get_master_addr_by_name(Sentinels.master_name)[1])

    def could_lead(self) -> bool:
        """Whether it could lead a failover: it knows a replica that is in step, and both other Sentinels."""
        with _client(self.port) as client:
            others = client.sentinel_sentinels(Sentinels.master_name)
            replicas = client.sentinel_slaves(Sentinels.master_name)
        return len(others) == 2 and [replica["master-link-status"] for replica in replicas] == ["ok"]


class Sentinels:
    """Three Sentinels over a `master` and one `replica`, both with `appendfsync always`."""

    master_name: ClassVar[str] = "stepwell"
    """For `REDIS_MASTER`."""

    def __init__(self, folder: Path) -> None:
        self.master = RedisServer(folder / "master", appendfsync="always")
        self.replica = RedisServer(folder / "replica", appendfsync="always", replicaof=self.master)
        self.sentinels = [_SentinelServer(folder / f"sentinel-{number}", self.master) for number in range(3)]
        self._started = ExitStack()

    @property
    def addresses(self) -> str:
        """For `REDIS_SENTINELS`."""
        return ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)

    def master_port(self) -> int:
        """The port of the Redis that the Sentinels name as master now; 0 while they disagree."""
        named = {sentinel.master_port() for sentinel in self.sentinels if sentinel.running}
        return named.pop() if len(named) == 1 else 0

    def failover(self) -> None:
        """Kill the master, and wait until all Sentinels name the replica."""
        self.master.kill()
        eventually(lambda: self.master_port() == self.replica.port)

    def __enter__(self) -> Self:
        for server in (self.master, self.replica, *self.sentinels):
            self._started.enter_context(server)
        for sentinel in self.sentinels:
            eventually(sentinel.could_lead)
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()


class PostgresServer(Program):
    """A PostgreSQL with one empty database. `fsync` off is fast, and keeps its data only while the machine runs."""

    end_signal = signal.SIGQUIT  # after SIGKILL its shared memory would stay

    def __init__(self, *, fsync: bool = False, port: int | None = None) -> None:
        """Listens on a socket in its folder, or on this port of loopback."""
        required("initdb", "postgresql")
        user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        # Not below pytest's folders: those are closed to other users.
        super().__init__(Path(tempfile.mkdtemp(prefix="stepwell-pg-")), user=user)
        self._settings = {
            "fsync": "on" if fsync else "off",
            "unix_socket_directories": str(self.folder),
            "listen_addresses": "" if port is None else "127.0.0.1",
            "port": str(port or 5432),
        }
        host = f"@/postgres?host={self.folder}" if port is None else f"@127.0.0.1:{port}/postgres"
        self.url = f"postgresql://stepwell{host}"
        if user is not None:
            shutil.chown(self.folder, user, user)
        self._make_database()

    def restart(self, mode: Literal["smart", "fast", "immediate"] = "immediate") -> None:
        """Stop it in one of PostgreSQL's ways (`immediate` is a crash) and start it again."""
        ways = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
        self.stop(ways[mode])
        self.start()

    def close(self) -> None:
        """Be sure that it is gone, with its data."""
        super().close()
        shutil.rmtree(self.folder)

    def command(self) -> list[str]:
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        return [required("postgres", "postgresql"), "-D", str(self._data), *settings]

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url).close()
        except psycopg.OperationalError:
            return False
        return True

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _make_database(self) -> None:
        options = ["--auth=trust", "--username=stepwell", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        command = [required("initdb", "postgresql"), *options, "-D", str(self._data)]
        with self._log_file.open("ab") as out:
            subprocess.run(
                command, check=True, user=self._user, group=self._user, cwd=self.folder, stdout=out, stderr=out
            )


@contextmanager
def postgres_url() -> Iterator[str]:
    """The database that `STEPWELL_TEST_POSTGRES` names, or one of our own."""
    if url := os.environ.get("STEPWELL_TEST_POSTGRES"):
        yield url
        return
    with PostgresServer() as server:
        yield server.url


def _client(port: int, **options: Any) -> redis.Redis:
    return redis.Redis(host="127.0.0.1", port=port, **options)


def _serves(port: int, pid: int) -> bool:
    try:
        with _client(port, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client:
            # Another server may have the port: ours is about to end then.
            return bool(client.ping() and client.info("server")["process_id"] == pid)
    except (redis.ConnectionError, redis.TimeoutError):  # also while it loads its data
        return False
