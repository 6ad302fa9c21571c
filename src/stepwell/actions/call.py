"""What `call:` does: finds a Python function by `module:function` and makes an action of it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from stepwell.actions.paths import invalid
from stepwell.errors import Fail, did_you_mean
from stepwell.registry import Action


def resolve(target: str, folder: Path) -> Action:
    """The action for `module:function`; its inputs are the function's parameters.

    Modules are looked for in installed packages, in the project folder (the current one) and in `folder`, that of
    the workflows. The two come last on `sys.path`, so that a module there cannot take the place of one that
    Python or a library needs. A module is imported once: changes are seen by new processes.
    Raises `Fail` (code `invalid`, not retryable) that says what was not found, where, and what is near.
    """
    module_name, _, function_name = target.partition(":")
    if not (module_name and function_name) or module_name.startswith("."):
        raise invalid(f"call: {target!r} does not name a function: write module:function")
    folders = _folders(folder)
    module = _import(module_name, folders)
    return Action(f"call {target}", _callable(_member(module, function_name, folders), target))


def import_own(name: str, folder: Path) -> ModuleType:
    """The module of this name, looked for where `resolve` does. Raises `Fail`."""
    return _import(name, _folders(folder))


def _folders(folder: Path) -> Sequence[Path]:
    folders = [Path.cwd(), folder.resolve()]
    _make_importable(folders)
    return folders


def _make_importable(folders: Sequence[Path]) -> None:
    known = {str(Path(entry).resolve()) for entry in sys.path}
    sys.path.extend(text for text in dict.fromkeys(map(str, folders)) if text not in known)


def _import(name: str, folders: Sequence[Path]) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    importlib.invalidate_caches()  # the file may be younger than Python's listing of its folder
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _broken(name, error) from error
        raise _no_module(error.name, folders) from error
    except (Exception, SystemExit) as error:  # what a user's module does when it is imported may fail in any way
        raise _broken(name, error) from error


def _no_module(missing: str, folders: Sequence[Path]) -> Fail:
    parent, _, last = missing.rpartition(".")
    paths = list(getattr(sys.modules.get(parent), "__path__", ())) if parent else [str(path) for path in folders]
    hint = did_you_mean(last, (module.name for module in pkgutil.iter_modules(paths)))
    searched = ", ".join(dict.fromkeys(paths)) or f"{parent}, which is not a package"
    also = "" if parent else " and the installed packages"
    return _missing(f"call: there is no module {missing!r}{hint}; searched {searched}{also}")


def _missing(message: str) -> Fail:
    """Another process may have it: another version of the code, or a folder that is not mounted here."""
    return Fail(message, code="not_found", retryable=False)


def _broken(name: str, error: BaseException) -> Fail:
    return invalid(f"call: the module {name!r} cannot be imported: {type(error).__name__}: {error}")


def _member(module: ModuleType, name: str, folders: Sequence[Path]) -> object:
    found: object = module
    for part in name.split("."):
        if not hasattr(found, part):
            public = (known for known in dir(found) if not known.startswith("_"))
            hint = did_you_mean(part, public)
            raise _missing(f"call: {module.__name__} has no function {name!r}{hint}{_whose(module, folders)}")
        found = getattr(found, part)
    return found


def _whose(module: ModuleType, folders: Sequence[Path]) -> str:
    """Where a module comes from, and which file of the user's it hides."""
    origin = getattr(module, "__file__", None)
    own = [path / f"{module.__name__.replace('.', '/')}.py" for path in folders]
    hidden = [path for path in own if path.exists() and str(path) != origin]
    note = f"; {hidden[0]} is hidden by it: give that another name" if hidden else ""
    return f" (it is {origin or 'built in'}{note})"


def _callable(found: object, target: str) -> Callable[..., Any]:
    if not callable(found):
        raise invalid(f"call: {target} is not a function, but a value of type {type(found).__name__}")
    try:
        inspect.signature(found)
    except (TypeError, ValueError) as error:
        raise invalid(f"call: the parameters of {target} are not known: call it from a function of yours") from error
    return found
