"""Which names an expression can read at its place, and which members they have."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from stepwell.loader.report import Report
from stepwell.loader.sites import ALWAYS, PERHAPS, Known, Reading, Site
from stepwell.loader.visibility import ERROR_MEMBERS, Visibility
from stepwell.workflow import Variable, Workflow

FUNCTIONS = frozenset({"now", "uuid", "random"})
ROOTS = frozenset({"variables", "steps", "task", "trigger", "env", "secrets", *FUNCTIONS})
TASK_MEMBERS = ("id", "workflow", "attempt", "priority", "labels", "created_at")
FILE_MEMBERS = ("sha256", "name", "size")

OUTSIDE_OF_ITEMS = frozenset({"if", "foreach", "until", "every", "max_times"})
"""Keys that are evaluated once, before the first item or round."""

MEANT = {"inputs": "variables", "input": "variables", "params": "variables", "vars": "variables", "loop": "index"}
"""What other tools call our names."""

WHERE = {
    "item": "it is known in a step with `foreach`, and inside it",
    "index": "it is known in a step with `foreach` or `until`, and inside it",
    "output": "it is known in `output` and `until` of a step; elsewhere write steps.<id>.output",
    "error": "it is known in `on_failure`, `compensate` and `retry`; of a step that may fail, write steps.<id>.error",
    "event": "it is known in `match` of a wait and in `triggers`; later write steps.<id>.output",
}


@dataclass(frozen=True)
class NameCheck:
    """Checks what expressions read. `env` are the environment variables they may read, None if that is not known."""

    report: Report
    workflow: Workflow
    visibility: Visibility
    env: Collection[str] | None

    def check_step(self, site: Site) -> None:
        """Check every reading of a step."""
        secrets = {*self.workflow.secrets, *(site.step.secrets or ())}
        for reading in site.readings:
            self.check(reading, self._known(site, reading.key), secrets, site)

    def check(self, reading: Reading, known: Known, secrets: Collection[str], site: Site | None = None) -> None:
        """Check one reading. `known` are the names besides the usual ones, `secrets` those that may be read."""
        root = reading.read[0]
        if root in known:
            self._check_extra(reading, known[root])
        elif root == "steps":
            self.visibility.check(reading, site)
        elif root in ROOTS:
            self._check_root(reading, secrets, site)
        elif not (reading.guarded and root in WHERE):
            self._tell(reading, self._unknown(reading, root, known, site))

    def _known(self, site: Site, key: str) -> Known:
        outer = site.listing.names
        first = key.partition(".")[0]
        if first == "until":
            return {**outer, "index": ALWAYS, "output": ALWAYS}
        names = outer if first in OUTSIDE_OF_ITEMS else site.inside
        if key == "wait.match":
            return {**names, "event": ALWAYS}
        if first == "output":
            return {**names, "output": ALWAYS}
        if first == "retry":
            return {**names, "error": ALWAYS}
        if names.get("error") == PERHAPS and _asks_for_error(site):
            return {**names, "error": ALWAYS}
        return names

    def _check_extra(self, reading: Reading, presence: str) -> None:
        if reading.read[0] != "error":
            return
        if presence == PERHAPS and not reading.guarded:
            self._tell(reading, "there is an `error` here only if the task failed: add `if: error is defined`")
        elif len(reading.read) > 1:
            self._check_member(reading, "error", ERROR_MEMBERS)

    def _check_root(self, reading: Reading, secrets: Collection[str], site: Site | None) -> None:
        root, name = reading.read[0], reading.read[1] if len(reading.read) > 1 else None
        if root in FUNCTIONS:
            called = reading.text[reading.offset + len(root) :].lstrip().startswith("(")
            if not called or name is not None:
                self._tell(reading, f"`{root}` is a function: write {root}()")
        elif name is None:
            return
        elif root == "variables":
            self._check_variable(reading, name)
        elif root == "task":
            self._check_member(reading, "task", TASK_MEMBERS)
        elif root == "secrets" and name not in secrets:
            remedy = "add it to `secrets` of the step or workflow" if site else "only steps read secrets"
            self._tell(reading, f"the secret {name!r} may not be read: {remedy}")
        elif root == "env" and self.env is not None and name not in self.env:
            message = f"env.{name} may not be read{self.report.meant(name, self.env)}: EXPRESSION_ENV names what may"
            self._tell(reading, message)

    def _check_variable(self, reading: Reading, name: str) -> None:
        declared = self.workflow.variables.get(name)
        if declared is None:
            if not self._is_misdeclared(name):
                self._tell(reading, f"unknown variable {name!r}{self.report.meant(name, self.workflow.variables)}")
            return
        path = f"variables.{name}"
        for member in reading.read[2:]:
            inner = None if reading.guarded else self._field(reading, path, declared, member)
            if inner is None:
                return
            path, declared = f"{path}.{member}", inner

    def _is_misdeclared(self, name: str) -> bool:
        """Whether the file declares it, but not rightly, which is reported there."""
        data = self.report.document.data
        written = data.get("variables", {}) if isinstance(data, dict) else {}
        return not isinstance(written, dict) or name in written

    def _field(self, reading: Reading, path: str, declared: Variable, member: str) -> Variable | None:
        """The declaration of a member; None if there is none, which is reported where it cannot be there."""
        fields: Mapping[str, Variable] | None = declared.fields
        if declared.type == "object" and fields is not None:
            if member not in fields:
                self._tell(reading, f"{path} has no field {member!r}{self.report.meant(member, fields)}")
            return fields.get(member)
        if declared.type == "file" and member not in FILE_MEMBERS:
            self._tell(reading, f"{path} is a file and has no {member!r}: it has {', '.join(FILE_MEMBERS)}")
        elif declared.type not in ("object", "any", "file"):
            self._tell(reading, f"{path} is of type {declared.type} and has no {member!r}")
        return None

    def _check_member(self, reading: Reading, root: str, members: Collection[str]) -> None:
        name = reading.read[1]
        if name not in members:
            has = f"; it has {', '.join(members)}"
            self._tell(reading, f"`{root}` has no {name!r}{self.report.meant(name, members)}{has}")

    def _unknown(self, reading: Reading, root: str, known: Known, site: Site | None) -> str:
        if site is not None and root in site.inside:
            key = reading.key.partition(".")[0]
            return f"`{root}` is not known in `{key}`, which is asked once, before the first item or round"
        if root in WHERE:
            return f"there is no `{root}` here: {WHERE[root]}"
        if root in self.workflow.variables:
            return f"unknown name {root!r}: write variables.{root}"
        if root in self.visibility.tree.ids:
            return f"unknown name {root!r}: write steps.{root}.output"
        if root in MEANT:
            return f"unknown name {root!r} (did you mean {MEANT[root]!r}?)"
        return f"unknown name {root!r}{self.report.meant(root, [*sorted(ROOTS), *known])}"

    def _tell(self, reading: Reading, message: str) -> None:
        self.report.add_inside(reading.path, reading.offset, message)


def _asks_for_error(site: Site) -> bool:
    """Whether a condition of the step, or of one around it, looks at `error`."""
    return any(
        reading.read[0] == "error" and reading.guarded and reading.key == "if"
        for _, step in site.around
        for reading in step.readings
    )
