"""Hold values against their declarations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from stepwell.errors import FieldProblem, InvalidInput, did_you_mean, short
from stepwell.patterns import MAX_WORK, compile_pattern
from stepwell.values import kind, shown
from stepwell.variables.conversions import (
    SCALARS,
    as_bound,
    measure,
    number,
    same,
    wanted,
)
from stepwell.workflow import Variable

MAX_DEPTH = 100
"""Values that are nested deeper are refused."""

MAX_PROBLEMS = 100
"""So many problems of one input are told; a list of a million wrong rows has no use for more."""

MAX_GUESSES = 10
"""So many problems say what was meant: looking for it takes a while."""

Path = tuple[str | int, ...]
T = TypeVar("T")
_ABSENT = object()
_STRING = Variable.model_validate({"type": "string"})


class _Misfit(Exception):
    """A value does not fit; the message says what it must be."""


class _Enough(Exception):
    """`MAX_PROBLEMS` are found."""


def check(declared: Mapping[str, Variable], given: Mapping[str, object]) -> dict[str, Any]:
    """The value of every declared variable as JSON, with defaults, and null for an optional one without default.

    Types are taken as JSON has them (`"5"` and `true` are no integers, `5.0` is). Null counts as not given where
    there is no default. A pattern may match anywhere in the text, as in JSON Schema. Raises `InvalidInput` with
    every problem (at most 100), each with its place like `variables.orders[3].price`.
    """
    checker = _Checker()
    values = checker.run(lambda: checker.members(("variables",), declared, given, "variable"))
    if values is None or checker.problems:
        raise InvalidInput([FieldProblem(_dotted(path), message) for path, message in checker.problems])
    return values


def misfits(variable: Variable, value: object) -> list[str]:
    """Why a value that stands in a declaration does not fit it."""
    checker = _Checker()
    checker.run(lambda: checker.value((), variable, value))
    return [f"{_dotted(path)} {message}" if path else message for path, message in checker.problems]


def from_text(declared: Mapping[str, Variable], name: str, text: str) -> Any:
    """The value that `name=text` on a command line means, for `check`; text that does not fit is given as it is.

    A list is JSON, or `a, b` if its items are plain; an object, a number and a boolean are JSON, `any` too if it
    can be read as JSON. Raises `InvalidInput` for an unknown name.
    """
    if name not in declared:
        problem = FieldProblem(_dotted(("variables", name)), f"unknown variable{did_you_mean(name, declared)}")
        raise InvalidInput([problem])
    return _read(declared[name], text)


def replace_secrets(
    declared: Mapping[str, Variable], values: Mapping[str, Any], replace: Callable[[Any], Any]
) -> dict[str, Any]:
    """The checked values with every secret at any depth replaced: to encrypt, decrypt or hide them."""
    return {name: _replaced(declared[name], value, replace) for name, value in values.items()}


class _Checker:
    """Walks values along their declarations and collects what does not fit."""

    def __init__(self) -> None:
        self.problems: list[tuple[Path, str]] = []

    def run(self, walk: Callable[[], T]) -> T | None:
        """What the walk gives, None if it was given up because of too many problems."""
        try:
            return walk()
        except _Enough:
            self.problems.append((("variables",), f"has more problems than these {MAX_PROBLEMS}"))
            return None

    def report(self, path: Path, message: str) -> Any:
        """Notes a problem; None stands for the value then."""
        if len(self.problems) == MAX_PROBLEMS:
            raise _Enough
        self.problems.append((path, message))

    def members(
        self, path: Path, declared: Mapping[str, Variable], given: Mapping[Any, object], what: str
    ) -> dict[str, Any]:
        """The variables of a workflow, or the fields of an object."""
        for name in given:
            if name not in declared:
                meant = did_you_mean(str(name), declared) if len(self.problems) < MAX_GUESSES else ""
                self.report((*path, str(name)), f"unknown {what}{meant}")
        return {
            name: self._member((*path, name), variable, given.get(name, _ABSENT)) for name, variable in declared.items()
        }

    def value(self, path: Path, variable: Variable, value: object) -> Any:
        """A value that is there, normalised; None after a problem was reported."""
        try:
            normal = self.converted(path, variable, value)
            _limit(variable, normal)
        except _Misfit as misfit:
            return self.report(path, str(misfit))
        return normal

    def _member(self, path: Path, variable: Variable, value: object) -> Any:
        if value is _ABSENT:
            if variable.required:
                return self.report(path, "is required")
            value = variable.default
        if value is None and variable.default is None and not variable.required:
            return None
        return self.value(path, variable, value)

    def converted(self, path: Path, variable: Variable, value: object) -> Any:
        """The normal form by type alone; bounds, pattern and enum are not asked."""
        if variable.type == "list":
            return self._list(path, variable.items, value)
        if variable.type == "object":
            return self._object(path, variable.fields, value)
        if variable.type == "any":
            return self._json(path, value)
        expected, convert = SCALARS[variable.type]
        try:
            return convert(value)
        except (ValueError, OverflowError):
            told = kind(value) if variable.type == "secret" else shown(value)
            raise _Misfit(f"must be {expected}, not {told}") from None

    def _list(self, path: Path, items: Variable | None, value: object) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise _Misfit(f"must be a list, not {kind(value)}")
        if items is None:
            return [self._json((*path, index), item) for index, item in enumerate(value)]
        return [self.value((*path, index), items, item) for index, item in enumerate(value)]

    def _object(self, path: Path, fields: Mapping[str, Variable] | None, value: object) -> Any:
        if not isinstance(value, Mapping):
            raise _Misfit(f"must be an object, not {kind(value)}")
        return self._json(path, value) if fields is None else self.members(path, fields, value, "field")

    def _json(self, path: Path, value: object) -> Any:
        """Any JSON value, copied; None after a problem was reported with its own path."""
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, list | tuple | Mapping):
            return self._nested(path, value)
        try:
            return number(value)
        except ValueError:
            return self.report(path, f"must be JSON, not {shown(value)}")

    def _nested(self, path: Path, value: Sequence[object] | Mapping[Any, object]) -> Any:
        if len(path) > MAX_DEPTH + 1:
            return self.report(path, f"is nested more than {MAX_DEPTH} deep")
        if not isinstance(value, Mapping):
            return [self._json((*path, index), item) for index, item in enumerate(value)]
        for key in value:
            if not isinstance(key, str):
                return self.report(path, f"has the key {shown(key)}, but keys must be strings")
        return {key: self._json((*path, key), item) for key, item in value.items()}


def _limit(variable: Variable, value: Any) -> None:
    """Holds a normalised value against `min`, `max`, `pattern` and `enum`."""
    if variable.min is not None and measure(variable.type, value) < as_bound(variable.type, variable.min):
        raise _Misfit(wanted("at least", variable.type, variable.min))
    if variable.max is not None and measure(variable.type, value) > as_bound(variable.type, variable.max):
        raise _Misfit(wanted("at most", variable.type, variable.max))
    if variable.pattern is not None:
        _match(variable.pattern, value)
    if variable.enum is not None and not any(same(value, _normal(variable, option)) for option in variable.enum):
        raise _Misfit(f"must be one of {short(json.dumps(variable.enum, ensure_ascii=False), 300)}")


def _match(pattern: str, value: str) -> None:
    compiled = compile_pattern(pattern)
    if compiled.cost(value) > MAX_WORK:
        raise _Misfit(f"is too long for its pattern: at most {MAX_WORK // compiled.states:,} characters")
    if not compiled.found_in(value):
        raise _Misfit(f"must match the pattern {pattern}")


def _normal(variable: Variable, option: object) -> Any:
    return _Checker().converted((), variable, option)


def _read(variable: Variable, text: str) -> Any:
    if variable.type == "list" and not text.lstrip().startswith("["):
        items = variable.items or _STRING
        if items.type not in ("list", "object", "any"):
            return [_read(items, part.strip()) for part in text.split(",")] if text.strip() else []
    if variable.type in ("integer", "number", "boolean", "list", "object", "any"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def _replaced(variable: Variable, value: Any, replace: Callable[[Any], Any]) -> Any:
    if value is None:
        return None
    if variable.type == "secret":
        return replace(value)
    if variable.items is not None:
        return [_replaced(variable.items, item, replace) for item in value]
    return value if variable.fields is None else replace_secrets(variable.fields, value, replace)


def _dotted(path: Sequence[str | int]) -> str:
    """`variables.orders[3].price`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{short(part, 60)}" for part in path]
    return "".join(parts).removeprefix(".")
