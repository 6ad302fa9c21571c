"""The HTTP client of an event loop, and how what goes wrong with HTTP becomes a step's failure."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import quote, quote_plus

import httpx

from stepwell.actions.excerpt import Mask, beginning
from stepwell.actions.paths import invalid
from stepwell.errors import Fail

MAX_CONNECTIONS = 1000
IDLE_TIMEOUT = 60.0
"""Seconds of silence, while connecting or between two pieces of a body, after which a server is given up."""

BODY_SHOWN = 500
"""Characters of an answer's body that an error shows."""

RETRYABLE = frozenset({408, 425, 429})
"""Statuses besides 5xx after which the same request may succeed later (RFC 9110, RFC 8470, RFC 6585)."""

SECRET_NAME = re.compile(
    r"secret|token|passw|signature|credential|api_?key|(^|[^a-z])(key|sig|auth|pwd)([^a-z]|$)", re.IGNORECASE
)
"""The value of a query parameter with such a name is not shown."""

_open: dict[asyncio.AbstractEventLoop, tuple[AsyncGenerator[httpx.AsyncClient], httpx.AsyncClient]] = {}


async def client() -> httpx.AsyncClient:
    """The client of the running loop: its connections are shared by all tasks, cookies by none.

    It is closed by `loop.shutdown_asyncgens()`, which `asyncio.run` does at its end: that is why it lives in an
    asynchronous generator, the only thing a loop tells that it closes.
    """
    loop = asyncio.get_running_loop()
    if loop not in _open:
        lifetime = _lifetime(loop)
        _open[loop] = lifetime, await anext(lifetime)
    return _open[loop][1]


async def _lifetime(loop: asyncio.AbstractEventLoop) -> AsyncGenerator[httpx.AsyncClient]:
    _quiet_httpx()
    created = httpx.AsyncClient(
        follow_redirects=True,
        timeout=IDLE_TIMEOUT,
        limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=100),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={"User-Agent": "stepwell"},
    )
    try:
        yield created
    finally:
        del _open[loop]
        await created.aclose()


def _quiet_httpx() -> None:
    """httpx logs whole URLs, with the secrets in them, at level INFO."""
    logger = logging.getLogger("httpx")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)


@contextmanager
def as_failures(what: str) -> Iterator[None]:
    """Turn httpx's errors into `Fail`; `what` names the request."""
    try:
        yield
    except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL) as error:
        raise invalid(f"{what}: {error}") from error
    except (httpx.TimeoutException, TimeoutError) as error:
        raise Fail(f"{what}: no answer in time", code="http_timeout") from error
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        raise Fail(f"{what}: the connection failed: {reason}", code="http_connect") from error
    except httpx.TooManyRedirects as error:
        raise Fail(f"{what}: too many redirects", code="http_redirects", retryable=False) from error
    except httpx.DecodingError as error:
        raise Fail(f"{what}: the body's compression is broken: {error}", code="http_body") from error


def status_failure(what: str, response: httpx.Response, body: str, mask: Mask) -> Fail:
    """The failure for an answer with a status that was not expected; it shows the beginning of the body."""
    status = response.status_code
    excerpt = beginning(body, BODY_SHOWN, mask)
    message = f"{what} was answered {status} {response.reason_phrase}".rstrip()
    return Fail(
        f"{message}: {excerpt}" if excerpt.strip() else message,
        code="http_status",
        retryable=status in RETRYABLE or status >= 500,
        status=status,
        retry_after=retry_after(response.headers),
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The pause in seconds that `Retry-After` asks for; a date counts from the server's own `Date`."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    until = _date(value)
    if until is None:
        return None
    return max(0.0, (until - (_date(headers.get("date", "")) or datetime.now(UTC))).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def shown(method: str, url: httpx.URL, secrets: Iterable[str]) -> str:
    """A request's method and URL for people: without credentials, and without secrets in path and query."""
    parameters = [(name, "***" if SECRET_NAME.search(name) else value) for name, value in url.params.multi_items()]
    plain = url.copy_with(username=None, password=None, fragment=None, query=None)
    query = "&".join(f"{quote(name)}={value if value == '***' else quote(value)}" for name, value in parameters)
    text = f"{method} {plain}" + (f"?{query}" if query else "")
    for secret in filter(None, secrets):
        for spelling in (secret, quote(secret, safe=""), quote(secret), quote_plus(secret)):
            text = text.replace(spelling, "***")
    return text
