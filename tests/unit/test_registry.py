"""The registry of actions."""

from __future__ import annotations

from typing import Any

import pytest

import stepwell.actions  # noqa: F401 - promises the built-in actions
from stepwell.errors import Fail, NotFound
from stepwell.registry import Action, Registry, action, actions


def test_every_promised_action_is_registered_by_its_module() -> None:
    assert {name: actions.get(name).name for name in actions} == {name: name for name in actions}


def test_a_taken_name_is_refused() -> None:
    registry = Registry()
    registry.add(Action("greet", len))
    registry.add(Action("greet", len))
    with pytest.raises(ValueError, match="registered already, by builtins"):
        registry.add(Action("greet", abs))


def test_an_unknown_name_gets_a_hint() -> None:
    with pytest.raises(NotFound, match=r"unknown action 'http.requets' \(did you mean 'http.request'\?\)"):
        actions.get("http.requets")


def test_the_decorator_registers_and_leaves_the_function_alone() -> None:
    @action("test.registry.double")
    def double(n: int) -> int:
        """Twice as much."""
        return 2 * n

    assert double(2) == 4
    found = actions.get("test.registry.double")
    assert (found.function, found.description, found.is_async, found.wants_context) == (
        double,
        "Twice as much.",
        False,
        False,
    )


def takes(n: int, json: dict[str, Any] | None = None, _copy: str = "c", context: object = None) -> None:
    """Has names that pydantic keeps for itself."""


def takes_anything(**values: object) -> None:
    """Has no names."""


def test_inputs_are_checked_and_converted_by_the_signature() -> None:
    assert Action("t", takes).bind({"n": "3", "json": {"a": 1}}) == {"n": 3, "json": {"a": 1}, "_copy": "c"}
    assert Action("t", takes).wants_context


def test_every_input_that_does_not_fit_is_named() -> None:
    with pytest.raises(Fail) as refused:
        Action("t", takes).bind({"n": "three", "jsno": {}})
    assert "n: Input should be a valid integer" in refused.value.message
    assert "jsno: Extra inputs are not permitted" in refused.value.message
    assert not refused.value.retryable


def test_open_ended_functions_take_any_input() -> None:
    assert Action("t", takes_anything).bind({"a": 1, "context": 2}) == {"a": 1, "context": 2}


def test_hints_that_cannot_be_checked_are_passed_over() -> None:
    namespace: dict[str, Any] = {}
    exec("def odd(x: 'Nowhere'): return x", namespace)
    assert Action("t", namespace["odd"]).bind({"x": 1}) == {"x": 1}
