"""What is wrong with declarations of variables themselves, before any value is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from stepwell.patterns import compile_pattern
from stepwell.values import shown
from stepwell.variables.checking import misfits
from stepwell.variables.conversions import LENGTHS, SCALARS, as_bound
from stepwell.workflow import Variable, has_expression

Place = tuple[str, ...]
_BOUNDED = frozenset({"integer", "number", "date", "datetime", "duration", *LENGTHS})
_PATTERNED = frozenset({"string", "secret"})


def problems(declared: Mapping[str, Variable]) -> list[tuple[Place, str]]:
    """What is wrong with the declarations themselves, each with its place below `variables`: `("day", "default")`."""
    return [found for name, variable in declared.items() for found in _flaws((name,), variable)]


def _flaws(place: Place, variable: Variable) -> Iterator[tuple[Place, str]]:
    found = [*_misplaced(place, variable), *_wrong_bounds(place, variable), *_wrong_pattern(place, variable)]
    if variable.items is not None:
        found += _flaws((*place, "items"), variable.items)
        if variable.items.default is not None:
            found.append(((*place, "items", "default"), "the items of a list cannot have a default"))
    for name, inner in (variable.fields or {}).items():
        found += _flaws((*place, "fields", name), inner)
    yield from found
    if not found:  # only now can values be held against it
        yield from _wrong_values(place, variable)


def _misplaced(place: Place, variable: Variable) -> Iterator[tuple[Place, str]]:
    """Keys that the type does not have."""
    kind = variable.type
    rules = (
        ("items", kind == "list", "only a list has items"),
        ("fields", kind == "object", "only an object has fields"),
        ("min", kind in _BOUNDED, f"the type {kind} has no least value"),
        ("max", kind in _BOUNDED, f"the type {kind} has no greatest value"),
        ("pattern", kind in _PATTERNED, "only a string can have a pattern"),
        ("enum", kind != "secret", "the values of a secret cannot stand in the file"),
        ("default", kind != "secret", "the value of a secret cannot stand in the file"),
        ("default", not variable.required, "a required variable cannot have a default: leave out one of the two"),
    )
    for key, allowed, message in rules:
        if not allowed and getattr(variable, key) is not None:
            yield (*place, key), message


def _wrong_bounds(place: Place, variable: Variable) -> Iterator[tuple[Place, str]]:
    if variable.type not in _BOUNDED:
        return
    bounds = []
    for key, bound in (("min", variable.min), ("max", variable.max)):
        try:
            bounds += [] if bound is None else [as_bound(variable.type, bound)]
        except (ValueError, OverflowError):
            expected = "a whole number" if variable.type in LENGTHS else SCALARS[variable.type][0]
            yield (*place, key), f"must be {expected}, not {shown(bound)}"
    if len(bounds) == 2 and bounds[0] > bounds[1]:
        yield (*place, "min"), f"is {shown(variable.min)}, more than max, which is {shown(variable.max)}"


def _wrong_pattern(place: Place, variable: Variable) -> Iterator[tuple[Place, str]]:
    try:
        if variable.pattern is not None:
            compile_pattern(variable.pattern)
    except ValueError as error:
        yield (*place, "pattern"), str(error)


def _wrong_values(place: Place, variable: Variable) -> Iterator[tuple[Place, str]]:
    for option in variable.enum or ():
        for message in misfits(variable.model_copy(update={"enum": None}), option):
            yield (*place, "enum"), f"{shown(option)} does not fit: {message}"
    if has_expression(variable.default):
        yield (*place, "default"), "is taken literally: a default cannot hold an expression"
    elif variable.default is not None:
        for message in misfits(variable, variable.default):
            yield (*place, "default"), f"{shown(variable.default)} does not fit: {message}"
