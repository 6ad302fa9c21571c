"""Checks of an SQL store. Nothing is written, and no table is made or changed."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from stepwell.cli.doctor.finding import Finding, clock, ok, warning, wrong

CONNECT_SECONDS = 5


def check_database(url: str, is_queued: bool) -> Iterator[Finding]:
    """What the database of `DATABASE_URL` promises; `is_queued`: whether workers use it too."""
    try:
        parsed = sa.make_url(url.replace("postgres://", "postgresql://", 1))
    except sa.exc.ArgumentError as error:
        yield wrong("store", f"DATABASE_URL is no URL of a database: {error}", "correct it")
        return
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        yield _check_sqlite(Path(parsed.database or ""), is_queued)
    elif kind == "postgresql":
        yield from _check_postgres(parsed)
    else:
        yield wrong("store", f"DATABASE_URL names a {kind} database", "use sqlite:///… or postgresql://…")


def _check_sqlite(file: Path, is_queued: bool) -> Finding:
    if not file.exists():
        parent = next(folder for folder in file.absolute().parents if folder.exists())
        if not os.access(parent, os.W_OK):
            return wrong("store", f"SQLite cannot make {file}: {parent} cannot be written", "let this user write there")
        return ok("store", f"SQLite, will be made at {file}")
    try:
        mode = _journal_mode(file)
    except sqlite3.Error as error:
        return wrong("store", f"SQLite at {file} cannot be read: {error}", "restore it, or set DATABASE_URL")
    if mode != "wal":
        remedy = "the next start sets WAL; where it cannot, the file system lacks what SQLite needs, as NFS does"
        return warning("store", f"SQLite at {file} has journal mode {mode}", remedy)
    promise = f"SQLite at {file}: WAL, synchronous=FULL, so that what is acknowledged survives a power cut"
    if is_queued:
        message = f"{promise}; only workers on this host can use it"
        return warning("store", message, "for several hosts unset DATABASE_URL, or use PostgreSQL")
    return ok("store", promise)


def _journal_mode(file: Path) -> str:
    with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def _check_postgres(url: sa.URL) -> Iterator[Finding]:
    name = url.render_as_string(hide_password=True)
    try:
        engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"), connect_args={"connect_timeout": CONNECT_SECONDS}
        )
    except ModuleNotFoundError:
        yield wrong("store", "PostgreSQL needs a driver", "pip install 'stepwell[postgres]'")
        return
    try:
        with engine.connect() as connection:
            yield _durability(connection, name)
            yield _clock(connection)
    except sa.exc.SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        yield wrong("store", f"{name} cannot be used: {reason}", "start it, or correct DATABASE_URL")
    finally:
        engine.dispose()


def _durability(connection: sa.Connection, name: str) -> Finding:
    wanted = ("server_version", "fsync", "synchronous_commit")
    version, fsync, commit = (connection.scalar(sa.text(f"SHOW {one}")) for one in wanted)
    told = f"PostgreSQL {version} at {name}: fsync {fsync}, synchronous_commit {commit}"
    if fsync == "off":
        return wrong("store", f"{told}: a crash of its machine may spoil the whole database", "set fsync = on")
    if commit == "off":
        message = f"{told}: a crash of the server may lose the last second of acknowledged writes"
        return warning("store", message, "set synchronous_commit = on")
    return ok("store", told)


def _clock(connection: sa.Connection) -> Finding:
    before = time.time()
    theirs = float(connection.scalar(sa.text("SELECT extract(epoch FROM clock_timestamp())")) or 0.0)
    after = time.time()
    return clock("store clock", "PostgreSQL", theirs - (before + after) / 2, (after - before) / 2)
