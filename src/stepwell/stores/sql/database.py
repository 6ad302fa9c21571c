"""One database: its connections, its transactions, its clock, and its errors in our words.

The store's statements are built with SQLAlchemy Core, compiled to text once, and run on the driver's own cursor:
SQLAlchemy's execution costs more per statement than SQLite's work on it.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from stepwell.errors import FieldProblem, InvalidInput, NotDelivered, SettingsError, Unavailable
from stepwell.stores.sql.schema import migrate

T = TypeVar("T")
Params = Mapping[str, Any]
Row = Sequence[Any]

BUSY_SECONDS = 10.0
"""How long a writer waits for the other processes that write to the same SQLite file."""

_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={int(BUSY_SECONDS * 1000)}")
_SERIALIZATION_FAILURES = {"40001", "40P01"}
_CLOSED = {"08", "57"}  # classes of SQLSTATE: connection exceptions, and interventions of the operator
_NOW = "SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"
_SET_UP_POSTGRES = (
    # Where the server confirms before it is on disk, it would lose what was acknowledged.
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
    # A worker that is stopped in the middle of a transaction must not keep its locks for ever.
    "SET idle_in_transaction_session_timeout = '10s'",
)
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 3, "keepalives_count": 3, "tcp_user_timeout": 20_000}
"""A server that is cut off without a word is noticed within about 20 seconds."""


class TryAgain(NotDelivered):
    """The transaction had no effect, and may succeed when it is run again."""


class Session:
    """A transaction on the driver's own connection. `clock` gives its time, or the database itself.

    On PostgreSQL a statement that answers nothing is sent together with the next one that answers, or with the
    COMMIT: what a transaction costs is its round trips.
    """

    def __init__(self, connection: Any, clock: Callable[[], float] | None, together: bool) -> None:
        self._connection = connection
        self._clock = clock
        self._together = together

    def now(self) -> float:
        """Seconds since 1970 by the store's clock."""
        return self.look()[0]

    def time_params(self) -> Params:
        """The parameter `now` of statements that do not take the time from the database."""
        return {} if self._clock is None else {"now": self._clock()}

    def look(self, *asked: tuple[str, Params]) -> tuple[float, list[list[Row]]]:
        """Run statements that answer rows, in one round trip; answers the time too, which lies after all waiting."""
        if self._clock is not None:
            return self._clock(), self._ask(asked)
        *found, [[now]] = self._ask([*asked, (_NOW, {})])
        return now, found

    def rows(self, statement: str, params: Params) -> list[Row]:
        """Run a statement that answers rows."""
        return self._run(statement, params).fetchall()  # type: ignore[no-any-return]

    def row(self, statement: str, params: Params) -> Row | None:
        """Run a statement that answers one row or none."""
        found = self.rows(statement, params)
        return found[0] if found else None

    def do(self, statement: str, params: Params) -> None:
        """Run a statement that answers nothing."""
        self._run(statement, params)

    def do_many(self, statement: str, params: Sequence[Params]) -> None:
        """Run a statement that answers nothing for each of the parameters."""
        if params:
            self._connection.cursor().executemany(statement, params)

    def _ask(self, asked: Sequence[tuple[str, Params]]) -> list[list[Row]]:
        if not self._together:
            return [self.rows(statement, params) for statement, params in asked]
        cursors = [self._run(statement, params) for statement, params in asked]
        return [cursor.fetchall() for cursor in cursors]

    def _run(self, statement: str, params: Params) -> Any:
        cursor = self._connection.cursor()
        cursor.execute(statement, params)
        return cursor


class Database:
    """SQLite or PostgreSQL behind a pool of connections. `clock` stands in for the database's own time."""

    def __init__(self, url: str, clock: Callable[[], float] | None, connections: int) -> None:
        self.engine = _engine(url, connections)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self.name = self.engine.url.render_as_string(hide_password=True)
        self.clock = time.time if clock is None and self.is_sqlite else clock
        self._driver = self.engine.dialect.loaded_dbapi
        # Threads of this process take turns in memory: SQLite's own waiting sleeps, and is not fair.
        self._turn = threading.Lock() if self.is_sqlite else nullcontext()
        self._begin = "BEGIN IMMEDIATE" if self.is_sqlite else "BEGIN ISOLATION LEVEL READ COMMITTED"
        self._again = Retrying(
            retry=retry_if_exception_type(TryAgain),
            stop=stop_after_attempt(5),
            wait=wait_random_exponential(0.02, max=0.5),
            reraise=True,
        )
        self._again(self._migrate)

    def write(self, work: Callable[[Session], T]) -> T:
        """Run `work` in a transaction; again if the database had to give it up without effect."""
        try:
            return self._transact(work)
        except TryAgain:
            return cast(T, self._again(self._transact, work))

    def read(self, work: Callable[[Session], T]) -> T:
        """Run `work`, whose statements see what is committed at their time."""
        try:
            return self._look(work)
        except TryAgain:
            return cast(T, self._again(self._look, work))

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def _transact(self, work: Callable[[Session], T]) -> T:
        committing = False
        with self._turn, self._translated(), self._connection() as connection:
            try:
                with self._pipeline(connection):
                    session = Session(connection, self.clock, together=not self.is_sqlite)
                    session.do(self._begin, {})
                    result = work(session)
                    committing = True
                    session.do("COMMIT", {})
            except self._driver.OperationalError as error:
                cause = _first_error(error)
                if committing and not _had_no_effect(cause):
                    raise self._unconfirmed(cause) from error
                raise cause from error
            return result

    def _pipeline(self, connection: Any) -> AbstractContextManager[object]:
        """Where the end of the `with` waits for the answers to what was sent without waiting."""
        return nullcontext() if self.is_sqlite else connection.pipeline()

    def _unconfirmed(self, error: BaseException) -> Unavailable:
        return Unavailable(f"the database {self.name} did not confirm the last write: {error}; repeat the call to know")

    def _look(self, work: Callable[[Session], T]) -> T:
        with self._translated(), self._connection() as connection:
            return work(Session(connection, self.clock, together=not self.is_sqlite))

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        """The driver's connection, from the pool."""
        pool = self.engine.pool
        connection = pool.connect()
        try:
            yield connection.driver_connection
        except BaseException:
            self._roll_back(connection)
            raise
        finally:
            if pool is not self.engine.pool and connection.is_valid:
                connection.invalidate()  # the pool that it would go back to was disposed of: nobody would close it
            connection.close()

    def _roll_back(self, connection: sa.PoolProxiedConnection) -> None:
        try:
            connection.rollback()
        except self._driver.Error:
            connection.invalidate()
            self.engine.dispose()  # what broke this connection has broken those that wait in the pool

    def _migrate(self) -> None:
        with self._translated(), self.engine.connect() as connection:
            migrate(connection)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            raise self._in_our_words(error.orig or error) from error
        except (sa.exc.SQLAlchemyError, self._driver.Error, UnicodeEncodeError) as error:
            raise self._in_our_words(error) from error

    def _in_our_words(self, error: BaseException) -> Exception:
        message = f"the database {self.name} cannot be used: {str(error).strip() or type(error).__name__}"
        if isinstance(error, self._driver.DataError | UnicodeEncodeError):
            return InvalidInput([FieldProblem("text", f"the database cannot hold this: {error}")])
        if isinstance(error, self._driver.IntegrityError) or _may_pass(error):
            return TryAgain(message)
        return NotDelivered(message)


def _may_pass(error: BaseException) -> bool:
    """Whether the transaction was given up without effect for a reason that goes away: another was in the way, or
    PostgreSQL closed the connection (which has no SQLSTATE when it is the client that notices)."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
    if not hasattr(error, "sqlstate"):
        return False
    return error.sqlstate is None or error.sqlstate in _SERIALIZATION_FAILURES or error.sqlstate[:2] in _CLOSED


def _had_no_effect(error: BaseException) -> bool:
    """Whether the answer to a COMMIT says that the transaction was given up."""
    return getattr(error, "sqlstate", None) in _SERIALIZATION_FAILURES


def _first_error(error: BaseException) -> BaseException:
    """What went wrong in a pipeline: statements after it, which were left out, may hide it."""
    while type(error).__name__ == "PipelineAborted" and error.__context__ is not None:
        error = error.__context__
    return error


def _engine(url: str, connections: int) -> sa.Engine:
    try:
        parsed = sa.make_url(url.replace("postgres://", "postgresql://", 1))
    except sa.exc.ArgumentError as error:
        raise SettingsError(f"DATABASE_URL is no URL of a database: {error}") from error
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        return _sqlite(parsed, connections)
    if kind != "postgresql":
        raise SettingsError(f"DATABASE_URL names a {kind} database: use sqlite:///… or postgresql://…")
    try:
        engine = sa.create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_size=connections,
            max_overflow=0,
            pool_use_lifo=True,
            pool_reset_on_return=None,
            connect_args={"connect_timeout": 10, **_KEEPALIVE},
        )
    except ModuleNotFoundError as error:
        raise SettingsError("PostgreSQL needs a driver: pip install 'stepwell[postgres]'") from error
    sa.event.listen(engine, "connect", _set_up_postgres)
    return engine


def _sqlite(url: sa.URL, connections: int) -> sa.Engine:
    if not url.database or url.database == ":memory:":
        raise SettingsError("DATABASE_URL names an SQLite database without a file: use sqlite:///path/to/stepwell.db")
    with suppress(FileExistsError):
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(
        url,
        paramstyle="named",
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        pool_use_lifo=True,
        pool_reset_on_return=None,
        connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS},
    )
    sa.event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # else sqlite3 begins transactions by itself, and never IMMEDIATE ones
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _set_up_postgres(connection: Any, _: object) -> None:
    try:
        connection.autocommit = True  # transactions are begun in words, as with SQLite
        for statement in _SET_UP_POSTGRES:
            connection.execute(statement)
    except BaseException:
        connection.close()  # the pool forgets one that could not be set up
        raise
