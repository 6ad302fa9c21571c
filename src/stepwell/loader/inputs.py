"""The inputs of actions and functions: are they known, is any missing, and do literal values fit the type hints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from stepwell.errors import NotFound, StepwellError
from stepwell.loader.report import Path, Report
from stepwell.loader.scalars import value_at
from stepwell.loader.sites import Site
from stepwell.loader.texts import OPENING
from stepwell.registry import Action, Registry
from stepwell.values import shown

MAX_NAME = 200
"""Longer names of actions and functions are not looked for."""


class Inputs:
    """Checks `with` against what `uses` and `call` name."""

    def __init__(self, report: Report, registry: Registry, resolve_call: Callable[[str], Action] | None = None) -> None:
        self._report, self._registry, self._resolve_call = report, registry, resolve_call
        self._functions: dict[str, Action | str] = {}

    def check(self, site: Site) -> None:
        """Report an action or function that is not there, and inputs that do not fit it."""
        step = site.step
        if max(len(step.uses or ""), len(step.call or "")) > MAX_NAME:
            self._report.add((*site.path, step.kind), f"a name of more than {MAX_NAME} characters")
        elif step.uses is not None and OPENING not in step.uses:
            self._check_inputs(site, "uses", self._action(step.uses))
        elif step.call is not None and self._resolve_call is not None:
            self._check_inputs(site, "call", self._function(step.call, self._resolve_call))

    def _action(self, name: str) -> Action | str:
        try:
            return self._registry.get(name)
        except NotFound as error:
            return str(error)

    def _function(self, target: str, resolve: Callable[[str], Action]) -> Action | str:
        if target not in self._functions:
            try:
                self._functions[target] = resolve(target)
            except StepwellError as error:
                self._functions[target] = str(error).removeprefix("call: ")
        return self._functions[target]

    def _check_inputs(self, site: Site, key: str, action: Action | str) -> None:
        if isinstance(action, str):
            self._report.add((*site.path, key), action)
            return
        if "with" in site.raw and site.step.with_ is None:
            return  # it did not fit and is reported
        given = site.step.with_ or {}
        fields = dict(zip(action.input_names, action.inputs.model_fields, strict=True))
        name = action.name.removeprefix("call ")
        self._check_names(site, name, given, action, fields)
        for path, message in _misfits(given, action, fields):
            self._report.add((*site.path, "with", *path), f"{path[0]!r} of {name} {message}")

    def _check_names(
        self, site: Site, name: str, given: Mapping[str, Any], action: Action, fields: Mapping[str, str]
    ) -> None:
        has = f"; it has {', '.join(fields)}" if fields else "; it has none"
        guesses = ""
        for key in given:
            if key not in fields and action.inputs.model_config.get("extra") != "allow":
                guesses += (guess := self._report.meant(key, fields))
                self._report.add((*site.path, "with", key), f"{name} has no input {key!r:.100}{guess}{has}", key=True)
        place = (*site.path, "with" if "with" in site.raw else "uses" if site.step.uses else "call")
        for key, field in fields.items():
            is_typo = repr(key) in guesses  # told already, where it was meant
            if action.inputs.model_fields[field].is_required() and key not in given and not is_typo:
                self._report.add(place, f"{name} needs the input {key!r}")


def _misfits(given: Mapping[str, Any], action: Action, fields: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """Literal values that do not fit their type hints: their places below `with`, and why."""
    literal = {key: value for key, value in given.items() if key in fields and not holds_expression(value)}
    if not literal:
        return
    names = {field: name for name, field in fields.items()}
    try:
        action.inputs.model_validate({fields[key]: value for key, value in literal.items()})
    except ValidationError as error:
        reasons: dict[Path, list[str]] = {}
        for problem in error.errors(include_url=False, include_context=False, include_input=False):
            name = names.get(str(problem["loc"][0])) if problem["loc"] else None
            if name in literal:
                reasons.setdefault(_path(name, tuple(problem["loc"][1:]), literal), []).append(_reason(problem["msg"]))
        for path, messages in reasons.items():
            yield path, f"{' or '.join(dict.fromkeys(messages))}, not {shown(value_at(literal, path)[0])}"


def _path(name: str, loc: Path, literal: Mapping[str, Any]) -> Path:
    """The place below `with`, as far as it is in the file: types that pydantic tries stand in `loc` too."""
    path: Path = (name,)
    value = literal[name]
    for part in loc:
        value, known = value_at(value, (part,))
        path = (*path, *known)
    return path


def _reason(message: str) -> str:
    """Pydantic's words, to go on after a name: `must be a valid integer`."""
    said = message.partition(", unable to")[0].partition(", got a")[0]
    if said.startswith("Input should be "):
        return "must be " + said.removeprefix("Input should be ")
    return f"does not fit ({said})"


def holds_expression(value: object) -> bool:
    """Whether a JSON value, or one in it, is known only when the step runs."""
    if isinstance(value, str):
        return OPENING in value
    if isinstance(value, dict):
        return any(map(holds_expression, value.values()))
    return isinstance(value, list) and any(map(holds_expression, value))
