"""Actions by name: a dict and a decorator; inputs are typed by the function's signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, ValidationError, create_model

from stepwell.errors import Fail, FieldProblem, InvalidInput, NotFound

ENTRY_POINT_GROUP = "stepwell.actions"
CONTEXT = "context"
"""A parameter of this name is given the context instead of an input."""

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Action:
    """A Python function that steps can use; async ones run on the shared loop, the others on threads."""

    name: str
    function: Callable[..., Any]

    @cached_property
    def is_async(self) -> bool:
        """Whether calling it gives a coroutine."""
        return inspect.iscoroutinefunction(self.function)

    @cached_property
    def description(self) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @cached_property
    def wants_context(self) -> bool:
        """Whether it has a parameter named `context`."""
        return CONTEXT in self._parameters

    @cached_property
    def inputs(self) -> type[BaseModel]:
        """A model of its inputs; a `**kwargs` allows any further ones."""
        open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in self._parameters.values())
        config = ConfigDict(extra="allow" if open_ended else "forbid", arbitrary_types_allowed=True)
        hints = _hints(self.function)
        fields = {name: (hints.get(name, Any), _default(self._parameters[name])) for name in self.input_names}
        try:
            return self._model(config, fields)
        except PydanticUserError:  # a hint that pydantic cannot check: take any value
            return self._model(config, {name: (Any, default) for name, (_, default) in fields.items()})

    @property
    def input_names(self) -> list[str]:
        """The names of its inputs, in order."""
        variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        return [
            name for name, parameter in self._parameters.items() if name != CONTEXT and parameter.kind not in variadic
        ]

    def bind(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments for a call, validated and converted. Raises `Fail` (code `invalid`, not retryable)."""
        try:
            model = self.inputs.model_validate({_field_name(name): value for name, value in given.items()})
        except ValidationError as error:
            message = f"inputs of {self.name} do not fit: {InvalidInput(_problems(error))}"
            raise Fail(message, code="invalid", retryable=False) from error
        bound = {name: getattr(model, _field_name(name)) for name in self.input_names}
        return bound | {_input_name(name): value for name, value in (model.model_extra or {}).items()}

    @cached_property
    def _parameters(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self.function).parameters

    def _model(self, config: ConfigDict, fields: Mapping[str, tuple[Any, Any]]) -> type[BaseModel]:
        renamed: dict[str, Any] = {_field_name(name): definition for name, definition in fields.items()}
        return create_model(self.name, __config__=config, **renamed)


class Registry:
    """The actions that `uses` can name."""

    def __init__(self) -> None:
        self._actions: dict[str, Action] = {}
        self._modules: dict[str, str] = {}

    def add(self, action: Action) -> None:
        """Register an action; a name that is taken by another function raises `ValueError`."""
        known = self._actions.setdefault(action.name, action)
        if known.function is not action.function:
            raise ValueError(f"the action {action.name!r} is registered already, by {known.function.__module__}")

    def promise(self, module: str, *names: str) -> None:
        """Say which module registers these actions; it is imported when one of them is first asked for."""
        self._modules.update(dict.fromkeys(names, module))

    def get(self, name: str) -> Action:
        """The action of this name; raises `NotFound` with the nearest name."""
        if name not in self._actions and name in self._modules:
            import_module(self._modules[name])
        try:
            return self._actions[name]
        except KeyError:
            raise NotFound("action", name, self) from None

    def __contains__(self, name: str) -> bool:
        return name in self._actions or name in self._modules

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._actions, *self._modules}))


actions = Registry()
"""The registry that `@action` fills."""


def action(name: str) -> Callable[[Function], Function]:
    """Register a function, sync or async, as the action `name`: `@action("shop.charge")`."""

    def register(function: Function) -> Function:
        actions.add(Action(name, function))
        return function

    return register


def load_plugins() -> None:
    """Import every module that installed packages name in the entry-point group `stepwell.actions`."""
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        entry.load()


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError):  # hints that name what is not there at run time
        return {}


def _default(parameter: inspect.Parameter) -> Any:
    return Field(...) if parameter.default is parameter.empty else Field(parameter.default)


def _field_name(name: str) -> str:
    """Inputs may have names that pydantic keeps for itself (`json`, `copy`, `_x`); fields are prefixed."""
    return f"input_{name}"


def _input_name(name: str) -> str:
    return name.removeprefix("input_")


def _problems(error: ValidationError) -> list[FieldProblem]:
    return [
        FieldProblem(".".join(_input_name(str(part)) for part in problem["loc"]), problem["msg"])
        for problem in error.errors(include_url=False, include_context=False)
    ]
