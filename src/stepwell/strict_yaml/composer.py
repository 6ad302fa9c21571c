"""Builds nodes from the parser's events within bounds; goes on after a problem where it can."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from stepwell.errors import Problem, did_you_mean, short
from stepwell.strict_yaml.document import Node, Value
from stepwell.strict_yaml.lines import faults, quoted, repaired
from stepwell.strict_yaml.scalars import resolve
from stepwell.strict_yaml.source import MAX_PROBLEMS, Source

MAX_DEPTH = 64
MAX_NODES = 2_000_000
MAX_EXPANDED = 10_000
# So many anchors are looked through for what misspelt aliases mean; after that they are told without a guess.
MAX_COMPARED = 2_000
# A long text weighs as much as one value per so many characters: aliases of it cost memory as soon as they are written.
WEIGHT = 100

Loader: type[yaml.CSafeLoader] | type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_COMMENT = re.compile(r"[ \t]+#")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Stop(Exception):
    """Composing cannot go on after this problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


class Composer:
    """One pass over a source. `problems` holds what `compose` found; the data are sound if that is empty."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.last_scalar: yaml.ScalarEvent | None = None
        self._flow_line: int | None = None  # where the outermost open { or [ stands
        self._events: Iterator[yaml.Event] = yaml.parse(source.text, Loader=Loader)
        self._anchors: dict[str, Node] = {}
        self._open_anchors: set[str] = set()
        self._nodes = 0
        self._expanded = 0
        self._compared = 0

    def compose(self) -> Node:
        """The root; raises yaml.MarkedYAMLError where the text is no YAML, Stop where a bound is passed."""
        root = Node(None, 0, 0)
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                self._check_document(event, documents)
            elif isinstance(event, yaml.NodeEvent):
                root = self._node(event, 1)
        return root

    def in_flow(self, line: int) -> bool:
        """Whether the start of a line is inside `{ }` or `[ ]`."""
        return self._flow_line is not None and self._flow_line < line

    def _check_document(self, event: yaml.DocumentStartEvent, number: int) -> None:
        if number > 1:
            raise Stop(self._at(event, "a second document begins here; a file holds one"))
        if event.version not in (None, (1, 2)):
            self._report(self._at(event, "the text is read as YAML 1.2; remove the %YAML line"))

    def _node(self, event: yaml.Event, depth: int) -> Node:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise Stop(self._at(event, f"the text holds more than {MAX_NODES:,} values"))
        if depth > MAX_DEPTH:
            raise Stop(self._at(event, f"nested deeper than {MAX_DEPTH} levels"))
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        assert isinstance(event, yaml.CollectionStartEvent)
        return self._collection(event, depth)

    def _collection(self, event: yaml.CollectionStartEvent, depth: int) -> Node:
        self._check_tag(event)
        line, column = _start(event)
        outermost = bool(event.flow_style) and self._flow_line is None
        if outermost:
            self._flow_line = line
        if event.anchor:
            self._open_anchors.add(event.anchor)
        node = Node(None, line, column)
        node.value = (
            self._mapping(node, depth) if isinstance(event, yaml.MappingStartEvent) else self._list(node, depth)
        )
        if event.anchor:
            self._open_anchors.discard(event.anchor)
            self._anchors[event.anchor] = node
        if outermost:
            self._flow_line = None
        return node

    def _list(self, node: Node, depth: int) -> Value:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            item = self._node(event, depth + 1)
            _grow(node, item)
            items.append(item)
        return items

    def _mapping(self, node: Node, depth: int) -> Value:
        entries: dict[str, tuple[Node, Node]] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            value_event = next(self._events)
            value = self._node(value_event, depth + 1)
            _grow(node, key)
            _grow(node, value)
            if self._key_is_sound(event, key, entries):
                self._check_colon(event, value_event)
                entries[str(key.value)] = key, value
        return entries

    def _key_is_sound(self, event: yaml.Event, key: Node, entries: dict[str, tuple[Node, Node]]) -> bool:
        name = key.value
        if isinstance(name, dict | list):
            self._report_trap(event, "a key is a text; this is a mapping or a list")
        elif not isinstance(name, str):
            self._report(self._unquoted_key(event))
        elif name == "<<" and _is_plain(event):
            self._report(self._at(event, "merge keys (<<) are not used here; write the keys out"))
        elif name in entries:
            first = entries[name][0].line + 1
            self._report(self._at(event, f"key {short(name)!r} stands twice in this mapping, first in line {first}"))
        else:
            return True
        return False

    def _unquoted_key(self, event: yaml.Event) -> Problem:
        """A key that YAML reads as a number, boolean or null."""
        line, column = _start(event)
        text = self.source.line(line)
        if not isinstance(event, yaml.ScalarEvent) or not event.value:
            return self._at(event, "a key is missing before ':'")
        end = column + len(event.value)
        corrected = f'{text[:column]}"{event.value}"{text[end:]}' if text[column:end] == event.value else None
        return self._at(event, f"a key is a text; put {short(event.value)} in quotes", corrected)

    def _check_colon(self, key: yaml.Event, value: yaml.Event) -> None:
        """In { } a key may stand without ':', which is what a comma inside a value leaves behind."""
        if self._flow_line is None or not isinstance(value, yaml.ScalarEvent) or value.value or not _is_plain(value):
            return
        if (
            key.end_mark
            and value.start_mark
            and ":" not in self.source.text[key.end_mark.index : value.start_mark.index]
        ):
            name = short(key.value) if isinstance(key, yaml.ScalarEvent) else ""
            self._report_trap(key, f"{name!r} has no value: write '{name}: …', or quote the value that a comma cuts")

    def _scalar(self, event: yaml.ScalarEvent) -> Node:
        line, column = _start(event)
        node = Node(event.value, line, column, 1 + len(event.value) // WEIGHT)
        if not event.style and event.tag is None:
            node.value = self._resolved(event)
            self._check_comment(event)
        else:
            self._check_tag(event)
            self._check_escapes(event)
        if event.anchor:
            self._anchors[event.anchor] = node
        self.last_scalar = event
        return node

    def _resolved(self, event: yaml.ScalarEvent) -> Value:
        try:
            return resolve(event.value)
        except ValueError as error:
            self._report(self._at(event, str(error)))
            return event.value

    def _check_comment(self, event: yaml.ScalarEvent) -> None:
        """A value that its own ' #' cuts off."""
        line, column = _end(event)
        text = self.source.line(line)
        if column == len(text) or not _COMMENT.match(text, column):
            return
        for fault in faults(text, in_flow=self.in_flow(line)):
            if fault.start < column < fault.end:
                self._report(self.source.problem(line, fault.start, fault.message, repaired(text, [fault])))

    def _check_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.tag is not None:
            self._report_trap(
                event, f"tags are not used here ({short(event.tag)}); put a text that begins with '!' in quotes"
            )

    def _check_escapes(self, event: yaml.ScalarEvent) -> None:
        if "\0" in event.value:
            self._report(self._at(event, "no store can hold a NUL character; leave \\0 out"))
        elif _SURROGATE.search(event.value):
            self._report(
                self._at(event, "half of a character is escaped; write the character itself, or \\U and 8 digits")
            )

    def _alias(self, event: yaml.AliasEvent, depth: int) -> Node:
        name = str(event.anchor)
        target = self._anchors.get(name)
        if name in self._open_anchors:
            raise Stop(self._at(event, f"the alias *{short(name)} stands inside what it refers to"))
        if target is None:
            self._report(self._unknown_alias(event, name))
            target = Node(None, 0, 0)
        self._expanded += target.size
        if self._expanded > MAX_EXPANDED:
            raise Stop(self._at(event, f"the aliases stand for more than {MAX_EXPANDED:,} values"))
        if depth + target.height - 1 > MAX_DEPTH:
            raise Stop(self._at(event, f"nested deeper than {MAX_DEPTH} levels through the alias *{short(name)}"))
        return Node(target.value, *_start(event), target.size, target.height)

    def _unknown_alias(self, event: yaml.Event, name: str) -> Problem:
        line, column = _start(event)
        text = self.source.line(line)
        end = column + len(name) + 1
        near = did_you_mean(name, self._anchors) if self._compared <= MAX_COMPARED else ""
        self._compared += len(self._anchors)
        message = f"unknown anchor {short(name)!r}{near}; a text that begins with '*' needs quotes"
        corrected = None if near else text[:column] + quoted(text[column:end]) + text[end:]
        return self._at(event, message, corrected)

    def _report_trap(self, event: yaml.Event, message: str) -> None:
        """Reports what the writer most likely meant at this line, once a line; else the message as it is."""
        line, column = _start(event)
        text = self.source.line(line)
        found = faults(text, in_flow=self.in_flow(line))
        if not found:
            self._report(self._at(event, message))
            return
        fault = min(found, key=lambda fault: max(fault.start - column, column - fault.end, 0))
        problem = self.source.problem(line, fault.start, fault.message, repaired(text, found))
        if problem not in self.problems:
            self._report(problem)

    def _report(self, problem: Problem) -> None:
        self.problems.append(problem)
        if len(self.problems) > MAX_PROBLEMS:
            raise Stop(problem)

    def _at(self, event: yaml.Event, message: str, corrected: str | None = None) -> Problem:
        return self.source.problem(*_start(event), message, corrected)


def _grow(node: Node, child: Node) -> None:
    node.size += child.size
    if child.height >= node.height:
        node.height = child.height + 1


def _is_plain(event: yaml.Event) -> bool:
    return isinstance(event, yaml.ScalarEvent) and not event.style


def _start(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line, mark.column) if mark else (0, 0)


def _end(event: yaml.Event) -> tuple[int, int]:
    mark = event.end_mark
    return (mark.line, mark.column) if mark else (0, 0)
