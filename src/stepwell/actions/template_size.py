"""How large what a template makes would be: asked before it is made, where one operation can make much at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from string import Formatter
from typing import Any

from stepwell.errors import Fail
from stepwell.values import MAX_SIZE

MAX_WIDTH = 100_000
"""The greatest width or count that a filter, method or format may be told."""

MAX_DIGITS = 300
"""The greatest number of digits that `round` may be told."""

MAX_BITS = 4096
"""The greatest size of a product or power of whole numbers."""

ITEM = 8
"""What an item counts besides its text: its place in a list takes so many bytes."""

PERCENT_FORMAT = re.compile(r"%(?:\([^()]*\))?([-+ #0-9.*hlL]*)(.?)", re.DOTALL)
"""One place of a `%` format: what stands before its letter, and the letter."""


def bounded(parts: Iterable[str]) -> Iterator[str]:
    """The same parts, until they are more than 16 MiB together: then raises `Fail`."""
    size = 0
    for part in parts:
        size += len(part)
        check_size(size)
        yield part


def check_size(size: int) -> None:
    """Refuse so many characters or items."""
    if size > MAX_SIZE:
        message = f"the template makes more than {MAX_SIZE:,} characters: write large data as files"
        raise Fail(message, code="too_large", retryable=False)


def checked(value: Any) -> Any:
    """The value, unless it would be too large as text; what makes its items one by one becomes a list of them."""
    if isinstance(value, str):
        check_size(len(value))
        return value
    if isinstance(value, Iterator):
        return _collected(value)
    size(value)
    return value


def size(value: object) -> int:
    """About how many characters it has as text, what it holds several times counted each time."""
    total, pending = 0, [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            total += len(item) + ITEM
        elif isinstance(item, list | tuple):
            total += ITEM
            check_size(total + len(item))
            pending.extend(item)
        elif isinstance(item, dict):
            total += ITEM
            check_size(total + len(item))
            pending.extend(item)
            pending.extend(item.values())
        else:
            total += ITEM + item.bit_length() // 3 if isinstance(item, int) else ITEM
        if total > MAX_SIZE:
            check_size(total)
    return total


def _collected(items: Iterator[Any]) -> list[Any]:
    kept: list[Any] = []
    total = 0
    for item in items:
        total += size(item)
        check_size(total)
        kept.append(item)
    return kept


def check_width(_text: Any, *args: Any, **kwargs: Any) -> None:
    """Refuse a great width or count among the arguments."""
    for number in (*args, *kwargs.values()):
        if isinstance(number, int) and number > MAX_WIDTH:
            raise OverflowError(f"{number:,} is more than {MAX_WIDTH:,}, the greatest width or count")


def check_round(_number: Any, precision: int = 0, *_args: Any, **_kwargs: Any) -> None:
    """Refuse a `round` that would compute with a great power of ten."""
    if abs(precision) > MAX_DIGITS:
        raise OverflowError(f"{precision:,} is more than {MAX_DIGITS}, the greatest precision of round")


def check_indent(text: Any, width: int | str = 4, *_args: Any, **_kwargs: Any) -> None:
    """Refuse an `indent` that makes too much."""
    check_width(text, width)
    check_replace(text, "\n", width if isinstance(width, str) else " " * width)


def check_replace(text: Any, old: Any, new: Any, count: int | None = None) -> None:
    """Refuse a replacement that makes too much."""
    found = str(text).count(str(old))
    check_size(len(str(text)) + len(str(new)) * (found if count is None or count < 0 else min(found, count)))


def check_join(items: list[Any], separator: Any) -> None:
    """Refuse to join what is too much."""
    check_size(size(items) + len(str(separator)) * len(items))


def check_percent_format(text: Any, values: Any) -> None:
    """Refuse a `%` format with great widths, or one that names values so often that it makes too much."""
    places = PERCENT_FORMAT.findall(str(text))
    if any(letter == "(" for _, letter in places):
        raise ValueError("a format may not have brackets in a name")
    _check_format(text, [spec for spec, _ in places], values, isinstance(values, Mapping))


def check_brace_format(text: Any, *args: Any, **kwargs: Any) -> None:
    """Refuse a `{}` format with great widths, or one that names values so often that it makes too much."""
    specs = [spec for _, name, spec, _ in Formatter().parse(str(text)) if name is not None]
    _check_format(text, [spec or "" for spec in specs], [args, kwargs], repeats=True)


def _check_format(text: Any, specs: list[str], values: Any, repeats: bool) -> None:
    total = len(str(text))
    for spec in specs:
        if "*" in spec or "{" in spec:
            raise OverflowError("a format may not take its width from a value")
        widths = [int(digits[: MAX_BITS // 4]) for digits in re.findall(r"\d+", spec)]
        check_width(text, *widths)
        total += sum(widths)
    check_size(total + size(values) * (len(specs) if repeats else 1))


def check_repeat(left: Any, right: Any) -> None:
    """Refuse `text * number` and `list * number` that make too much."""
    number, repeated = (left, right) if isinstance(left, int) else (right, left)
    if isinstance(number, int) and isinstance(repeated, str | list | tuple):
        check_size(size(repeated) * number)


def check_number(operator: str, left: Any, right: Any) -> None:
    """Refuse a product or power that is too large a number."""
    bits = left.bit_length() if isinstance(left, int) else 64
    if operator == "**":
        bits *= abs(right) if isinstance(right, int) else 1
    elif operator == "*":
        bits += right.bit_length()
    if bits > MAX_BITS:
        raise OverflowError(f"the result of {operator} would be too large a number")
