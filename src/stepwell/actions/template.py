"""`template.render`: text from a Jinja2 template, in the sandbox and of bounded size."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError, UndefinedError

from stepwell.actions.parse import text_of
from stepwell.actions.paths import invalid
from stepwell.actions.sandbox import BoundedEnvironment
from stepwell.actions.template_size import bounded
from stepwell.errors import Fail
from stepwell.ports import Context
from stepwell.registry import action

MAX_TEMPLATE = 1024 * 1024
"""Characters of a template: it is compiled to Python, which no time limit can interrupt."""

MAX_NAMES = 20
"""So many names of `values` are listed at most when one is missing."""

ERRORS = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What a template can raise: jinja2's own errors and those of the operations in it."""


@action("template.render")
def render(
    context: Context, template: str | None = None, path: str | None = None, values: dict[str, Any] | None = None
) -> str:
    """The text of a Jinja2 template, given as `template` or as the `path` of a UTF-8 file.

    It sees the names in `values`; a name that is missing there is an error. Only a `path` that ends in `.html`
    is escaped for HTML. There are no includes and imports, and not the filters `pprint` and `urlize`. Fails for
    templates of more than 1 MiB, and for more than 16 MiB in the result or in a value on the way to it.
    """
    text = text_of(context, template, path, input_name="template")
    if len(text) > MAX_TEMPLATE:
        message = f"the template is longer than {MAX_TEMPLATE:,} characters: give the data as `values`"
        raise Fail(message, code="too_large", retryable=False)
    environment = BoundedEnvironment(autoescape=path is not None and path.endswith(".html"))
    try:
        return "".join(bounded(environment.from_string(text).generate(values or {})))
    except ERRORS as error:
        raise invalid(f"{path or 'the template'}{_line(error)}: {_reason(error, values or {})}") from error


def _reason(error: Exception, values: Mapping[str, Any]) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UndefinedError) and error.message:
        return f"{error.message}; `values` has {', '.join(list(values)[:MAX_NAMES]) or 'no names'}"
    if isinstance(error, TemplateError):
        return error.message or type(error).__name__
    return f"{type(error).__name__}: {error}"


def _line(error: Exception) -> str:
    if isinstance(error, TemplateSyntaxError):
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
    return f", line {lines[-1]}" if lines else ""
