"""Where an action's path leads, and bounded reading and whole writing of files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from stepwell.errors import Fail
from stepwell.values import MAX_SIZE


def invalid(message: str) -> Fail:
    """The error for an input that cannot work, however often it is tried."""
    return Fail(message, code="invalid", retryable=False)


def locate(path: str, folder: Path) -> Path:
    """Where `path` leads: a relative one lies in the work `folder` and may not leave it, an absolute one stands."""
    return Path(path) if _checked(path).is_absolute() else locate_inside(path, folder)


def locate_inside(path: str, folder: Path) -> Path:
    """Where a path leads that must lie inside the work `folder`, links followed."""
    if _checked(path).is_absolute():
        raise invalid(f"the path {path!r} is absolute: give one relative to the work folder")
    root = folder.resolve()
    target = (root / path).resolve()
    if target == root or not target.is_relative_to(root):
        raise invalid(f"the path {path!r} is not inside the work folder: leave out '..' and links that lead out of it")
    return target


def read_bounded(target: Path, shown: str) -> bytes:
    """The bytes of a regular file of at most 16 MiB; `shown` is its name in errors."""
    with _as_failures(shown):
        if target.exists() and not target.is_file():
            raise invalid(f"{shown!r} is not a regular file")
        with target.open("rb") as file:
            content = file.read(MAX_SIZE + 1)
    if len(content) > MAX_SIZE:
        message = f"{shown!r} is larger than {MAX_SIZE:,} bytes: keep it as a file (`files:`) instead of reading it"
        raise Fail(message, code="too_large", retryable=False)
    return content


def write_whole(target: Path, content: bytes, shown: str) -> None:
    """Write a file so that it is seen whole or not at all; missing folders are created."""
    with _as_failures(shown):
        if target.exists() and not target.is_file():
            raise invalid(f"{shown!r} is not a regular file")
        final = target.resolve()
        final.parent.mkdir(parents=True, exist_ok=True)
        part = final.with_name(f".{uuid4().hex}.part")
        try:
            part.write_bytes(content)
            if final.exists():
                shutil.copymode(final, part)
            part.replace(final)
        finally:
            part.unlink(missing_ok=True)


def decode_text(content: bytes, encoding: str, shown: str) -> str:
    """The text of bytes in this encoding."""
    try:
        return content.decode(encoding)
    except LookupError as error:
        raise unknown_encoding(encoding) from error
    except UnicodeError as error:
        message = f"{shown!r} is not {encoding} text ({error}): give its encoding, or `base64` for binary data"
        raise invalid(message) from error


def unknown_encoding(encoding: str) -> Fail:
    """The error for the name of an encoding that does not exist."""
    return invalid(f"unknown encoding {encoding!r}: write utf-8, latin-1, …, or base64")


def _checked(path: str) -> Path:
    if not path or "\0" in path:
        raise invalid(f"{path!r} is not a path")
    return Path(path)


@contextmanager
def _as_failures(shown: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        hint = "" if Path(shown).is_absolute() else " in the work folder of this step (bring it with `needs_files`)"
        raise Fail(f"there is no file {shown!r}{hint}", code="file_not_found", retryable=not hint) from error
    except OSError as error:
        raise Fail(f"{shown!r}: {error.strerror or error}", code="file_error") from error
