"""What is refused before it reaches an operation: foreign hosts, requests of other sites, bodies that are too large."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stepwell.api.problems import FOREIGN_ORIGIN, HOST_INVALID, HOST_UNKNOWN, TOO_LARGE, Kind, TooLarge, problem

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PORTS = {"http": 80, "https": 443}

FRAMING = 64 * 1024
"""Bytes that a multipart body may have around the file in it."""


class HostGuard:
    """Answers only to names of this host, and lets web pages of other sites change nothing.

    Without the first a page of `evil.example` can have its own name resolve to 127.0.0.1 (DNS rebinding) and read
    everything; without the second it can send a form here (CSRF). Allowed are loopback names and addresses, and
    `hosts`, where `*.example.com` allows all names below and `*` any. A page may change something only if its
    `Origin` is the very host and port that it asks, whatever is in `hosts`; programs send no `Origin`.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower().strip("[]") for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer what is wrong with it."""
        refusal = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            kind, detail = refusal
            await problem(HTTPConnection(scope).url.path, kind, detail)(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[Kind, str] | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        name = _host(f"//{hosts[0]}") if len(hosts) == 1 else None
        if name is None:
            return HOST_INVALID, "the request needs one Host header with a name and perhaps a port"
        if not self._is_allowed(name):
            return HOST_UNKNOWN, f"this server does not answer to the name {name!r}: add it to ALLOWED_HOSTS"
        origin = headers.get("origin")
        if origin is not None and scope.get("method") not in SAFE_METHODS and not _is_same(origin, hosts[0]):
            return FOREIGN_ORIGIN, f"a page of {origin} may change nothing here, only one of {hosts[0]} itself"
        return None

    def _is_allowed(self, name: str) -> bool:
        if _is_loopback(name) or name in self._hosts or "*" in self._hosts:
            return True
        return any(host.startswith("*.") and name.endswith(host[1:]) for host in self._hosts)


class SizeGuard:
    """Refuses bodies larger than `limit`, or `upload_limit` for an upload, also where no length is announced."""

    def __init__(self, app: ASGIApp, limit: int, upload_limit: int) -> None:
        self._app, self._limit, self._upload_limit = app, limit, upload_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body counted, or answer 413."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit, setting = self._limit, "MAX_REQUEST_BYTES"
        if scope["path"] in ("/files", "/api/files"):
            limit, setting = self._upload_limit + FRAMING, "MAX_UPLOAD_BYTES"
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdecimal() and int(announced) > limit:
            answer = problem(HTTPConnection(scope).url.path, TOO_LARGE, TooLarge(limit, setting).detail)
            await answer(scope, receive, send)
            return
        await self._app(scope, _counted(receive, limit, setting), send)


def is_loopback(host: str) -> bool:
    """Whether a name or address reaches this machine only."""
    return _is_loopback(host.lower().strip("[]"))


def _counted(receive: Receive, limit: int, setting: str) -> Receive:
    received = 0

    async def counting() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise TooLarge(limit, setting)
        return message

    return counting


def _host(url: str) -> str | None:
    """The host of a URL in lower case, None if it has none."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for what is no port
    except ValueError:
        return None
    if parts.username is not None or parts.path or parts.query or parts.fragment:
        return None
    return parts.hostname


def _is_same(origin: str, host: str) -> bool:
    """Whether an `Origin` names the same server as the `Host` header; without a port each has that of the scheme."""
    scheme = origin.partition("://")[0]
    if scheme not in PORTS or _host(origin) is None:
        return False
    asking, asked = urlsplit(origin), urlsplit(f"{scheme}://{host}")
    return (asking.hostname, asking.port or PORTS[scheme]) == (asked.hostname, asked.port or PORTS[scheme])


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
