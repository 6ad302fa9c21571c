"""`http.request` against a real server on loopback."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.actions.http import request
from stepwell.actions.http_client import retry_after
from stepwell.errors import Fail
from stepwell.values import MAX_SIZE

if TYPE_CHECKING:
    from tests.unit.action_fixtures import ActionContext, LocalServer


JSON = {"Content-Type": "application/json; charset=utf-8"}


def test_an_answer_is_a_value(context: ActionContext, server: LocalServer) -> None:
    url = server.answer("/orders", b'{"total": 3}', headers=JSON | {"X-Page": "1"})
    answer = context.run("http.request", url=url)
    assert (answer["status"], answer["json"], answer["text"]) == (200, {"total": 3}, '{"total": 3}')
    assert answer["headers"]["x-page"] == "1"
    assert json.loads(json.dumps(answer)) == answer


def test_an_answer_that_is_not_json_has_text(context: ActionContext, server: LocalServer) -> None:
    url = server.answer("/page", "caf\xe9".encode("latin-1"), headers={"Content-Type": "text/html; charset=latin-1"})
    answer = context.run("http.request", url=url)
    assert (answer["json"], answer["text"]) == (None, "café")


@pytest.mark.parametrize("charset", ["hex", "klingon", "utf-8", "punycode", "idna", "utf-7", "unicode_escape"])
def test_a_charset_that_is_none_is_utf_8(context: ActionContext, server: LocalServer, charset: str) -> None:
    url = server.answer("/page", "é".encode() + b"\xff", headers={"Content-Type": f"text/plain; charset={charset}"})
    assert context.run("http.request", url=url)["text"] == "é\ufffd"


@pytest.mark.parametrize(
    ("kind", "codec"),
    [
        ("text/plain; charset=ISO-8859-2", "iso8859-2"),
        ('text/plain; boundary=x; charset="windows-1250"', "cp1250"),
        ("text/plain;CHARSET=UTF-16", "utf-16"),
        ("text/plain; charset=x; charset=utf-16", "utf-8"),
        ("text/plain; charset*=utf-16''utf-16", "utf-8"),
    ],
)
def test_charsets(context: ActionContext, server: LocalServer, kind: str, codec: str) -> None:
    url = server.answer("/page", "Łódź".encode(codec), headers={"Content-Type": kind})
    assert context.run("http.request", url=url)["text"] == "Łódź"


@pytest.mark.parametrize("before", [490, 499])
def test_a_secret_is_masked_before_the_body_is_cut(context: ActionContext, server: LocalServer, before: int) -> None:
    context.secrets = {"KEY": "hunter22-hunter22"}
    url = server.answer("/in", b"x" * before + b"hunter22-hunter22", status=404)
    for name, inputs in (("http.request", {}), ("http.download", {"path": "file"})):
        with pytest.raises(Fail) as failure:
            context.run(name, url=url, **inputs)
        assert failure.value.message.endswith("x" * before + "***"[: 500 - before])


def test_a_compressed_answer_is_unpacked(context: ActionContext, server: LocalServer) -> None:
    url = server.answer("/page", gzip.compress(b"hello"), headers={"Content-Encoding": "gzip"})
    assert context.run("http.request", url=url)["text"] == "hello"


def test_broken_compression_is_a_failure(context: ActionContext, server: LocalServer) -> None:
    url = server.answer("/page", b"not gzip", headers={"Content-Encoding": "gzip"})
    with pytest.raises(Fail) as failure:
        context.run("http.request", url=url)
    assert (failure.value.code, failure.value.retryable) == ("http_body", True)


def test_a_small_answer_that_unpacks_to_a_large_one_is_refused(context: ActionContext, server: LocalServer) -> None:
    url = server.answer("/page", gzip.compress(bytes(MAX_SIZE + 1)), headers={"Content-Encoding": "gzip"})
    with pytest.raises(Fail, match="larger than"):
        context.run("http.request", url=url)


@pytest.mark.parametrize("body", [b"{oops", b'{"x": NaN}', b"[" * 100_000])
def test_broken_json_is_null_and_said(
    context: ActionContext, server: LocalServer, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    answer = context.run("http.request", url=server.answer("/broken", body, headers=JSON))
    assert (answer["json"], answer["text"]) == (None, body.decode())
    assert "says that it is JSON, but is not" in caplog.text


def test_params_join_the_query_of_the_url(context: ActionContext, server: LocalServer) -> None:
    server.answer("/search")
    context.run("http.request", url=f"{server.url}/search?a=1", params={"b": ["x y", 2], "c": None, "d": True})
    context.run("http.request", url=f"{server.url}/search?a=1", params={})
    assert [received.path for received in server.received] == ["/search?a=1&b=x+y&b=2&d=true", "/search?a=1"]


@pytest.mark.parametrize(
    ("inputs", "body", "kind"),
    [
        ({"json": {"a": [1, None]}}, b'{"a":[1,null]}', "application/json"),
        ({"json": {}, "headers": {"content-type": "application/ld+json"}}, b"{}", "application/ld+json"),
        ({"data": {"a": "x&y", "b": [1, 2], "c": None}}, b"a=x%26y&b=1&b=2", "application/x-www-form-urlencoded"),
        ({"data": "plain é"}, "plain é".encode(), None),
    ],
)
def test_bodies(
    context: ActionContext, server: LocalServer, inputs: dict[str, Any], body: bytes, kind: str | None
) -> None:
    context.run("http.request", url=server.answer("/in"), method="post", **inputs)
    (received,) = server.received
    assert (received.method, received.body, received.headers.get("content-type")) == ("POST", body, kind)


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        (["ann", "s3cret"], "Basic " + base64.b64encode(b"ann:s3cret").decode()),
        ({"basic": {"username": "ann", "password": "é"}}, "Basic " + base64.b64encode("ann:é".encode()).decode()),
        ({"bearer": "t0ken"}, "Bearer t0ken"),
    ],
)
def test_auth(context: ActionContext, server: LocalServer, auth: Any, header: str) -> None:
    context.run("http.request", url=server.answer("/in"), auth=auth)
    assert server.received[0].headers["authorization"] == header


def test_credentials_in_the_url_are_used_and_not_shown(context: ActionContext, server: LocalServer) -> None:
    url = server.answer("/in", status=403).replace("http://", "http://ann:s3cret@")
    with pytest.raises(Fail) as failure:
        context.run("http.request", url=url)
    assert server.received[0].headers["authorization"].startswith("Basic ")
    assert "s3cret" not in failure.value.message
    assert "ann" not in failure.value.message


def test_secrets_in_the_url_are_not_shown(context: ActionContext, server: LocalServer) -> None:
    context.secrets = {"HOOK": "b/t"}
    server.answer("/in", status=500)
    url = f"{server.url}/in?page=2&api_key=k1&X-Amz-Signature=k2&monkey=3&q=b%2Ft"
    with pytest.raises(Fail) as failure:
        context.run("http.request", url=url)
    shown = f"GET {server.url}/in?page=2&api_key=***&X-Amz-Signature=***&monkey=3&q=*** was answered 500"
    assert failure.value.message.startswith(shown)


def test_an_error_shows_the_beginning_of_the_body(context: ActionContext, server: LocalServer) -> None:
    url = server.answer("/in", b"no such order " + b"x" * 9000, status=404)
    with pytest.raises(Fail) as failure:
        context.run("http.request", url=url)
    error = failure.value
    assert (error.code, error.status, error.retryable) == ("http_status", 404, False)
    assert "404 Not Found: no such order" in error.message
    assert len(error.message) < 600


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503, 599])
def test_statuses_that_may_pass_are_retryable(context: ActionContext, server: LocalServer, status: int) -> None:
    url = server.answer("/busy", status=status, headers={"Retry-After": "7"})
    with pytest.raises(Fail) as failure:
        context.run("http.request", url=url)
    assert (failure.value.retryable, failure.value.status, failure.value.retry_after) == (True, status, 7.0)


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 -0000", "date": "Wed, 21 Oct 2015 07:29:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "²"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], pause: float | None) -> None:
    assert retry_after(headers) == pause


@pytest.mark.parametrize("expect", [404, "404", "4xx", ["2xx", 404], [404, "4XX"]])
def test_expected_statuses_are_answers(context: ActionContext, server: LocalServer, expect: Any) -> None:
    assert context.run("http.request", url=server.answer("/in", status=404), expect=expect)["status"] == 404


def test_only_what_is_expected_is_an_answer(context: ActionContext, server: LocalServer) -> None:
    with pytest.raises(Fail, match="200 OK"):
        context.run("http.request", url=server.answer("/in"), expect=[201])


def test_redirects_are_followed_unless_expected(context: ActionContext, server: LocalServer) -> None:
    url = server.answer("/old", status=302, headers={"Location": server.answer("/new", b"here")})
    assert context.run("http.request", url=url)["text"] == "here"
    assert context.run("http.request", url=url, expect="3xx")["headers"]["location"].endswith("/new")


def test_endless_redirects_fail(context: ActionContext, server: LocalServer) -> None:
    url = server.answer("/round", status=302, headers={"Location": "/round"})
    with pytest.raises(Fail) as failure:
        context.run("http.request", url=url)
    assert (failure.value.code, failure.value.retryable) == ("http_redirects", False)


def test_cookies_of_one_request_are_not_sent_with_the_next(context: ActionContext, server: LocalServer) -> None:
    url = server.answer("/in", headers={"Set-Cookie": "session=1; Path=/"})

    async def twice() -> None:
        await request(context, url)
        await request(context, url)

    asyncio.run(twice())
    assert ["cookie" in received.headers for received in server.received] == [False, False]


def test_no_server_is_retryable(context: ActionContext) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(Fail) as failure:
            context.run("http.request", url=f"http://127.0.0.1:{port}/")
    assert (failure.value.code, failure.value.retryable) == ("http_connect", True)
    assert f"GET http://127.0.0.1:{port}/: the connection failed" in failure.value.message


def test_a_body_that_breaks_off_is_retryable(context: ActionContext, server: LocalServer) -> None:
    with pytest.raises(Fail) as failure:
        context.run("http.request", url=server.answer("/in", b"x" * 1000, cut=10))
    assert (failure.value.code, failure.value.retryable) == ("http_connect", True)


def test_a_slow_answer_is_a_timeout(context: ActionContext, server: LocalServer) -> None:
    url = server.answer("/slow", hold=threading.Event())
    with pytest.raises(Fail) as failure:
        context.run("http.request", url=url, timeout="100ms")
    assert (failure.value.code, failure.value.retryable) == ("http_timeout", True)


def test_a_large_answer_is_refused(context: ActionContext, server: LocalServer) -> None:
    with pytest.raises(Fail, match=r"use http\.download") as failure:
        context.run("http.request", url=server.answer("/large", b"x" * (MAX_SIZE + 1)))
    assert (failure.value.code, failure.value.retryable) == ("too_large", False)


def test_cancelling_ends_the_request(context: ActionContext, server: LocalServer) -> None:
    url = server.answer("/slow", hold=threading.Event())

    async def cancelled() -> None:
        task = asyncio.create_task(request(context, url))
        await asyncio.to_thread(server.waiting.wait, 10)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"url": "ftp://host/x"}, "does not begin with http:// or https://"),
        ({"url": "host/x"}, "does not begin with http:// or https://"),
        ({"url": "http://host:x/"}, "url is not valid"),
        ({"url": "http://127.0.0.1:99999/"}, "port 99999"),
        ({"url": "http://host/\0"}, "url is not valid"),
        ({"method": "GE T"}, "method 'GE T'"),
        ({"headers": {"X-A": "a\r\nX-B: b"}}, "Illegal header value"),
        ({"headers": {"X-A": "é"}}, "holds 'é'"),
        ({"headers": {"X-A": {"a": 1}}}, "headers.X-A is neither text nor a number"),
        ({"data": "\ud800"}, "which it cannot"),
        ({"json": 1, "data": "x"}, "`json` or `data`, not both"),
        ({"auth": {"bearer": "x", "basic": {}}}, "auth is not"),
        ({"auth": ["only"]}, "auth is not"),
        ({"expect": ["2xx", "ok"]}, "expect: 'ok'"),
        ({"expect": 99}, "expect: '99'"),
        ({"timeout": "soon"}, "timeout: 'soon' is not a duration"),
    ],
)
def test_bad_inputs_are_named(
    context: ActionContext, server: LocalServer, inputs: dict[str, Any], message: str
) -> None:
    with pytest.raises(Fail) as failure:
        context.run("http.request", **{"url": server.answer("/in"), **inputs})
    assert message in failure.value.message
    assert (failure.value.code, failure.value.retryable) == ("invalid", False)
    assert server.received == []


def test_urls_are_not_logged_by_the_http_library(
    context: ActionContext, server: LocalServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    context.run("http.request", url=server.answer("/in") + "?token=abc")
    assert "abc" not in caplog.text
