"""`http.request`: one request, and its answer as a value."""

from __future__ import annotations

import asyncio
import json as jsonlib
import re
from collections.abc import Generator, Mapping, Sequence
from encodings import normalize_encoding
from encodings.aliases import aliases
from typing import Any, NoReturn

import httpx

from stepwell.actions.http_client import as_failures, client, shown, status_failure
from stepwell.actions.paths import invalid
from stepwell.errors import Fail
from stepwell.ports import Context
from stepwell.registry import action
from stepwell.values import MAX_SIZE, encode, seconds

METHOD = re.compile(r"[A-Za-z]+")
CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?([a-z0-9_.:-]{1,40})", re.IGNORECASE)
CHARSETS = """
ascii utf_8 utf_16 utf_16_le utf_16_be latin_1 big5 big5hkscs gb18030 gb2312 gbk shift_jis cp932 euc_jp iso2022_jp
euc_kr cp949 koi8_r koi8_u cp866 cp874 tis_620 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258
iso8859_2 iso8859_3 iso8859_4 iso8859_5 iso8859_6 iso8859_7 iso8859_8 iso8859_9 iso8859_10 iso8859_13 iso8859_14
iso8859_15 iso8859_16
"""
CODECS = frozenset(CHARSETS.split())
"""The charsets that a server may choose, as Python calls them; others, like punycode, take quadratic time."""

STATUS = re.compile(r"[1-5](\d\d|[xX][xX])")


@action("http.request")
async def request(
    context: Context,
    url: str,
    method: str = "GET",
    headers: dict[str, Any] | None = None,
    params: dict[str, Any] | None = None,
    json: Any = None,
    data: str | dict[str, Any] | None = None,
    auth: dict[str, Any] | list[str] | None = None,
    timeout: str | float = "1m",
    expect: int | str | list[int | str] | None = None,
) -> dict[str, Any]:
    """Send an HTTP request and give `{status, headers, json, text}`.

    `params` join the URL's query, a list once per item; null in `params` and `headers` leaves the name out.
    The body is `json`, or `data`: text as it is, or a form. `auth` is `[user, password]`,
    `{basic: {username, password}}` or `{bearer: token}`. `timeout` is for the whole request. `expect` lists
    statuses (404) and classes ("2xx", the default); redirects are followed unless one of 3xx is expected.
    No cookies are kept.

    In the output the names of headers are in lower case, and `json` is null unless the answer says that it is
    JSON. Fails with the codes `http_status` (with `status`; 408, 425, 429 and 5xx are retryable, other
    unexpected statuses are not), `http_connect`, `http_timeout` and `http_body` (retryable),
    `http_redirects`, `too_large` (more than 16 MiB) and `invalid`.
    """
    expected = _expected(expect)
    follow = not any(pattern.startswith("3") for pattern in expected)
    limit = _seconds(timeout)
    http = await client()
    address = url_of(url)
    if params:  # an empty mapping would remove the query that the URL has
        address = address.copy_merge_params(_fields(params, "params"))
    outgoing = prepared(http, method, address, _headers(headers, json), _body(json, data))
    what = shown(outgoing.method, outgoing.url, context.secrets.values())
    with as_failures(what):
        async with asyncio.timeout(limit):
            response, body = await _exchange(http, outgoing, _auth(auth), follow, what)
    text = _text(response, body)
    if not any(_matches(response.status_code, pattern) for pattern in expected):
        raise status_failure(what, response, text, context.mask)
    value = _json(context, response, text, what)
    return {"status": response.status_code, "headers": dict(response.headers), "json": value, "text": text}


def url_of(text: str) -> httpx.URL:
    """A URL that can be requested; raises `Fail` for any other."""
    try:
        url = httpx.URL(text.strip())
    except httpx.InvalidURL as error:
        raise invalid(f"the url is not valid: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise invalid("the url does not begin with http:// or https:// and a host")
    if (url.port or 0) > 65535:
        raise invalid(f"the url names port {url.port}: ports end at 65535")
    return url


def header_texts(headers: Mapping[str, Any] | None) -> dict[str, str]:
    """Headers as texts; those that are null are left out."""
    return {name: _scalar(value, f"headers.{name}") for name, value in (headers or {}).items() if value is not None}


def prepared(
    http: httpx.AsyncClient, method: str, url: httpx.URL, headers: Mapping[str, str], body: Mapping[str, Any]
) -> httpx.Request:
    """A request; `body` is in httpx's terms. Raises `Fail` for what cannot be sent."""
    if not METHOD.fullmatch(method):
        raise invalid(f"method {method!r} is not one like GET or POST")
    try:
        return http.build_request(method.upper(), url, headers=headers, **body)
    except UnicodeEncodeError as error:
        raise invalid(f"a header or the body holds {error.object[error.start]!r}, which it cannot") from error


def _headers(headers: Mapping[str, Any] | None, json: Any) -> dict[str, str]:
    given = header_texts(headers)
    if json is None or any(name.lower() == "content-type" for name in given):
        return given
    return given | {"Content-Type": "application/json"}


def _body(json: Any, data: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """The body in httpx's terms."""
    if json is not None and data is not None:
        raise invalid("give `json` or `data`, not both")
    if isinstance(data, Mapping):
        return {"data": _fields(data, "data")}
    return {"content": data if json is None else encode(json, "json")}


async def _exchange(
    http: httpx.AsyncClient, request: httpx.Request, auth: httpx.Auth | None, follow: bool, what: str
) -> tuple[httpx.Response, bytes]:
    chosen = httpx.USE_CLIENT_DEFAULT if auth is None else auth  # the default takes what stands in the URL
    response = await http.send(request, stream=True, auth=chosen, follow_redirects=follow)
    body = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_SIZE:
                message = f"{what}: the answer is larger than {MAX_SIZE:,} bytes: use http.download"
                raise Fail(message, code="too_large", retryable=False, status=response.status_code)
    finally:
        await response.aclose()
    return response, bytes(body)


def _text(response: httpx.Response, body: bytes) -> str:
    named = CHARSET.search(response.headers.get("content-type", ""))
    codec = normalize_encoding(named[1].lower()) if named else "utf_8"
    codec = aliases.get(codec, codec)
    return body.decode(codec if codec in CODECS else "utf_8", "replace")


def _json(context: Context, response: httpx.Response, text: str, what: str) -> Any:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not text or not (kind == "application/json" or kind.endswith("+json")):
        return None
    try:
        return jsonlib.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        context.logger.warning("%s: the answer says that it is JSON, but is not: %s", what, error)
        return None


def _expected(expect: int | str | Sequence[int | str] | None) -> list[str]:
    given = ["2xx"] if expect is None else expect if isinstance(expect, list) else [expect]
    for pattern in map(str, given):
        if not STATUS.fullmatch(pattern):
            raise invalid(f'expect: {pattern!r} is neither a status like 404 nor a class like "2xx"')
    return [str(pattern).lower() for pattern in given]


def _matches(status: int, pattern: str) -> bool:
    return str(status) == pattern or f"{status // 100}xx" == pattern


def _auth(auth: Mapping[str, Any] | Sequence[str] | None) -> httpx.Auth | None:
    match auth:
        case None:
            return None
        case [str(username), str(password)]:
            return httpx.BasicAuth(username, password)
        case {"basic": {"username": str(username), "password": str(password)}} if len(auth) == 1:
            return httpx.BasicAuth(username, password)
        case {"bearer": str(token)} if len(auth) == 1 and token.isascii():
            return _Bearer(token)
    raise invalid("auth is not [user, password], {basic: {username, password}} or {bearer: token}")


class _Bearer(httpx.Auth):
    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


def _fields(fields: Mapping[str, Any], what: str) -> dict[str, str | list[str]]:
    return {
        name: [_scalar(item, f"{what}.{name}") for item in value]
        if isinstance(value, list)
        else _scalar(value, f"{what}.{name}")
        for name, value in fields.items()
        if value is not None
    }


def _scalar(value: object, what: str) -> str:
    if isinstance(value, dict | list):
        raise invalid(f"{what} is neither text nor a number: write its JSON with the filter `json`")
    return value if isinstance(value, str) else encode(value, what)


def _seconds(timeout: str | float) -> float:
    try:
        return seconds(timeout)
    except ValueError as error:
        raise invalid(f"timeout: {error}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")
