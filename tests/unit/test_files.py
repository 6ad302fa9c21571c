"""The file store keeps files by content, whole or not at all, and lets no name lead out of it."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import tracemalloc
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from stepwell.errors import Fail, InvalidInput, NotFound, SettingsError, Unavailable
from stepwell.ports import FileStore
from stepwell.stores.files import FsspecFileStore

HOUR = 3600.0


@pytest.fixture(params=["folder", "file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    kept = tmp_path / "kept"
    urls = {"folder": str(kept), "file": kept.as_uri(), "memory": f"memory://{uuid.uuid4().hex}"}
    return urls[request.param]


@pytest.fixture
def files(url: str) -> FileStore:
    return FsspecFileStore(url)


@pytest.fixture
def later(url: str) -> Callable[[float], FileStore]:
    """The same files, so many seconds later."""
    start = time.time()
    return lambda seconds: FsspecFileStore(url, now=lambda: start + seconds)


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
    assert len(list((tmp_path / "kept").glob("*/*"))) == 1


def test_removing_forgets_a_file_and_may_be_repeated(files: FileStore, tmp_path: Path) -> None:
    sha256 = files.put(_file(tmp_path, b"x"))["sha256"]
    files.remove(sha256)
    files.remove(sha256)
    with pytest.raises(NotFound):
        files.fetch(sha256, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_a_file_is_removed_only_when_it_is_old_enough(
    files: FileStore, later: Callable[[float], FileStore], tmp_path: Path
) -> None:
    sha256 = files.put(_file(tmp_path, b"x"))["sha256"]
    later(HOUR - 60).remove(sha256, unless_newer_than=HOUR)
    files.fetch(sha256, tmp_path / "target")
    later(HOUR + 60).remove(sha256, unless_newer_than=HOUR)
    with pytest.raises(NotFound):
        files.fetch(sha256, tmp_path / "target")


def test_what_is_put_again_is_new_again(tmp_path: Path) -> None:
    files = FsspecFileStore(str(tmp_path / "kept"))
    source = _file(tmp_path, b"x")
    sha256 = files.put(source)["sha256"]
    long_ago = time.time() - 2 * HOUR
    os.utime(tmp_path / "kept" / sha256[:2] / sha256, (long_ago, long_ago))
    assert files.old(sha256[:2], HOUR) == [sha256]
    files.put(source)
    assert files.old(sha256[:2], HOUR) == []
    files.remove(sha256, unless_newer_than=HOUR)
    files.fetch(sha256, tmp_path / "target")


def test_old_files_are_found_by_the_beginning_of_their_names(
    files: FileStore, later: Callable[[float], FileStore], tmp_path: Path
) -> None:
    kept = sorted(files.put(_file(tmp_path, str(number).encode()))["sha256"] for number in range(20))
    prefixes = [f"{number:02x}" for number in range(256)]
    assert [one for prefix in prefixes for one in later(HOUR - 60).old(prefix, HOUR)] == []
    assert [one for prefix in prefixes for one in later(HOUR + 60).old(prefix, HOUR)] == kept


def test_what_is_no_kept_file_is_never_old(tmp_path: Path) -> None:
    (tmp_path / "kept" / "ab" / "folder").mkdir(parents=True)
    (tmp_path / "kept" / "ab" / "notes.txt").write_text("")
    assert FsspecFileStore(str(tmp_path / "kept")).old("ab", -HOUR) == []


def test_what_interrupted_calls_left_goes_when_it_is_old(tmp_path: Path) -> None:
    files = FsspecFileStore(str(tmp_path / "kept"))
    files.clear_incoming(HOUR)
    sha256 = files.put(_file(tmp_path, b"x"))["sha256"]
    incoming = tmp_path / "kept" / "incoming"
    long_ago = time.time() - 2 * HOUR
    os.utime(_file(incoming, b"half", "left"), (long_ago, long_ago))
    under_way = _file(incoming, b"half", "under-way")
    files.clear_incoming(HOUR)
    assert list(incoming.iterdir()) == [under_way]
    files.fetch(sha256, tmp_path / "target")


def test_a_put_during_a_removal_is_not_lost(tmp_path: Path) -> None:
    """The removal has seen that the file is old when the same content is put again."""
    kept, source = str(tmp_path / "kept"), _file(tmp_path, b"x")
    files = FsspecFileStore(kept)
    sha256 = files.put(source)["sha256"]
    putting = threading.Thread(target=files.put, args=(source,))

    def now() -> float:
        putting.start()
        putting.join(timeout=0.2)
        return time.time() + 2 * HOUR

    FsspecFileStore(kept, now).remove(sha256, unless_newer_than=HOUR)
    putting.join()
    files.fetch(sha256, tmp_path / "target")


@pytest.mark.parametrize("name", ["", "../../secret", "a" * 63, "A" * 64, "a" * 64 + "\n", "a" * 63 + "/"])
def test_a_name_that_is_no_hash_is_not_found(files: FileStore, tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound):
        files.fetch(name, tmp_path / "target")
    files.remove(name)
    files.remove(name, unless_newer_than=HOUR)


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
