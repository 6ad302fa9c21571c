"""The file store keeps files by content, whole or not at all, and lets no name lead out of it."""

from __future__ import annotations

import hashlib
import os
import threading
import tracemalloc
import uuid
from pathlib import Path

import pytest

from stepwell.errors import Fail, InvalidInput, NotFound, SettingsError, Unavailable
from stepwell.ports import FileStore
from stepwell.stores.files import FsspecFileStore


@pytest.fixture(params=["folder", "file", "memory"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    kept = tmp_path / "kept"
    urls = {"folder": str(kept), "file": kept.as_uri(), "memory": f"memory://{uuid.uuid4().hex}"}
    return FsspecFileStore(urls[request.param])


def _file(folder: Path, content: bytes, name: str = "source") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("content", [b"", b"text\n", bytes(range(256)) * 10_000])
def test_a_file_comes_back_as_it_was(files: FileStore, tmp_path: Path, content: bytes) -> None:
    kept = files.put(_file(tmp_path, content))
    assert kept == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    target = tmp_path / "new" / "folder" / "target"
    files.fetch(kept["sha256"], target)
    assert target.read_bytes() == content
    assert list(target.parent.iterdir()) == [target]


def test_the_same_content_is_kept_once(tmp_path: Path) -> None:
    files = FsspecFileStore(str(tmp_path / "kept"))
    assert files.put(_file(tmp_path, b"x")) == files.put(_file(tmp_path, b"x", "other"))
    assert len([path for path in (tmp_path / "kept").rglob("*") if path.is_file()]) == 1


def test_removing_forgets_a_file_and_may_be_repeated(files: FileStore, tmp_path: Path) -> None:
    sha256 = files.put(_file(tmp_path, b"x"))["sha256"]
    files.remove(sha256)
    files.remove(sha256)
    with pytest.raises(NotFound):
        files.fetch(sha256, tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("name", ["", "../../secret", "a" * 63, "A" * 64, "a" * 64 + "\n", "a" * 63 + "/"])
def test_a_name_that_is_no_hash_is_not_found(files: FileStore, tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound):
        files.fetch(name, tmp_path / "target")
    files.remove(name)


def test_links_folders_and_pipes_are_refused(files: FileStore, tmp_path: Path) -> None:
    _file(tmp_path, b"secret", "outside")
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "folder", "pipe"):
        with pytest.raises(InvalidInput, match=name):
            files.put(tmp_path / name)
    with pytest.raises(NotFound, match="missing"):
        files.put(tmp_path / "missing")


def test_a_link_at_the_target_is_replaced_and_not_followed(files: FileStore, tmp_path: Path) -> None:
    sha256 = files.put(_file(tmp_path, b"new"))["sha256"]
    outside = _file(tmp_path, b"old", "outside")
    (tmp_path / "target").symlink_to(outside)
    files.fetch(sha256, tmp_path / "target")
    assert outside.read_bytes() == b"old"
    assert (tmp_path / "target").read_bytes() == b"new"


def test_a_damaged_file_is_told_and_not_delivered(tmp_path: Path) -> None:
    files = FsspecFileStore(str(tmp_path / "kept"))
    sha256 = files.put(_file(tmp_path, b"right"))["sha256"]
    (tmp_path / "kept" / sha256[:2] / sha256).write_bytes(b"wrong")
    with pytest.raises(Fail, match="damaged"):
        files.fetch(sha256, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_an_unusable_folder_is_unavailable_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"in the way")
    with pytest.raises(Unavailable, match="kept"):
        FsspecFileStore(str(tmp_path / "kept")).put(_file(tmp_path, b"x"))


@pytest.mark.parametrize("url", ["nowhere://x", "definitely-not-a-protocol://bucket/x"])
def test_an_unknown_place_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(SettingsError, match="FILES_URL"):
        FsspecFileStore(url)


def test_a_large_file_is_never_whole_in_memory(tmp_path: Path) -> None:
    files = FsspecFileStore(str(tmp_path / "kept"))
    source = _file(tmp_path, b"")
    os.truncate(source, 64 * 1024 * 1024)
    tracemalloc.start()
    try:
        files.fetch(files.put(source)["sha256"], tmp_path / "target")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 1024 * 1024


def test_many_threads_put_the_same_content(files: FileStore, tmp_path: Path) -> None:
    source = _file(tmp_path, b"x" * 100_000)
    answers: list[object] = []
    threads = [threading.Thread(target=lambda: answers.append(files.put(source))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert all(answer == answers[0] for answer in answers)
