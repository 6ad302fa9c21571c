"""The filters of lists and objects."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import groupby as runs
from typing import Any

from stepwell.errors import ExpressionError, short
from stepwell.expressions import arguments, operators, results
from stepwell.expressions.bounds import CHARACTERS_PER_WORK, MAX_NODES, WORK_PER_CALL, WORK_PER_ITEM, Run
from stepwell.expressions.library import apply_filter, apply_test, register
from stepwell.expressions.missing import Missing, present
from stepwell.expressions.paths import Group, Place, member
from stepwell.values import kind

Getter = Callable[[object], Any]

ITEM = Place("item", (), 0)
NO_DEFAULT = object()


def _getter(run: Run, attribute: object, fallback: object = NO_DEFAULT) -> Getter:
    """Reads a dotted attribute (`a.b.0`) of an item; `fallback` stands in where it is missing."""
    spelled = arguments.attribute_text(attribute)
    keys = [int(key) if key.isdecimal() else key for key in spelled.split(".")]
    work = WORK_PER_CALL + WORK_PER_ITEM * len(keys)

    def get(item: object) -> object:
        run.spend(work)
        for key in keys:
            item = member(run.names, item, key, ITEM)
        return fallback if fallback is not NO_DEFAULT and isinstance(item, Missing) else item

    return get


def _sort_key(run: Run, attribute: object, case_sensitive: object, fallback: object = NO_DEFAULT) -> Getter:
    """What items are compared by; capital and small letters are the same unless told otherwise."""
    get = _getter(run, attribute, fallback) if attribute is not None else lambda item: item

    def key(item: object) -> object:
        value = present(get(item))
        if not isinstance(value, str) or case_sensitive:
            return value
        run.spend(len(value) // CHARACTERS_PER_WORK)
        return value.lower()

    return key


@register("select")
def select(run: Run, value: object, /, test: object = None, *args: object, **keywords: object) -> list[object]:
    return _selected(run, value, lambda item: item, test, args, keywords, wanted=True)


@register("reject")
def reject(run: Run, value: object, /, test: object = None, *args: object, **keywords: object) -> list[object]:
    return _selected(run, value, lambda item: item, test, args, keywords, wanted=False)


@register("selectattr")
def selectattr(
    run: Run, value: object, /, attribute: object, test: object = None, *args: object, **keywords: object
) -> list[object]:
    return _selected(run, value, _getter(run, attribute), test, args, keywords, wanted=True)


@register("rejectattr")
def rejectattr(
    run: Run, value: object, /, attribute: object, test: object = None, *args: object, **keywords: object
) -> list[object]:
    return _selected(run, value, _getter(run, attribute), test, args, keywords, wanted=False)


def _selected(
    run: Run,
    value: object,
    get: Getter,
    test: object,
    args: tuple[object, ...],
    keywords: Mapping[str, object],
    *,
    wanted: bool,
) -> list[object]:
    holds = _condition(run, test, args, keywords)
    return [item for item in arguments.items(run, value) if holds(get(item)) is wanted]


def _condition(
    run: Run, test: object, args: tuple[object, ...], keywords: Mapping[str, object]
) -> Callable[[Any], bool]:
    """The named test with its arguments; without a name, whether a value counts as true."""
    if test is None:
        return bool
    name = arguments.text(test, "the name of a test")
    return lambda item: apply_test(run, name, item, args, keywords)


@register("any")
def any_of(run: Run, value: object, /, test: object = None, *args: object, **keywords: object) -> bool:
    return any(map(_condition(run, test, args, keywords), arguments.items(run, value)))


@register("all")
def all_of(run: Run, value: object, /, test: object = None, *args: object, **keywords: object) -> bool:
    return all(map(_condition(run, test, args, keywords), arguments.items(run, value)))


@register("map")
def mapped(
    run: Run, value: object, /, filter: object = None, *args: object, attribute: object = None, **keywords: object
) -> list[object]:
    """A filter applied to each item, or an attribute of each (`default` where it is missing)."""
    if (filter is None) == (attribute is None):
        raise ExpressionError("map takes the name of a filter, or `attribute=`")
    if attribute is not None:
        apply = _getter(run, attribute, keywords.pop("default", NO_DEFAULT))
        if keywords:
            raise ExpressionError(f"map(attribute=…) takes no {short(', '.join(keywords))}")
    else:
        apply = partial(_apply, run, arguments.text(filter, "the name of a filter"), args, keywords)
    result = [apply(item) for item in arguments.items(run, value)]
    run.weigh(result)
    return result


def _apply(run: Run, name: str, args: tuple[object, ...], keywords: Mapping[str, object], item: object) -> object:
    return apply_filter(run, name, item, args, keywords)


@register("groupby")
def groupby(
    run: Run, value: object, /, attribute: object, default: object = NO_DEFAULT, case_sensitive: object = False
) -> list[Group]:
    """Pairs of a value of the attribute and the items that have it, in the values' order."""
    get = _getter(run, attribute, default)
    key = _sort_key(run, attribute, case_sensitive, default)
    ordered = _ordered(arguments.items(run, value), key)
    groups = [list(group) for _, group in runs(ordered, key)]
    result = [Group(get(group[0]), group) for group in groups]
    run.weigh(result)
    return result


@register("sort")
def sort(
    run: Run, value: object, /, reverse: object = False, case_sensitive: object = False, attribute: object = None
) -> list[object]:
    """The items in order; `attribute` may name several, with commas."""
    ordered = arguments.items(run, value)
    names = [None] if attribute is None else arguments.attribute_text(attribute).split(",")
    for name in reversed(names):  # a stable sort by the last attribute first is a sort by all of them
        ordered = _ordered(ordered, _sort_key(run, name, case_sensitive), reverse=bool(reverse))
    return ordered


def _ordered(items: list[object], key: Getter, *, reverse: bool = False) -> list[object]:
    try:
        return sorted(items, key=key, reverse=reverse)
    except TypeError as error:
        kinds = sorted({kind(key(item)) for item in items})
        raise ExpressionError(f"cannot put {' and '.join(kinds)} in order") from error


@register("unique")
def unique(run: Run, value: object, /, case_sensitive: object = False, attribute: object = None) -> list[object]:
    key = _sort_key(run, attribute, case_sensitive)
    first: dict[object, object] = {}
    for item in arguments.items(run, value):
        first.setdefault(_hashable(run, key(item)), item)
    return list(first.values())


def _hashable(run: Run, value: object) -> object:
    if isinstance(value, (list, tuple, Mapping)):
        run.weigh(value)
        return (json.dumps(results.Exporter().export(value), sort_keys=True),)
    return value


@register("min")
def smallest(run: Run, value: object, /, case_sensitive: object = False, attribute: object = None) -> object:
    return _extreme(run, value, "min", _sort_key(run, attribute, case_sensitive), min)


@register("max")
def largest(run: Run, value: object, /, case_sensitive: object = False, attribute: object = None) -> object:
    return _extreme(run, value, "max", _sort_key(run, attribute, case_sensitive), max)


def _extreme(run: Run, value: object, name: str, key: Getter, choose: Callable[..., object]) -> object:
    items = arguments.items(run, value)
    if not items:
        return _nothing(name)
    try:
        return choose(items, key=key)
    except TypeError as error:
        raise ExpressionError(f"{name}: {error}") from error


@register("first")
def first(run: Run, value: object, /) -> object:
    items = arguments.items(run, value)
    return items[0] if items else _nothing("first")


@register("last")
def last(run: Run, value: object, /) -> object:
    items = arguments.items(run, value)
    return items[-1] if items else _nothing("last")


def _nothing(name: str) -> Missing:
    return Missing(lambda: f"there is no {name} item of an empty list; guard it with `| default(…)`")


@register("join")
def join(run: Run, value: object, /, d: object = "", attribute: object = None) -> str:
    items: Iterable[object] = arguments.items(run, value)
    if attribute is not None:
        items = map(_getter(run, attribute), items)
    return results.joined(run, items, arguments.text(d, "the separator of join"))


@register("length")
def length(_: Run, value: Any, /) -> int:
    if isinstance(value, (str, list, tuple, Mapping)):
        return len(value)
    raise ExpressionError(f"{kind(value)} has no length")


@register("list")
def to_list(run: Run, value: object, /) -> list[object]:
    return arguments.items(run, value)


@register("items")
def to_items(run: Run, value: object, /) -> list[tuple[object, object]]:
    return arguments.pairs(run, value)


@register("dictsort")
def dictsort(
    run: Run, value: object, /, case_sensitive: object = False, by: object = "key", reverse: object = False
) -> list[object]:
    if by not in ("key", "value"):
        raise ExpressionError("`by` of dictsort is 'key' or 'value'")
    key = _sort_key(run, None, case_sensitive)
    position = 0 if by == "key" else 1

    def of_pair(pair: Any) -> Any:
        return key(pair[position])

    return _ordered([*arguments.pairs(run, value)], of_pair, reverse=bool(reverse))


@register("sum")
def total(run: Run, value: object, /, attribute: object = None, start: object = 0) -> object:
    """The numbers added up, from `start`; lists are put together with `flatten`."""
    get = (lambda item: item) if attribute is None else _getter(run, attribute)
    result = start
    for item in arguments.items(run, value):
        result = operators.add(run, result, get(item))
    return result


@register("flatten")
def flatten(run: Run, value: object, /, levels: object = None) -> list[object]:
    """Lists within the list put in its place, all of them or so many levels of them."""
    result = arguments.items(run, value)
    remaining = 100 if levels is None else arguments.whole(levels, "`levels` of flatten", 0, 100)
    while remaining and any(isinstance(item, (list, tuple)) for item in result):
        result = list(_opened(run, result))
        remaining -= 1
    return result


def _opened(run: Run, items: list[object]) -> Iterable[object]:
    count = 0
    for item in items:
        inner = item if isinstance(item, (list, tuple)) else (item,)
        count += len(inner)
        if count > MAX_NODES:
            break
        yield from inner
    run.items(count)
