"""`http.download`: a file of any size, streamed to the work folder, resumed where the connection broke."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from typing import IO, Any

import httpx

from stepwell.actions.excerpt import LONGEST_SECRET
from stepwell.actions.http import header_texts, prepared, url_of
from stepwell.actions.http_client import BODY_SHOWN, as_failures, client, shown, status_failure
from stepwell.actions.paths import locate_inside
from stepwell.errors import Fail
from stepwell.ports import Context
from stepwell.registry import action

MAX_RESUMES = 5
"""How often one attempt goes on after a broken connection."""

RESUME_PAUSE = 0.2
"""Seconds before the first resume; doubled for each further one."""

CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@action("http.download")
async def download(context: Context, url: str, path: str, headers: dict[str, Any] | None = None) -> dict[str, Any]:
    """Download a file to `path`, which is relative to the work folder, and give `{path, size, sha256}`.

    The bytes are kept as the server sends them. Progress is reported in bytes. If the connection breaks, and the
    server offers ranges and says by `ETag` or `Last-Modified` that the file is the same, it goes on from there,
    at most five times. A file that ends too early fails with the code `http_body`, any status but 2xx as with
    `http.request`.
    """
    target = locate_inside(path, context.work_folder)
    http = await client()
    address = url_of(url)
    what = shown("GET", address, context.secrets.values())
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            transfer = _Transfer(context, path, file)
            await _fetch(http, address, header_texts(headers), transfer, what)
    except OSError as error:
        raise Fail(f"{path!r}: {error.strerror or error}", code="file_error") from error
    return {"path": path, "size": transfer.size, "sha256": transfer.digest.hexdigest()}


class _Transfer:
    """What has arrived so far, and whether it can be gone on with."""

    def __init__(self, context: Context, name: str, file: IO[bytes]) -> None:
        self._context, self._name, self._file = context, name, file
        self.mask = context.mask
        self.size = 0
        self.total: int | None = None
        self.digest = hashlib.sha256()
        self.validator: str | None = None

    @property
    def range_headers(self) -> dict[str, str]:
        """Headers that ask for the rest, or for all of it if it has changed."""
        if self.validator is None or self.size == 0:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self.validator}

    def begin(self, response: httpx.Response, resumed: bool) -> None:
        """Take the head of an answer: the whole file, or the rest of it."""
        if resumed and response.status_code in (
            httpx.codes.PARTIAL_CONTENT,
            httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE,
        ):
            self._check_rest(response)
            return
        self._file.seek(0)
        self._file.truncate()
        self.size, self.digest = 0, hashlib.sha256()
        length = response.headers.get("content-length", "")
        self.total = int(length) if length.isdigit() else None
        self.validator = _validator(response)

    async def add(self, chunk: bytes) -> None:
        """Write on a thread, because a slow disk would hold up every other call of the loop."""
        await asyncio.to_thread(self._write, chunk)
        self.size += len(chunk)
        self._context.progress(filename=self._name, current_bytes=self.size, total_bytes=self.total)

    def _write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self.digest.update(chunk)

    def _check_rest(self, response: httpx.Response) -> None:
        match = CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        if match is None or int(match[1]) != self.size:
            raise Fail("the server sent another part of the file than was asked for", code="http_range")
        if match[2] != "*":
            self.total = int(match[2])

    def check_whole(self) -> None:
        """Raise if the answers ended before the whole file was there."""
        if self.total is not None and self.size != self.total:
            message = f"{self._name!r}: {self.size:,} bytes of {self.total:,} came: the answer ended there"
            raise _Truncated(message, code="http_body")


class _Truncated(Fail):
    """An answer ended, but not the file."""


async def _fetch(
    http: httpx.AsyncClient, url: httpx.URL, headers: Mapping[str, str], transfer: _Transfer, what: str
) -> None:
    """Receive all of it, over as many connections as it takes and `MAX_RESUMES` allows."""
    for resume in range(MAX_RESUMES + 1):
        with as_failures(what):
            try:
                await _receive(http, url, headers, transfer, what)
                transfer.check_whole()
            except (httpx.TransportError, _Truncated):
                if not transfer.range_headers or resume == MAX_RESUMES:
                    raise
            else:
                return
        await asyncio.sleep(RESUME_PAUSE * 2**resume)


async def _receive(
    http: httpx.AsyncClient, url: httpx.URL, headers: Mapping[str, str], transfer: _Transfer, what: str
) -> None:
    ranges = transfer.range_headers
    request = prepared(http, "GET", url, headers, {})
    request.headers.update({"Accept-Encoding": "identity"} | ranges)
    response = await http.send(request, stream=True)
    try:
        if not response.is_success and not (
            ranges and response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE
        ):
            raise status_failure(what, response, await _beginning(response), transfer.mask)
        transfer.begin(response, resumed=bool(ranges))
        async for chunk in response.aiter_raw():
            await transfer.add(chunk)
    finally:
        await response.aclose()


async def _beginning(response: httpx.Response) -> str:
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > 4 * (BODY_SHOWN + LONGEST_SECRET):  # no character takes more bytes in UTF-8
            break
    return body.decode("utf-8", "replace")


def _validator(response: httpx.Response) -> str | None:
    """What `If-Range` may name (RFC 9110, 13.1.5), if the server can go on with this file at all."""
    headers: Mapping[str, str] = response.headers
    if response.status_code != httpx.codes.OK or headers.get("accept-ranges", "").lower() != "bytes":
        return None
    etag = headers.get("etag", "")
    return etag if etag.startswith('"') else headers.get("last-modified")
