"""`call: module:function` finds functions in the project, in the workflows folder and in packages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepwell.actions.call import resolve
from stepwell.errors import Fail


@pytest.fixture
def workflows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project folder (the current one) with a workflows folder; what is imported from it is forgotten again."""
    folder = tmp_path / "workflows"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield folder
    for name in set(sys.modules) - known:
        del sys.modules[name]


def test_a_function_of_the_project(workflows: Path, tmp_path: Path) -> None:
    (tmp_path / "tst_shop").mkdir()
    (tmp_path / "tst_shop/orders.py").write_text(
        "def fetch(region: str, day: int = 1, *, context):\n    return region\n"
    )
    action = resolve("tst_shop.orders:fetch", workflows)
    assert action.name == "call tst_shop.orders:fetch"
    assert (action.input_names, action.wants_context) == (["region", "day"], True)
    assert action.bind({"region": "eu"}) == {"region": "eu", "day": 1}


def test_a_function_beside_the_workflows(workflows: Path) -> None:
    (workflows / "tst_beside.py").write_text("class Tools:\n    @staticmethod\n    def double(n): return 2 * n\n")
    assert resolve("tst_beside:Tools.double", workflows).function(n=2) == 4


def test_a_function_of_a_package(workflows: Path) -> None:
    assert resolve("posixpath:basename", workflows).function("a/b") == "b"


def test_a_module_is_imported_once(workflows: Path) -> None:
    (workflows / "tst_once.py").write_text("def f(): return 1\n")
    first = resolve("tst_once:f", workflows).function
    (workflows / "tst_once.py").write_text("def f(): return 22\n")
    assert resolve("tst_once:f", workflows).function is first


def test_folders_are_added_once_and_last(workflows: Path, tmp_path: Path) -> None:
    before = list(sys.path)
    for _ in range(3):
        resolve("posixpath:basename", workflows)
    assert sys.path == [*before, str(tmp_path), str(workflows)]


def test_a_module_of_the_user_does_not_hide_one_of_python(workflows: Path) -> None:
    (workflows / "colorsys.py").write_text("def mine(): return 1\n")
    with pytest.raises(Fail) as failure:
        resolve("colorsys:mine", workflows)
    assert "colorsys has no function 'mine'" in failure.value.message
    assert f"{workflows}/colorsys.py is hidden by it: give that another name" in failure.value.message


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("tst_modul:fetch", "there is no module 'tst_modul' (did you mean 'tst_module'?); searched {project}, {flows}"),
        ("tst_package.order:f", "there is no module 'tst_package.order' (did you mean 'orders'?)"),
        ("tst_module.inner:f", "there is no module 'tst_module.inner'; searched tst_module, which is not a package"),
        ("tst_module:fetsh", "tst_module has no function 'fetsh' (did you mean 'fetch'?)"),
        ("tst_module:fetch.x", "tst_module has no function 'fetch.x'"),
        ("tst_module:LIMIT", "tst_module:LIMIT is not a function, but a value of type int"),
        (
            "tst_needs:f",
            "the module 'tst_needs' cannot be imported: ModuleNotFoundError: No module named 'tst_nothing'",
        ),
        ("tst_syntax:f", "the module 'tst_syntax' cannot be imported: SyntaxError"),
        ("tst_raises:f", "the module 'tst_raises' cannot be imported: Odd: no database"),
        ("tst_exits:f", "the module 'tst_exits' cannot be imported: SystemExit: 0"),
        ("builtins:max", "the parameters of builtins:max are not known"),
        ("tst_module", "write module:function"),
        (":fetch", "write module:function"),
        (".tst_module:fetch", "write module:function"),
    ],
)
def test_what_cannot_be_called_is_explained(workflows: Path, tmp_path: Path, target: str, message: str) -> None:
    (workflows / "tst_module.py").write_text("LIMIT = 3\ndef fetch(): pass\n")
    (workflows / "tst_package").mkdir()
    (workflows / "tst_package/__init__.py").write_text("")
    (workflows / "tst_package/orders.py").write_text("")
    (workflows / "tst_needs.py").write_text("import tst_nothing\n")
    (workflows / "tst_syntax.py").write_text("def f(:\n")
    (workflows / "tst_raises.py").write_text("class Odd(Exception): pass\nraise Odd('no database')\n")
    (workflows / "tst_exits.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(Fail) as failure:
        resolve(target, workflows)
    assert message.format(project=tmp_path, flows=workflows) in failure.value.message
    is_missing = "there is no module" in message or "has no function" in message
    assert (failure.value.code, failure.value.retryable) == ("not_found" if is_missing else "invalid", False)
