"""Regular expressions in linear time: Rust's engine, which pydantic brings along, its size bounded."""

from __future__ import annotations

import re
from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, core_schema

from stepwell.errors import ExpressionError
from stepwell.expressions.bounds import Run

MAX_PATTERN = 1_000
MAX_STATES = 20_000
CHARACTERS_AND_STATES_PER_WORK = 8

TOKEN = re.compile(r"\\.|\[\]?(?:[^\]\\]|\\.)*\]?|\{(\d+)(,?)(\d*)\}|[()]|.", re.DOTALL)


def search(run: Run, text: str, pattern: str) -> bool:
    """Whether the pattern is found in the text; raises ExpressionError for a bad or too large pattern."""
    matcher, states = _compiled(pattern)
    run.spend(len(text) * states // CHARACTERS_AND_STATES_PER_WORK)
    return matcher.isinstance_python(text)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> tuple[SchemaValidator, int]:
    if len(pattern) > MAX_PATTERN:
        raise ExpressionError(f"a pattern has at most {MAX_PATTERN:,} characters, this one {len(pattern):,}")
    states = _count_states(pattern)
    if states > MAX_STATES:
        raise ExpressionError("the pattern repeats too much; use smaller counts in `{…}`")
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern)), states
    except SchemaError as error:
        reason = str(error).rpartition("error: ")[2].strip()
        raise ExpressionError(f"the pattern {pattern!r:.60} is invalid: {reason}") from error


def _count_states(pattern: str) -> int:
    """About how many states the automaton has: counted repetitions multiply what they repeat."""
    open_groups = [0]
    last = 0
    for token in TOKEN.finditer(pattern):
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
