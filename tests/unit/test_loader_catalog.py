"""The catalog of a folder: what is in it, what is broken, and that it is read again when files change."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import stepwell.actions  # noqa: F401 - registers the actions
from stepwell.actions.call import resolve
from stepwell.errors import DefinitionError, Fail, NotFound, Unavailable
from stepwell.loader import Broken, Catalog, Definition
from stepwell.registry import Action, actions

GOOD = "steps: [{output: 1}]\n"
BAD = "steps: [{output: 1, ned: a}]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "workflows").mkdir()
    return tmp_path / "workflows"


def catalog(folder: Path, resolve_call: Callable[[str], Action] | None = None) -> Catalog:
    return Catalog(folder, registry=actions, resolve_call=resolve_call)


def listed(catalog: Catalog) -> list[tuple[str, bool]]:
    return [(one.workflow_id, isinstance(one, Definition)) for one in catalog.all()]


def test_what_is_in_a_folder(folder: Path) -> None:
    for name in ("b.yaml", "a.yml", ".hidden.yaml", "notes.txt", "c.yaml.bak"):
        (folder / name).write_text(GOOD)
    (folder / "named.yaml").write_text("id: another\n" + GOOD)
    (folder / "broken.yaml").write_text(BAD)
    (folder / "inner").mkdir()
    (folder / "inner" / "deep.yaml").write_text(GOOD)
    (folder / "folder.yaml").mkdir()
    assert listed(catalog(folder)) == [("a", True), ("another", True), ("b", True), ("broken", False)]


def test_a_definition(folder: Path) -> None:
    (folder / "a.yaml").write_text("name: ä\n" + GOOD)
    found = catalog(folder).get("a")
    assert (found.workflow_id, found.file, found.source) == ("a", str(folder / "a.yaml"), "name: ä\n" + GOOD)
    assert found.text == '{"name":"ä","steps":[{"output":1}]}'
    assert found.hash == hashlib.sha256(found.text.encode()).hexdigest()


def test_comments_and_order_of_keys_in_steps_do_not_change_the_hash(folder: Path) -> None:
    texts = catalog(folder)
    one = texts.from_text("steps: [{id: a, output: 1}] # comment\nname: x\n", "a.yaml")
    other = texts.from_text("name: x\nsteps:\n  - output: 1\n    id: a\n", "a.yaml")
    assert one.hash == other.hash
    assert one.hash != texts.from_text("name: y\nsteps: [{id: a, output: 1}]", "a.yaml").hash


def test_unknown_and_broken(folder: Path) -> None:
    (folder / "orders.yaml").write_text(GOOD)
    (folder / "broken.yaml").write_text(BAD)
    with pytest.raises(NotFound, match=r"unknown workflow 'order' \(did you mean 'orders'\?\)"):
        catalog(folder).get("order")
    with pytest.raises(DefinitionError, match=r"broken\.yaml:1:21: unknown key 'ned'"):
        catalog(folder).get("broken")


def test_a_reserved_name_is_refused(folder: Path) -> None:
    (folder / "tasks.yaml").write_text(GOOD)
    with pytest.raises(DefinitionError, match="'tasks' is reserved: rename the file"):
        catalog(folder).get("tasks")


@pytest.mark.parametrize(
    ("other", "text"), [("a.yml", GOOD), ("b.yaml", "id: a\n" + GOOD), ("b.yaml", 'id: "a" # the same\n' + BAD)]
)
def test_files_with_the_same_id_name_each_other(folder: Path, other: str, text: str) -> None:
    (folder / "a.yaml").write_text(GOOD)
    (folder / other).write_text(text)
    texts = catalog(folder)
    assert listed(texts) == [("a", False), ("a", False)]
    with pytest.raises(DefinitionError) as caught:
        texts.get("a")
    messages = [(problem.file, problem.message) for problem in caught.value.problems]
    first, second = str(folder / "a.yaml"), str(folder / other)
    assert (first, f"the workflow id 'a' is also that of {second}: change one of them") in messages
    assert (second, f"the workflow id 'a' is also that of {first}: change one of them") in messages
    (folder / other).unlink()
    assert texts.get("a").file == first


def test_changes_are_seen(folder: Path) -> None:
    texts = catalog(folder)
    assert texts.all() == []
    (folder / "a.yaml").write_text(GOOD)
    first = texts.get("a")
    assert texts.get("a") is first
    (folder / "a.yaml").write_text(BAD)
    with pytest.raises(DefinitionError):
        texts.get("a")
    (folder / "a.yaml").write_text(GOOD.replace("1", "2"))
    os.utime(folder / "a.yaml", ns=(0, 0))
    assert texts.get("a").hash != first.hash
    (folder / "a.yaml").rename(folder / "b.yaml")
    assert listed(texts) == [("b", True)]
    (folder / "b.yaml").unlink()
    assert listed(texts) == []


def test_a_file_with_the_same_time_and_size_but_another_inode_is_read_again(folder: Path) -> None:
    file, new = folder / "a.yaml", folder / "new"
    file.write_text(GOOD)
    texts = catalog(folder)
    first = texts.get("a")
    new.write_text(GOOD.replace("1", "2"))
    status = file.stat()
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    new.replace(file)
    assert texts.get("a").hash != first.hash


def test_a_function_that_comes_later_is_found(folder: Path) -> None:
    known: dict[str, Action] = {}

    def resolve_call(target: str) -> Action:
        if target not in known:
            raise Fail(f"call: there is no function {target!r}")
        return known[target]

    (folder / "a.yaml").write_text("steps: [{call: 'shop:fetch'}]\n")
    texts = catalog(folder, resolve_call)
    with pytest.raises(DefinitionError, match="1:16: there is no function 'shop:fetch'"):
        texts.get("a")
    known["shop:fetch"] = Action("call shop:fetch", lambda: None)
    assert texts.get("a").workflow_id == "a"


def test_a_module_that_exits_when_imported_breaks_only_its_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (folder / "tst_leaves.py").write_text("import sys\nsys.exit()\n")
    (folder / "a.yaml").write_text("steps: [{call: 'tst_leaves:main'}]\n")
    (folder / "b.yaml").write_text(GOOD)
    texts = catalog(folder, lambda target: resolve(target, folder))
    assert listed(texts) == [("a", False), ("b", True)]
    with pytest.raises(DefinitionError, match="the module 'tst_leaves' cannot be imported: SystemExit"):
        texts.get("a")


def test_links(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_text(GOOD)
    (folder / "inside.yaml").symlink_to(tmp_path / "outside.yaml")
    (folder / "dangling.yaml").symlink_to(tmp_path / "nothing.yaml")
    assert listed(catalog(folder)) == [("inside", True)]


def test_a_file_that_cannot_be_read(folder: Path) -> None:
    (folder / "loop.yaml").symlink_to(folder / "loop.yaml")
    (folder / "a.yaml").write_text(GOOD)
    texts = catalog(folder)
    assert listed(texts) == [("a", True), ("loop", False)]
    broken = texts.all()[1]
    assert isinstance(broken, Broken)
    assert str(broken.error).startswith(f"{folder / 'loop.yaml'}:1:1: the file cannot be read: ")


def test_a_folder_that_is_not_there_or_none(tmp_path: Path) -> None:
    assert catalog(tmp_path / "nowhere").all() == []
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="cannot be listed: Not a directory"):
        catalog(tmp_path / "file").all()


def test_files_and_texts_from_anywhere(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(GOOD)
    texts = catalog(folder)
    assert texts.from_file(tmp_path / "my.yaml").workflow_id == "my"
    assert texts.from_text(GOOD).workflow_id == "workflow"
    assert texts.from_text(GOOD, "dir/orders.yaml").workflow_id == "orders"
    assert texts.from_text("id: x\n" + GOOD).workflow_id == "x"
    assert texts.all() == []
    with pytest.raises(NotFound, match="unknown file"):
        texts.from_file(tmp_path / "other.yaml")
    with pytest.raises(DefinitionError, match="the file cannot be read: Is a directory"):
        texts.from_file(tmp_path)


def test_many_threads_see_whole_definitions(folder: Path) -> None:
    names = [f"w{number}" for number in range(5)]
    for name in names:
        (folder / f"{name}.yaml").write_text(GOOD)
    texts, stop = catalog(folder), threading.Event()

    def replace_files() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            new = folder / "new"
            new.write_text(f"name: n{number}\n{GOOD}")
            new.replace(folder / f"{names[number % 5]}.yaml")

    def read() -> set[str]:
        return {texts.get(name).workflow_id for _ in range(40) for name in names}

    with ThreadPoolExecutor(5) as pool:
        writer = pool.submit(replace_files)
        readers = [pool.submit(read) for _ in range(4)]
        found = [reader.result() for reader in readers]
        stop.set()
        writer.result()
    assert found == [set(names)] * 4
