"""`file.read` and `file.write` on real files."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.errors import Fail
from stepwell.values import MAX_SIZE

if TYPE_CHECKING:
    from tests.unit.action_fixtures import ActionContext


@pytest.mark.parametrize(
    ("content", "encoding", "written"),
    [
        ("straße\r\n", "utf-8", "straße\r\n".encode()),
        ("é", "latin-1", b"\xe9"),
        ("", "utf-8", b""),
        (base64.b64encode(bytes(range(256))).decode(), "base64", bytes(range(256))),
    ],
)
def test_what_was_written_is_read_again(context: ActionContext, content: str, encoding: str, written: bytes) -> None:
    result = context.run("file.write", path="out/a.txt", content=content, encoding=encoding)
    assert result == {"path": "out/a.txt", "size": len(written)}
    assert (context.work_folder / "out/a.txt").read_bytes() == written
    assert context.run("file.read", path="out/a.txt", encoding=encoding) == content
    assert os.listdir(context.work_folder / "out") == ["a.txt"]


@pytest.mark.parametrize(
    ("content", "text"), [({"a": [1, None]}, '{"a":[1,null]}'), (3, "3"), (None, "null"), (True, "true")]
)
def test_other_values_are_written_as_json(context: ActionContext, content: Any, text: str) -> None:
    context.run("file.write", path="a.json", content=content)
    assert context.run("file.read", path="a.json") == text


def test_absolute_paths_stand(context: ActionContext, tmp_path: Path) -> None:
    path = str(tmp_path / "elsewhere" / "a.txt")
    assert context.run("file.write", path=path, content="x") == {"path": path, "size": 1}
    assert context.run("file.read", path=path) == "x"


@pytest.mark.parametrize("is_absolute", [False, True])
def test_a_file_that_is_written_again_keeps_its_mode_and_its_link(context: ActionContext, is_absolute: bool) -> None:
    target = context.work_folder / "run.sh"
    target.write_text("old and longer")
    target.chmod(0o750)
    link = context.work_folder / "link.sh"
    link.symlink_to("run.sh")
    context.run("file.write", path=str(link) if is_absolute else "link.sh", content="new")
    assert link.is_symlink()
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("new", 0o750)


@pytest.mark.parametrize("name", ["file.read", "file.write"])
@pytest.mark.parametrize("path", ["../a.txt", "a/../../b", "link/a.txt", "", "a\0b"])
def test_relative_paths_stay_in_the_work_folder(context: ActionContext, name: str, path: str) -> None:
    (context.work_folder / "link").symlink_to("..")
    (context.work_folder.parent / "a.txt").write_text("outside")
    with pytest.raises(Fail) as failure:
        context.run(name, path=path, **({"content": "x"} if name == "file.write" else {}))
    assert (failure.value.code, failure.value.retryable) == ("invalid", False)
    assert (context.work_folder.parent / "a.txt").read_text() == "outside"


def test_a_missing_file_says_where_it_was_looked_for(context: ActionContext) -> None:
    with pytest.raises(Fail, match=r"no file 'a\.txt' in the work folder of this step .*needs_files") as failure:
        context.run("file.read", path="a.txt")
    assert (failure.value.code, failure.value.retryable) == ("file_not_found", False)


def test_a_missing_file_elsewhere_may_come_yet(context: ActionContext, tmp_path: Path) -> None:
    with pytest.raises(Fail, match="no file") as failure:
        context.run("file.read", path=str(tmp_path / "inbox.csv"))
    assert failure.value.retryable


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"encoding": "utf-8"}, "'data' is not utf-8 text"),
        ({"encoding": "klingon"}, "unknown encoding 'klingon'"),
        ({"encoding": "hex"}, "unknown encoding 'hex'"),
    ],
)
def test_text_that_cannot_be_read(context: ActionContext, inputs: dict[str, str], message: str) -> None:
    (context.work_folder / "data").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(Fail) as failure:
        context.run("file.read", path="data", **inputs)
    assert message in failure.value.message
    assert not failure.value.retryable


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        ("not base64!", "base64", "content is not base64"),
        ("é", "ascii", "cannot be written as ascii"),
        ("\ud800", "utf-8", "cannot be written as utf-8"),
        ("x", "klingon", "unknown encoding"),
        (float("nan"), "utf-8", "content is not JSON"),
    ],
)
def test_content_that_cannot_be_written(context: ActionContext, content: Any, encoding: str, message: str) -> None:
    with pytest.raises(Fail, match=message):
        context.run("file.write", path="a", content=content, encoding=encoding)
    assert list(context.work_folder.iterdir()) == []


def test_large_files_are_not_read(context: ActionContext) -> None:
    with (context.work_folder / "large").open("wb") as file:
        file.truncate(MAX_SIZE + 1)
    with pytest.raises(Fail) as failure:
        context.run("file.read", path="large")
    assert (failure.value.code, failure.value.retryable) == ("too_large", False)


def test_only_regular_files_are_touched(context: ActionContext) -> None:
    os.mkfifo(context.work_folder / "pipe")
    with pytest.raises(Fail, match="'pipe' is not a regular file"):
        context.run("file.read", path="pipe")
    with pytest.raises(Fail, match="'/dev/null' is not a regular file"):
        context.run("file.write", path="/dev/null", content="x")


def test_a_file_where_a_folder_should_be(context: ActionContext) -> None:
    (context.work_folder / "a").write_text("")
    with pytest.raises(Fail, match="'a/b'") as failure:
        context.run("file.write", path="a/b", content="x")
    assert failure.value.code == "file_error"
