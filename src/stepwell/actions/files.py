"""`file.read` and `file.write`: text and binary files, in the work folder or anywhere."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from stepwell.actions.paths import decode_text, invalid, locate, read_bounded, unknown_encoding, write_whole
from stepwell.ports import Context
from stepwell.registry import action
from stepwell.values import encode

BASE64 = "base64"
"""The `encoding` for binary data: its content is base64 text."""


@action("file.read")
def read(context: Context, path: str, encoding: str = "utf-8") -> str:
    """Read a file as text.

    `path` is absolute, or relative to the work folder. `encoding` is that of the text; `base64` reads any bytes
    and gives their base64 text. Fails for more than 16 MiB.
    """
    content = read_bounded(locate(path, context.work_folder), path)
    if encoding == BASE64:
        return base64.b64encode(content).decode("ascii")
    return decode_text(content, encoding, path)


@action("file.write")
def write(context: Context, path: str, content: Any, encoding: str = "utf-8") -> dict[str, Any]:
    """Write a file, whole or not at all.

    `path` is absolute, or relative to the work folder; missing folders are created. Text is written as it is,
    any other value as JSON. With `encoding: base64` the content is base64 text, and its bytes are written.
    Gives `{path, size}`, the size in bytes.
    """
    target = locate(path, context.work_folder)
    data = _bytes(content if isinstance(content, str) else encode(content, "content"), encoding)
    write_whole(target, data, path)
    return {"path": path, "size": len(data)}


def _bytes(text: str, encoding: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True) if encoding == BASE64 else text.encode(encoding)
    except binascii.Error as error:
        raise invalid(f"content is not base64 ({error})") from error
    except LookupError as error:
        raise unknown_encoding(encoding) from error
    except UnicodeError as error:
        raise invalid(f"content cannot be written as {encoding} ({error})") from error
