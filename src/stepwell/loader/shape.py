"""The shape of a workflow: is every key known, and has every value the type it must have.

What does not fit is reported and taken out, so that the rest becomes a `Workflow` and can be looked at further.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

from pydantic import ValidationError

from stepwell.errors import did_you_mean
from stepwell.loader.grammar import (
    EXPECTED,
    EXPECTED_OF_WAIT,
    EXPECTED_OF_WORKFLOW,
    NEEDS,
    NULLABLE,
    TRIGGER,
    WORKFLOW,
    Child,
    ListOf,
    MapOf,
    Part,
)
from stepwell.loader.report import Path, Report
from stepwell.loader.scalars import value_at
from stepwell.strict_yaml import Document
from stepwell.values import kind, shown
from stepwell.workflow import VariableType, Workflow, is_identifier, is_normal, is_workflow_id, normal

_PLACEHOLDERS: Mapping[str, object] = {"steps": [{}], "type": "any", "in": [], "event": "event"}
"""What stands in for a required value that is missing or wrong."""

MAX_NAME = 200
"""Characters of a name for which the right spelling is looked for."""

_LEFT_OUT: Any = object()
_TRIES = 5


def read_shape(document: Document, report: Report) -> Workflow | None:
    """What fits of the document as a `Workflow`; None if it is none at all. Everything else is reported."""
    cleaned = _Cleaner(report).value((), WORKFLOW, document.data)
    if cleaned is _LEFT_OUT:
        return None
    for _ in range(_TRIES):
        try:
            return Workflow.model_validate(cleaned, strict=True)
        except ValidationError as error:
            for path in _failed(error, cleaned):
                report.add(path, _misfit(path, value_at(document.data, path)[0]), key=_names_variable(path))
                _take_out(cleaned, path)
    return None


class _Cleaner:
    """Copies a document without what the models do not know, and reports that."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def value(self, path: Path, child: Child, value: Any) -> Any:
        """The value as what must stand there, or `_LEFT_OUT`."""
        if isinstance(child, ListOf):
            return self._list(path, child, value)
        if isinstance(child, MapOf):
            return self._map(path, child, value)
        if isinstance(value, child.short) and not isinstance(value, bool):
            return value
        if isinstance(value, dict):
            return self._mapping(path, child, value)
        self._report.add(path, _no_part(path, child, value))
        return _LEFT_OUT

    def _list(self, path: Path, child: ListOf, value: Any) -> Any:
        if not isinstance(value, list):
            hint = ": begin each of them with '- '" if isinstance(value, dict) else ""
            self._report.add(path, f"`{path[-1]}` must be a list of {child.what}, not {shown(value)}{hint}")
        elif not value:
            self._report.add(path, f"`{path[-1]}` is empty: it needs at least one of its {child.what}")
        else:
            items = [self.value((*path, n), child.part, item) for n, item in enumerate(value)]
            return [dict(child.stand_in) if item is _LEFT_OUT else item for item in items]
        return _LEFT_OUT

    def _map(self, path: Path, child: MapOf, value: Any) -> Any:
        if not isinstance(value, dict):
            self._report.add(path, f"`{path[-1]}` must be a mapping, not {shown(value)}")
            return _LEFT_OUT
        members = {name: self._member((*path, name), child.part, item) for name, item in value.items()}
        return {name: {"type": "any"} if item is _LEFT_OUT else item for name, item in members.items()}

    def _member(self, path: Path, part: Part, value: Any) -> Any:
        if isinstance(value, str) and value in get_args(VariableType) and not part.short:
            self._report.add(path, f"a variable must be a mapping: write {{type: {value}}}")
            return {"type": value}
        return self.value(path, part, value)

    def _mapping(self, path: Path, part: Part, value: dict[str, Any]) -> Any:
        kept: dict[str, Any] = {}
        for key, item in value.items():
            here = (*path, key)
            if key not in part.keys:
                self._report.add(here, self._unknown(part, key), key=True)
            elif item is None and key not in NULLABLE:
                self._report.add(here, f"`{key}` has no value: give it one, or remove the key", key=True)
            elif (child := part.children.get(key)) is None:
                kept[key] = item
            elif (inner := self.value(here, child, item)) is not _LEFT_OUT:
                kept[key] = inner
        return self._completed(path, part, value, kept)

    def _completed(self, path: Path, part: Part, value: dict[str, Any], kept: dict[str, Any]) -> Any:
        missing = [key for key, required in part.keys.items() if required and key not in kept]
        for key in missing:
            if key not in value and not (part is TRIGGER and part.unsupported & value.keys()):
                self._report.add(path, _missing(part, key, path))
            kept[key] = _PLACEHOLDERS.get(key)
        return _LEFT_OUT if missing and part is NEEDS else kept

    def _unknown(self, part: Part, key: str) -> str:
        if key in part.unsupported:
            return f"`{key}` is not supported yet"
        return f"unknown key {key!r:.100} of {part.what}{self._report.meant(key, part.keys)}"


def _no_part(path: Path, part: Part, value: object) -> str:
    if not path:
        return (
            "the file is empty: a workflow needs `steps`"
            if value is None
            else f"a workflow must be a mapping with `steps`, not {shown(value)}"
        )
    takes = EXPECTED.get(str(path[-1])) if part.short else None
    return f"{part.what} must be {takes or 'a mapping'}, not {shown(value)}{_in_brackets(takes, value)}"


def _missing(part: Part, key: str, path: Path) -> str:
    if part.model.__name__ == "Variable" and path:
        return f"the variable {path[-1]!r} needs a `type`: one of {', '.join(get_args(VariableType))}"
    return f"{part.what} needs `{key}`"


def _failed(error: ValidationError, data: object) -> Iterator[Path]:
    """The places of the values that do not fit, each once; what pydantic tries on the way is not in the data."""
    told = error.errors(include_url=False, include_context=False, include_input=False)
    found = {_place(tuple(problem["loc"]), data) for problem in told}
    around = {path[:length] for path in found for length in range(len(path))}
    yield from sorted(found - around, key=str)


def _place(loc: Path, data: Any) -> Path:
    """The path in the data that a location of pydantic means: names of types and functions are left out."""
    path: list[str | int] = []
    for part in loc:
        data, known = value_at(data, (part,))
        path.extend(known)
    return tuple(path)


def _misfit(path: Path, value: object) -> str:
    """What a value must be, for people."""
    names = [part for part in path if isinstance(part, str)]
    key = names[-1] if names else ""
    if _names_variable(path):
        return f"a variable is named with {EXPECTED['id']}, not {key!r:.120}{_in_normal_form(key)}"
    if len(path) == 2 and path[0] == "labels":
        return f"the label {key!r:.100} must be text, not {kind(value)}: put it in quotes"
    if key == "type":
        meant = did_you_mean(value, get_args(VariableType)) if isinstance(value, str) and len(value) < 100 else ""
        return f"there is no type {shown(value)}{meant}; types are {', '.join(get_args(VariableType))}"
    special = EXPECTED_OF_WORKFLOW if len(path) == 1 else EXPECTED_OF_WAIT if names[-2:-1] == ["wait"] else {}
    expected = special.get(key)
    expected = expected or EXPECTED.get(key, "text")
    if isinstance(path[-1], int):
        return f"`{key}` must be {expected}; {shown(value)} in it does not fit{_in_normal_form(value)}"
    hint = ": put it in quotes" if expected == "text" and isinstance(value, int | float) else ""
    return f"`{key}` must be {expected}, not {shown(value)}{hint or _remedy(key, expected, value)}"


def _names_variable(path: Path) -> bool:
    """Whether it is that of a variable of the workflow, or of the form of an approval."""
    return path[-2:-1] == ("variables",) and path[-3:-2] in ((), ("wait",))


def _remedy(key: str, expected: str, value: object) -> str:
    if key not in ("id", "as"):
        return _in_brackets(expected, value)
    return _in_normal_form(value, is_workflow_id if expected == EXPECTED_OF_WORKFLOW["id"] else is_identifier)


def _in_normal_form(name: object, fits: Callable[[str], bool] = is_identifier) -> str:
    """How a name is written that only needs another spelling of the same letters."""
    if not isinstance(name, str) or len(name) > MAX_NAME or is_normal(name) or not fits(normal(name)):
        return ""
    return f": in Unicode's form NFKC, which names must have, it is {normal(name)!r}"


def _in_brackets(expected: str | None, value: object) -> str:
    is_one = isinstance(value, str) and len(value) <= 100 and (expected or "").startswith("a list")
    return f": write [{value}]" if is_one else ""


def _take_out(data: Any, path: Path) -> None:
    """Remove what does not fit, so that the rest can be read; what is required gets a stand-in."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    holder, _ = value_at(data, path[:-1])
    key = path[-1] if path else ""
    if not isinstance(holder, dict) or key not in holder:
        return
    if key in _PLACEHOLDERS:
        holder[key] = _PLACEHOLDERS[str(key)]
    elif key in ("any", "of"):
        _take_out(data, path[:-1])
    else:
        del holder[key]
