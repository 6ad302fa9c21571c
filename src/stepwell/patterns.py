"""Regular expressions in linear time: Rust's engine, which pydantic brings along, its size bounded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, core_schema

MAX_PATTERN = 1_000
MAX_STATES = 20_000
MAX_WORK = 160_000_000
"""What one search may cost, in characters of the text times states; as much as an expression may do."""

_TOKEN = re.compile(r"\\.|\[\]?(?:[^\]\\]|\\.)*\]?|\{(\d+)(,?)(\d*)\}|[()]|.", re.DOTALL)


@dataclass(frozen=True)
class Pattern:
    """A compiled pattern, safe to share between threads."""

    states: int
    _validator: SchemaValidator

    def cost(self, text: str) -> int:
        """The most that searching the text takes, in characters times states."""
        return len(text) * self.states

    def found_in(self, text: str) -> bool:
        """Whether the pattern matches anywhere in the text; never in one with half a character."""
        return self._validator.isinstance_python(text)


def compile_pattern(pattern: str) -> Pattern:
    """The compiled pattern. Raises `ValueError`, which does not show the pattern, for a bad or too large one."""
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"a pattern has at most {MAX_PATTERN:,} characters, this one {len(pattern):,}")
    return _compiled(pattern)


@lru_cache(maxsize=500)
def _compiled(pattern: str) -> Pattern:
    states = _count_states(pattern)
    if states > MAX_STATES:
        raise ValueError("the pattern repeats too much; use smaller counts in `{…}`")
    try:
        return Pattern(states, SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex")))
    except SchemaError as error:
        reason = " ".join(re.split("[eE]rror: ", str(error))[-1].split())
        raise ValueError(f"the pattern is no regular expression: {reason}") from None


def _count_states(pattern: str) -> int:
    """About how many states the automaton has: counted repetitions multiply what they repeat."""
    open_groups = [0]
    last = 0
    for token in _TOKEN.finditer(pattern):
        if token[1]:
            grown = last * max(int(token[3] or token[1]), 1)
            open_groups[-1] += grown - last
            last = grown
        elif token[0] == "(":
            open_groups.append(0)
        elif token[0] == ")" and len(open_groups) > 1:
            last = open_groups.pop()
            open_groups[-1] += last
        else:
            last = 1
            open_groups[-1] += 1
    return sum(open_groups)
