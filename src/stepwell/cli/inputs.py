"""What is said on the command line, as values: `-v key=value`, `--vars FILE`, `--label key=value`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from stepwell import variables
from stepwell.errors import FieldProblem, InvalidInput, NotFound
from stepwell.workflow import Variable

KeepFile = Callable[[Path], Mapping[str, Any]]
"""Puts a file into the file store; answers `{size, sha256}`."""


def pairs(option: str, texts: Iterable[str]) -> dict[str, str]:
    """`key=value` texts by key; raises `InvalidInput` for one without `=`, and for a key that is given twice."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InvalidInput([FieldProblem(option, f"{text!r} is not of the form key=value")])
        if key in found:
            raise InvalidInput([FieldProblem(option, f"{key!r} is given twice")])
        found[key] = value
    return found


def values(declared: Mapping[str, Variable], given: Iterable[str], file: Path | None, keep: KeepFile) -> dict[str, Any]:
    """The variables of a task: those of a file, and over them those of `-v`, read by their declared types."""
    read = {name: _value(declared, name, text, keep) for name, text in pairs("-v", given).items()}
    return {**(read_file(file) if file else {}), **read}


def read_file(file: Path) -> dict[str, Any]:
    """The mapping in a JSON or YAML file. Raises `NotFound`, `InvalidInput`, `DefinitionError`."""
    from stepwell.strict_yaml import parse

    data = parse(read_text(file), str(file)).data  # JSON is YAML
    if not isinstance(data, dict):
        raise InvalidInput([FieldProblem("--vars", f"{file} must hold a mapping of names to values")])
    return data


def _value(declared: Mapping[str, Variable], name: str, text: str, keep: KeepFile) -> Any:
    """`@path` is the content of that file (of a `file` variable, the file itself), `@@x` is the text `@x`."""
    if not text.startswith("@"):
        return variables.from_text(declared, name, text)
    if text.startswith("@@"):
        return variables.from_text(declared, name, text[1:])
    path = Path(text[1:])
    if name in declared and declared[name].type == "file":
        if not path.is_file():
            raise NotFound("file", str(path))
        return {**keep(path), "name": path.name}
    return variables.from_text(declared, name, read_text(path))


def read_text(path: Path) -> str:
    """The content of a file. Raises `NotFound`, `InvalidInput`."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise NotFound("file", str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput([FieldProblem(str(path), f"cannot be read: {error}")]) from error
