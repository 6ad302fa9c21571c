"""Every name that expressions of a task can read, and the values of its records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from stepwell.engine.scope import Derived, Scope
from stepwell.plan import Node
from stepwell.ports import Claim
from stepwell.secrets import Masker, SecretSource
from stepwell.task import Apart, StepRecord, Stored, Task
from stepwell.values import APART_SIZE, decode, encode, iso

Fetch = Callable[[str], str]
"""Reads the JSON text of a value that is stored apart, by its key (see `TaskStore.value`)."""

MakeNames = Callable[[Claim, Mapping[str, StepRecord], Callable[[], float], Fetch], "Names"]
"""Makes the names of a claimed task from its records by path, the store's time, and what reads large values."""


class SecretsView(Mapping[str, str]):
    """`secrets` of one step: only the names it may read; what was read is masked from then on."""

    def __init__(self, allowed: frozenset[str], source: SecretSource, masker: Masker) -> None:
        self._allowed, self._source, self._masker = allowed, source, masker

    def __getitem__(self, name: str) -> str:
        if name not in self._allowed:
            raise KeyError(name)
        value = self._source.get(name)
        self._masker.add(value)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._allowed))

    def __len__(self) -> int:
        return len(self._allowed)


@dataclass
class Names:
    """The names of one task. `records` is the run's, by path; `variables` are decrypted; `time` is the store's."""

    task: Task
    records: Mapping[str, StepRecord]
    fetch: Fetch
    source: SecretSource
    masker: Masker
    variables: Mapping[str, Any]
    env: Mapping[str, str]
    time: Callable[[], float]

    def __post_init__(self) -> None:
        task = self.task
        self._values: dict[str, tuple[Stored, object]] = {}
        self._fixed: dict[str, object] = {
            "variables": self.variables,
            "env": self.env,
            "trigger": dict(task.trigger),
            "task": {
                "id": task.task_id,
                "workflow": task.workflow_id,
                "attempt": task.attempt,
                "priority": task.priority,
                "labels": dict(task.labels),
                "created_at": iso(task.created_at),
            },
        }

    def of(self, node: Node, scope: Scope, record: StepRecord, purpose: str, **more: object) -> dict[str, object]:
        """The names that a key of a step sees. `now()` is the step's first announcement; for `until` it is the end of
        the round."""
        now = record.completed_at if purpose == "until" else record.started_at
        return {**self.at(scope, f"{record.path}/{purpose}", now or self.time(), node.secrets), **more}

    def at(self, scope: Scope, purpose: str, now: float, secrets: frozenset[str] = frozenset()) -> dict[str, object]:
        """The names in force in a scope; `purpose` and the task's attempt seed `uuid()` and `random()`."""
        derived = Derived(f"{self.task.task_id}/{self.task.attempt}/{purpose}", now)
        names = {**self._fixed, **derived.names(), **scope.visible(self.records.get, self.read)}
        if secrets:
            names["secrets"] = SecretsView(secrets, self.source, self.masker)
        return names

    def secrets(self, node: Node) -> Mapping[str, str]:
        """The secrets that a step may read."""
        return SecretsView(node.secrets, self.source, self.masker)

    def text(self, record: StepRecord) -> str:
        """The JSON text of a record's output, read back if it is stored apart."""
        if isinstance(record.output, Apart):
            return self.fetch(f"output:{record.path}")
        return record.output or "null"

    def read(self, record: StepRecord) -> object:
        """A record's output as a value, decoded once; whoever changes it must copy it."""
        if record.output is None:
            return None
        known = self._values.get(record.path)
        if known is None or known[0] is not record.output:
            known = self._values[record.path] = (record.output, decode(self.text(record)))
        return known[1]

    def files(self, scope: Scope, wanted: Iterable[str]) -> list[Mapping[str, Mapping[str, Any]]]:
        """The files that these steps, or all items of them, kept, and those of these variables of type `file`: one
        mapping of path to `{size, sha256}` for each record and variable."""
        wanted = list(wanted)
        paths = [path for name in wanted if (path := scope.find(name))]
        inside = tuple(f"{path}{mark}" for path in paths for mark in "[/")
        kept = [
            record.files
            for record in (self.records.values() if paths else ())
            if record.files and (record.path in paths or record.path.startswith(inside))
        ]
        variables: Any = scope.given.get("variables", self.variables)
        return kept + [_uploaded(variables[name]) for name in wanted if not scope.find(name)]

    def encode(self, value: object, what: str) -> str:
        """The JSON text of a value without secrets."""
        return self.masker.mask_json(encode(value, what))

    def shown(self, inputs: str) -> str:
        """Inputs as the record shows them: without secrets, and only their size if they are large."""
        return self.masker.mask_json(inputs) if len(inputs) <= APART_SIZE else encode({"size": len(inputs)})


def _uploaded(value: Any) -> dict[str, Mapping[str, Any]]:
    """The files of a variable of type `file`, or of a list of them, by their names; folders in a name are left out."""
    uploads = [upload for upload in (value if isinstance(value, list) else [value]) if upload]
    return {PurePath(upload["name"] or upload["sha256"]).name: upload for upload in uploads}
