"""The JSON Schema of variables, for forms and clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepwell.values import DURATION_PATTERN
from stepwell.variables.conversions import SHA256, whole
from stepwell.workflow import Variable

_SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "string": {"type": "string"},
    "secret": {"type": "string", "format": "password", "writeOnly": True},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    "duration": {
        "type": ["string", "number"],
        "format": "stepwell-duration",
        "pattern": DURATION_PATTERN,
        "minimum": 0,
    },
    "list": {"type": "array"},
    "object": {"type": "object"},
    "file": {
        "anyOf": [
            {"type": "string", "format": "stepwell-file", "pattern": SHA256},
            {
                "type": "object",
                "properties": {
                    "sha256": {"type": "string", "pattern": SHA256},
                    "name": {"type": ["string", "null"]},
                    "size": {"type": ["integer", "null"], "minimum": 0},
                },
                "required": ["sha256"],
            },
        ]
    },
    "any": {},
}
_BOUND_WORDS = {
    "string": ("minLength", "maxLength"),
    "secret": ("minLength", "maxLength"),
    "list": ("minItems", "maxItems"),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
}


def json_schema(declared: Mapping[str, Variable]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of the variables; bounds of dates and durations are beyond what it can say."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_members_schema(declared)}


def _members_schema(declared: Mapping[str, Variable]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: _member_schema(variable) for name, variable in declared.items()},
        "required": [name for name, variable in declared.items() if variable.required],
        "additionalProperties": False,
    }


def _member_schema(variable: Variable) -> dict[str, Any]:
    schema = _schema(variable)
    if variable.default is not None:
        return {**schema, "default": variable.default}
    return schema if variable.required else _nullable(schema)


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    nullable = dict(schema)
    if "enum" in schema:
        nullable["enum"] = [*schema["enum"], None]
    if "anyOf" in schema:
        nullable["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    elif "type" in schema:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        nullable["type"] = [*types, "null"]
    return nullable


def _schema(variable: Variable) -> dict[str, Any]:
    schema = dict(_SCHEMAS[variable.type])
    if variable.description:
        schema["description"] = variable.description
    for word, bound in zip(_BOUND_WORDS.get(variable.type, ()), (variable.min, variable.max), strict=False):
        if isinstance(bound, int | float):
            schema[word] = whole(bound)
    if variable.pattern is not None:
        schema["pattern"] = variable.pattern
    if variable.enum is not None:  # a time or duration has many spellings, and enum would allow one
        schema["examples" if variable.type in ("datetime", "duration", "file") else "enum"] = list(variable.enum)
    if variable.items is not None:
        schema["items"] = _schema(variable.items)
    return schema if variable.fields is None else {**schema, **_members_schema(variable.fields)}
