"""The filters of texts, numbers, times and encodings."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NoReturn
from urllib.parse import quote, quote_plus

from jinja2.filters import do_float, do_int, do_round, do_title

from stepwell import patterns
from stepwell.errors import ExpressionError
from stepwell.expressions import operators
from stepwell.expressions.arguments import pairs, stripped, text, whole
from stepwell.expressions.bounds import MAX_NODES, MAX_TEXT, MAX_WORK, WORK_PER_ENCODING, Run
from stepwell.expressions.library import register
from stepwell.expressions.missing import Missing
from stepwell.expressions.results import Exporter, encode, joined, spell
from stepwell.expressions.times import formatted, to_duration, to_time
from stepwell.values import kind

MAX_PRECISION = 300
TRUNCATE_LEEWAY = 5


def _text(run: Run, value: object) -> str:
    """Any value as text, its work taken."""
    spelled = spell(run, value)
    run.spend(len(spelled) // 8)
    return spelled


@register("string")
def string(run: Run, value: object, /) -> str:
    return _text(run, value)


@register("upper")
def upper(run: Run, value: object, /) -> str:
    return _text(run, value).upper()


@register("lower")
def lower(run: Run, value: object, /) -> str:
    return _text(run, value).lower()


@register("title")
def title(run: Run, value: object, /) -> str:
    return do_title(_text(run, value))


@register("trim")
def trim(run: Run, value: object, /, chars: object = None) -> str:
    source = _text(run, value)
    return source.strip(stripped(run, source, chars))


@register("replace")
def replace(run: Run, value: object, /, old: object, new: object, count: object = None) -> str:
    source, before, after = _text(run, value), _text(run, old), _text(run, new)
    times = source.count(before)
    if count is not None:
        times = min(times, whole(count, "`count` of replace", 0, MAX_TEXT))
    run.text(len(source) + times * max(len(after) - len(before), 0))
    return source.replace(before, after, times)


@register("split")
def split(run: Run, value: object, /, sep: object = None, maxsplit: object = -1) -> list[str]:
    source = text(value, "what is split")
    run.text(len(source))
    most = whole(maxsplit, "`maxsplit` of split", -1, MAX_NODES)
    parts = source.split(_separator(sep), MAX_NODES if most < 0 else most)
    run.items(len(parts))
    return parts


def _separator(sep: object) -> str | None:
    if sep == "":
        raise ExpressionError("`sep` of split must not be empty; `| list` gives the characters")
    return None if sep is None else text(sep, "`sep` of split")


@register("truncate")
def truncate(
    run: Run,
    value: object,
    /,
    length: object = 255,
    killwords: object = False,
    end: object = "...",
    leeway: object = None,
) -> str:
    source, mark = _text(run, value), text(end, "`end` of truncate")
    most = whole(length, "`length` of truncate", len(mark), MAX_TEXT)
    if len(source) <= most + whole(TRUNCATE_LEEWAY if leeway is None else leeway, "`leeway` of truncate", 0, MAX_TEXT):
        return source
    kept = source[: most - len(mark)]
    return (kept if killwords else kept.rsplit(" ", 1)[0]) + mark


@register("urlencode")
def urlencode(run: Run, value: object, /) -> str:
    if not isinstance(value, Mapping):
        return _quoted(run, value, partial(quote, safe="/"))
    parts = [f"{_quoted(run, key, quote_plus)}={_quoted(run, item, quote_plus)}" for key, item in pairs(run, value)]
    return joined(run, parts, "&")


def _quoted(run: Run, value: object, encode: Callable[[str], str]) -> str:
    source = _text(run, value)
    run.spend(len(source) // 2)
    result = encode(source)
    run.text(len(result))
    return result


@register("default")
def default(_: Run, value: object, /, default_value: object = "", boolean: object = False) -> object:
    return default_value if isinstance(value, Missing) or (boolean and not value) else value


@register("int")
def to_int(run: Run, value: object, /, default: object = 0, base: object = 10) -> object:
    if isinstance(value, str):
        run.text(len(value))
    result = do_int(value, default, whole(base, "`base` of int", 2, 36))  # type: ignore[arg-type]
    return operators.bounded(result)


@register("float")
def to_float(run: Run, value: object, /, default: object = 0.0) -> object:
    if isinstance(value, str):
        run.text(len(value))
    return do_float(value, default)  # type: ignore[arg-type]


@register("round")
def rounded(_: Run, value: object, /, precision: object = 0, method: object = "common") -> object:
    if method not in ("common", "ceil", "floor"):
        raise ExpressionError("`method` of round is 'common', 'ceil' or 'floor'")
    digits = whole(precision, "`precision` of round", -MAX_PRECISION, MAX_PRECISION)
    return do_round(_number(value, "round"), digits, method)


@register("abs")
def absolute(_: Run, value: object, /) -> object:
    return abs(value) if isinstance(value, timedelta) else abs(_number(value, "abs"))


def _number(value: Any, name: str) -> Any:
    if isinstance(value, (int, float)):
        return value
    raise ExpressionError(f"{name} takes a number, not {kind(value)}")


@register("json")
def to_json(run: Run, value: object, /, indent: object = None) -> str:
    """The value's JSON; with `indent` (0 to 8 spaces) on several lines."""
    run.weigh(value)
    exported = Exporter().export(value)
    spaces = None if indent is None else whole(indent, "`indent` of json", 0, 8)
    return encode(run, exported) if spaces is None else _indented(run, exported, spaces)


def _indented(run: Run, value: object, indent: int) -> str:
    """JSON on several lines, given up as soon as its indentation makes it too long."""
    chunks: list[str] = []
    length = 0
    for chunk in json.JSONEncoder(ensure_ascii=False, indent=indent).iterencode(value):
        chunks.append(chunk)
        length += len(chunk)
        if length > MAX_TEXT:
            break
    run.text(length)
    return "".join(chunks)


@register("fromjson")
def from_json(run: Run, value: object, /) -> object:
    """The value of JSON text."""
    source = text(value, "the input of fromjson")
    run.text(len(source))
    run.spend(WORK_PER_ENCODING)
    run.items(source.count(",") + source.count("[") + source.count("{"))
    try:
        parsed: object = json.loads(source, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ExpressionError(f"fromjson: {error}") from error
    return parsed


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


@register("b64")
def b64(run: Run, value: object, /) -> str:
    return base64.b64encode(_bytes(run, value)).decode()


@register("sha256")
def sha256(run: Run, value: object, /) -> str:
    return hashlib.sha256(_bytes(run, value)).hexdigest()


def _bytes(run: Run, value: object) -> bytes:
    return _text(run, value).encode()


@register("regex_match")
def regex_match(run: Run, value: object, /, pattern: object) -> bool:
    """Whether the pattern is found in the text; anchor it with `^` and `$` to match the whole."""
    source = text(value, "the input of regex_match")
    try:
        compiled = patterns.compile_pattern(text(pattern, "the pattern"))
    except ValueError as error:
        raise ExpressionError(str(error)) from error
    run.spend(compiled.cost(source) * MAX_WORK // patterns.MAX_WORK)
    return compiled.found_in(source)


@register("date")
def date(_: Run, value: object, /, form: object = None) -> datetime | str:
    """The moment; with a format of strftime its text."""
    moment = to_time(value)
    return moment if form is None else formatted(moment, form)


@register("duration")
def duration(_: Run, value: object, /) -> timedelta:
    return to_duration(value)
