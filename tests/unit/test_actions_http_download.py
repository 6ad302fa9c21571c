"""`http.download` against a real server on loopback."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from stepwell.actions import http_download
from stepwell.errors import Fail

if TYPE_CHECKING:
    from tests.unit.action_fixtures import ActionContext, LocalServer


BODY = os.urandom(300_000)
RANGES = {"Accept-Ranges": "bytes", "ETag": '"v1"'}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_download, "RESUME_PAUSE", 0.0)


def test_a_file_arrives_whole(context: ActionContext, server: LocalServer) -> None:
    url = server.answer("/file", BODY)
    result = context.run("http.download", url=url, path="in/file.bin", headers={"X-Key": 5, "X-None": None})
    assert result == {"path": "in/file.bin", "size": len(BODY), "sha256": hashlib.sha256(BODY).hexdigest()}
    assert (context.work_folder / "in/file.bin").read_bytes() == BODY
    assert context.reports[-1] == {"filename": "in/file.bin", "current_bytes": len(BODY), "total_bytes": len(BODY)}
    assert server.received[0].headers["x-key"] == "5"
    assert server.received[0].headers["accept-encoding"] == "identity"


def test_a_broken_connection_is_gone_on_with(context: ActionContext, server: LocalServer) -> None:
    url = server.answer("/file", BODY, headers=RANGES, cut=100_000)
    part = {"Content-Range": f"bytes 100000-299999/{len(BODY)}"}
    server.answer("/file", BODY[100_000:], status=206, headers=RANGES | part)
    result = context.run("http.download", url=url, path="file")
    assert (context.work_folder / "file").read_bytes() == BODY
    assert result["sha256"] == hashlib.sha256(BODY).hexdigest()
    assert (server.received[1].headers["range"], server.received[1].headers["if-range"]) == ("bytes=100000-", '"v1"')


def test_a_file_that_changed_meanwhile_is_loaded_anew(context: ActionContext, server: LocalServer) -> None:
    url = server.answer("/file", BODY, headers=RANGES, cut=100_000)
    server.answer("/file", b"new", headers=RANGES | {"ETag": '"v2"'})
    result = context.run("http.download", url=url, path="file")
    assert (result["size"], result["sha256"]) == (3, hashlib.sha256(b"new").hexdigest())
    assert (context.work_folder / "file").read_bytes() == b"new"


@pytest.mark.parametrize(
    "headers",
    [{}, {"ETag": '"v1"'}, {"Accept-Ranges": "bytes"}, {"Accept-Ranges": "bytes", "ETag": 'W/"v1"'}],
)
def test_without_ranges_or_validator_it_fails_at_once(
    context: ActionContext, server: LocalServer, headers: dict[str, str]
) -> None:
    url = server.answer("/file", BODY, headers=headers, cut=100_000)
    with pytest.raises(Fail) as failure:
        context.run("http.download", url=url, path="file")
    assert (failure.value.code, failure.value.retryable) == ("http_connect", True)
    assert len(server.received) == 1


def test_resumes_are_bounded(context: ActionContext, server: LocalServer) -> None:
    url = server.answer("/file", BODY, headers=RANGES, cut=1000)
    with pytest.raises(Fail) as failure:
        context.run("http.download", url=url, path="file")
    assert failure.value.code == "http_connect"
    assert len(server.received) == 1 + http_download.MAX_RESUMES


def test_an_answer_with_a_part_of_the_rest_is_gone_on_with(context: ActionContext, server: LocalServer) -> None:
    url = server.answer("/file", BODY[:1000], headers=RANGES | {"Content-Length": "1000"}, cut=400)
    server.answer("/file", BODY[400:600], status=206, headers=RANGES | {"Content-Range": "bytes 400-599/1000"})
    server.answer("/file", BODY[600:1000], status=206, headers=RANGES | {"Content-Range": "bytes 600-999/1000"})
    result = context.run("http.download", url=url, path="file")
    assert (result["size"], result["sha256"]) == (1000, hashlib.sha256(BODY[:1000]).hexdigest())
    assert [received.headers.get("range") for received in server.received] == [None, "bytes=400-", "bytes=600-"]


@pytest.mark.parametrize(("total", "requests"), [("1000", 1 + http_download.MAX_RESUMES), ("500", None)])
def test_a_file_that_is_never_whole_fails(
    context: ActionContext, server: LocalServer, total: str, requests: int | None
) -> None:
    url = server.answer("/file", BODY[:1000], headers=RANGES, cut=400)
    server.answer("/file", BODY[400:600], status=206, headers=RANGES | {"Content-Range": f"bytes 400-599/{total}"})
    server.answer("/file", b"", status=206, headers=RANGES | {"Content-Range": f"bytes 600-600/{total}"})
    with pytest.raises(Fail, match=f"600 bytes of {int(total):,} came") as failure:
        context.run("http.download", url=url, path="file")
    assert (failure.value.code, failure.value.retryable) == ("http_body", True)
    assert requests is None or len(server.received) == requests


@pytest.mark.parametrize("status", [206, 416])
def test_another_part_than_the_one_asked_for_is_refused(
    context: ActionContext, server: LocalServer, status: int
) -> None:
    url = server.answer("/file", BODY, headers=RANGES, cut=1000)
    server.answer("/file", BODY, status=status, headers={"Content-Range": "bytes 0-299999/300000"})
    with pytest.raises(Fail) as failure:
        context.run("http.download", url=url, path="file")
    assert (failure.value.code, failure.value.retryable) == ("http_range", True)


@pytest.mark.parametrize(("status", "retryable"), [(404, False), (503, True)])
def test_an_unexpected_status_fails(context: ActionContext, server: LocalServer, status: int, retryable: bool) -> None:
    with pytest.raises(Fail, match="sorry") as failure:
        context.run("http.download", url=server.answer("/file", b"sorry" + BODY, status=status), path="file")
    assert (failure.value.status, failure.value.retryable) == (status, retryable)


@pytest.mark.parametrize("path", ["../out", "/tmp/out", "a/../../out", "link/out", ".", "", "a\0b"])
def test_it_never_writes_outside_the_work_folder(context: ActionContext, server: LocalServer, path: str) -> None:
    (context.work_folder / "link").symlink_to("..")
    with pytest.raises(Fail) as failure:
        context.run("http.download", url=server.answer("/file", BODY), path=path)
    assert failure.value.code == "invalid"
    assert server.received == []
    assert [entry.name for entry in context.work_folder.parent.iterdir()] == ["work"]


def test_a_folder_in_the_way_is_named(context: ActionContext, server: LocalServer) -> None:
    (context.work_folder / "file").mkdir()
    with pytest.raises(Fail, match="'file': Is a directory"):
        context.run("http.download", url=server.answer("/file", BODY), path="file")
