"""The JSON Schema of a workflow file, with which editors complete and check it while it is written."""

from __future__ import annotations

from typing import Any

from stepwell.loader.waits import ENDS
from stepwell.values import DURATION_PATTERN
from stepwell.workflow import KINDS, Workflow

DIALECT = "https://json-schema.org/draft/2020-12/schema"
DURATION = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": DURATION_PATTERN},
        {"type": "string", "pattern": r"\$\{\{"},
    ]
}
DURATIONS = frozenset({"timeout", "every", "delay", "max_delay", "wait"})


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a workflow file; names, order and inputs are for the loader to check."""
    found = Workflow.model_json_schema(by_alias=True)
    definitions = found["$defs"]
    for part in (found, *definitions.values()):
        part["properties"] = {
            key: _property(key, value, definitions) for key, value in part.get("properties", {}).items()
        }
    found["properties"]["variables"]["additionalProperties"] = False
    _one_kind(definitions["Step"])
    _one_end(definitions["Wait"])
    return {"$schema": DIALECT, **found}


def _property(key: str, given: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A key as people write it: never null, without the titles that are made of its name."""
    options = [option for option in _options(given) if option != {"type": "null"}]
    kept = {word: value for word, value in given.items() if word not in ("title", "anyOf")}
    if kept.get("default", ...) is None:
        del kept["default"]
    if key in DURATIONS:
        kept["anyOf"] = [*DURATION["anyOf"], *(option for option in options if "$ref" in option)]
    elif len(options) == 1:
        kept = options[0] | kept
    elif options:
        kept["anyOf"] = options
    for option in options:
        if name := str(option.get("$ref", "")).rpartition("/")[2]:
            kept.setdefault("description", definitions[name]["description"])
    return kept


def _options(given: dict[str, Any]) -> list[dict[str, Any]]:
    """The alternatives of a key, those inside others too."""
    return [inner for option in given.get("anyOf", ()) for inner in (_options(option) or [option])]


def _one_kind(step: dict[str, Any]) -> None:
    kinds = [{"required": [kind]} for kind in KINDS]
    step["oneOf"] = [*kinds, {"required": ["output"], "not": {"anyOf": kinds}}]
    step["not"] = {"required": ["foreach", "until"]}
    step["dependentRequired"] = {"every": ["until"], "max_times": ["until"], "priority": ["queue"]}


def _one_end(wait: dict[str, Any]) -> None:
    wait["oneOf"] = [{"required": [end]} for end in ENDS]
    wait["not"] = {"required": ["until", "timeout"]}
    wait["dependentRequired"] = {
        "match": ["event"],
        "variables": ["approval"],
        "approvers": ["approval"],
        "on_timeout": ["timeout"],
    }
