"""The typed variables of a workflow: check what a caller gives, read command lines, describe them as JSON Schema.

What `check` gives is JSON, and `check` takes it again unchanged:

string, secret   text                            file    `{sha256, name, size}`, name and size null if not known
integer, number  a number of at most 308 digits  list    its items, each normalised
boolean          true or false                   object  its fields, normalised, filled with defaults or null
date             `2026-11-21`                    any     the value
datetime         `2026-11-21T09:30:00Z`, in UTC; one without an offset is taken as UTC
duration         seconds, also when it was given as `5m`
"""

from stepwell.variables.checking import check, from_text, replace_secrets
from stepwell.variables.declarations import problems
from stepwell.variables.schema import json_schema

__all__ = ["check", "from_text", "json_schema", "problems", "replace_secrets"]
