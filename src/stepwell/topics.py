"""What listeners of published events subscribe to: a name, or a name with a field of the payload and its value."""

from __future__ import annotations

import json
from collections.abc import Mapping

MAX_FIELDS = 200
"""Fields of a payload at its top: each of them can be listened for, so there are not to be more."""

MAX_LENGTH = 200
"""Characters of a text by which it can be listened for."""


def topics_of(name: str, payload: object) -> tuple[str, ...]:
    """All that somebody who is to get this event may have subscribed to."""
    fields = payload.items() if isinstance(payload, Mapping) else ()
    narrow = (topic(name, field, value) for field, value in fields)
    return (name, *(found for found in narrow if found is not None))


def topic(name: str, field: str, value: object) -> str | None:
    """The topic of events of this name whose field has this value; None if nobody can subscribe to that.

    Values that expressions hold to be equal give the same topic: `1`, `1.0` and `true`.
    """
    is_short = value is None or isinstance(value, int | float) or (isinstance(value, str) and len(value) <= MAX_LENGTH)
    if not is_short or len(field) > MAX_LENGTH or "\0" in f"{name}{field}":
        return None
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    return f"{name}\0{field}\0{json.dumps(value)}"
