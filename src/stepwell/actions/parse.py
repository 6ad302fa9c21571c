"""`json.parse`, `csv.parse` and `yaml.parse`: values from text or from a file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from stepwell import strict_yaml
from stepwell.actions.paths import decode_text, invalid, locate, read_bounded
from stepwell.errors import DefinitionError, Fail
from stepwell.ports import Context
from stepwell.registry import action
from stepwell.values import MAX_SIZE, encode

if TYPE_CHECKING:
    from _csv import Reader  # the type has no public name

BYTE_ORDER_MARK = "\ufeff"
MAX_PROBLEMS = 10
"""So many problems of a YAML text are told at most."""


@action("json.parse")
def parse_json(context: Context, text: str | None = None, path: str | None = None) -> Any:
    """The value of JSON, given as `text` or as the `path` of a UTF-8 file. NaN and infinities are refused."""
    return json_value(text_of(context, text, path), _named(path))


@action("yaml.parse")
def parse_yaml(context: Context, text: str | None = None, path: str | None = None) -> Any:
    """The value of strict YAML 1.2 (one document), given as `text` or as the `path` of a UTF-8 file."""
    try:
        return strict_yaml.parse(text_of(context, text, path), _named(path)).data
    except DefinitionError as error:
        problems = "\n".join(str(problem) for problem in error.problems[:MAX_PROBLEMS])
        raise invalid(f"{_named(path)} is not strict YAML 1.2:\n{problems}") from error


@action("csv.parse")
def parse_csv(
    context: Context,
    text: str | None = None,
    path: str | None = None,
    delimiter: str = ",",
    encoding: str = "utf-8",
) -> list[dict[str, str]]:
    """The rows of CSV as mappings from the names in its first row; all values are text.

    Given as `text`, or as the `path` of a file in this `encoding`. Empty lines are skipped. Fails for a name
    that is missing or there twice, and for a row that is longer or shorter than the first.
    """
    if len(delimiter) != 1 or delimiter in '\r\n"':
        raise invalid(f'delimiter {delimiter!r} is not one character, like ";" or (in double quotes) "\\t"')
    source = io.StringIO(text_of(context, text, path, encoding), newline="")
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    try:
        return list(_mappings(reader, _named(path)))
    except csv.Error as error:
        raise invalid(f"{_named(path)} is not CSV: line {reader.line_num}: {error}") from error


def json_value(text: str, shown: str) -> Any:
    """The value of JSON text; `shown` is its name in errors."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise invalid(f"{shown} is not JSON: {place}: {error.msg}") from error
    except ValueError as error:
        raise invalid(f"{shown} is not JSON: {error}") from error
    except RecursionError as error:
        raise invalid(f"{shown} is nested too deeply") from error


def text_of(
    context: Context, text: str | None, path: str | None, encoding: str = "utf-8", *, input_name: str = "text"
) -> str:
    """The text that an action was given as it is, by the input `input_name`, or as a file's `path`: one of both."""
    if text is not None and path is not None:
        raise invalid(f"give `{input_name}` or `path`, not both")
    if text is None:
        if path is None:
            raise invalid(f"give `{input_name}` or `path`: both are missing or null")
        text = decode_text(read_bounded(locate(path, context.work_folder), path), encoding, path)
    return text.removeprefix(BYTE_ORDER_MARK)


def _mappings(reader: Reader, shown: str) -> Iterator[dict[str, str]]:
    rows = filter(None, reader)
    names = _checked_names(next(rows, []), shown)
    overhead = len(encode(dict.fromkeys(names, "")))
    size = 0
    for row in rows:
        if len(row) != len(names):
            message = f"{shown}: the row that ends in line {reader.line_num} has {len(row)} fields, the first row"
            raise invalid(f"{message} names {len(names)}")
        size += overhead + sum(map(len, row))
        if size > MAX_SIZE:
            message = f"{shown}: its rows are more than {MAX_SIZE:,} bytes as JSON: use files for large data"
            raise Fail(message, code="too_large", retryable=False)
        yield dict(zip(names, row, strict=True))


def _checked_names(names: list[str], shown: str) -> list[str]:
    seen: set[str] = set()
    for number, name in enumerate(names, start=1):
        if not name.strip():
            raise invalid(f"{shown}: column {number} has no name in the first row")
        if name in seen:
            raise invalid(f"{shown}: two columns are named {name!r}")
        seen.add(name)
    return names


def _named(path: str | None) -> str:
    return "the text" if path is None else path


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")
