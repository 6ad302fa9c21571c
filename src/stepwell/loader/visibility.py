"""Which steps an expression can see: those of its own list and of the lists around it; of a group, only the group."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from stepwell.loader.calls import Others
from stepwell.loader.report import Report
from stepwell.loader.sites import AFTERWARDS, Listing, Reading, Site, Tree
from stepwell.plan import step_name
from stepwell.workflow import Variable, Wait, Workflow

MEMBERS = ("output", "status", "error", "attempts", "failures", "files")
ERROR_MEMBERS = ("code", "message", "step", "path", "attempt", "retryable", "status")
RUN_OUTPUT = ("exit_code", "stdout", "json")

SHAPED = frozenset({"output", "until"})
"""Keys of a group that see the steps inside it."""


@dataclass(frozen=True)
class Visibility:
    """Checks readings of `steps.…`."""

    report: Report
    tree: Tree
    others: Others

    def check(self, reading: Reading, site: Site | None) -> None:
        """Report a reading that cannot be; `site` is None for the workflow's own keys, which see the top level."""
        if len(reading.read) < 2:
            return
        name = reading.read[1]
        target = self.tree.ids.get(name)
        if target is None:
            self._tell(reading, f"unknown step {name!r}{self.report.meant(name, self.tree.ids)}")
        elif reason := self._hidden(target, reading.key, site):
            self._tell(reading, reason)
        else:
            self._check_members(reading, target)

    def check_files(self, site: Site, declared: Mapping[str, Variable]) -> None:
        """`needs_files` names steps that are visible and keep files, or variables that hold files."""
        for number, name in enumerate(site.step.needs_files or ()):
            if name not in self.tree.ids and _holds_files(declared.get(name)):
                continue
            reading = Reading((*site.path, "needs_files", number), 0, "needs_files", ("steps", name), False, name)
            self.check(reading, site)
            target = self.tree.ids.get(name)
            if target is not None and not any(inner.step.files for inner in target.within):
                self._tell(reading, f"step {name!r} keeps no files: give it `files`")

    def _hidden(self, target: Site, key: str, site: Site | None) -> str | None:
        """Why a step is not seen from a key of a site, or None if it is."""
        lists: dict[Listing, Site | None] = dict(site.around) if site else {}
        lists.setdefault(self.tree.top["steps"], None)
        if target.listing in lists:
            return _own_group(target, site) if lists[target.listing] is target else _other_racer(target)
        if site is not None and target.listing in _shaping(site, key):
            return None
        outer = next(((listing, member) for listing, member in target.around if listing in lists), None)
        return _inside_other(target, outer[1] if outer else None, site)

    def _check_members(self, reading: Reading, target: Site) -> None:
        _, name, *members = reading.read
        if not members:
            return
        known = (*MEMBERS, "winner") if target.step.kind == "race" else MEMBERS
        if members[0] not in known:
            message = f"a step has no {members[0]!r}{self.report.meant(members[0], known)}"
            hint = f": write steps.{name}.output.{members[0]}" if members[0].isidentifier() else ""
            self._tell(reading, f"{message}{hint}; it has {', '.join(known)}")
        elif len(members) > 1 and not reading.guarded:
            self._check_member(reading, target, members[0], members[1])

    def _check_member(self, reading: Reading, target: Site, key: str, member: str) -> None:
        known = ERROR_MEMBERS if key == "error" else self._output_members(target) if key == "output" else None
        place = f"steps.{target.step.id}.{key}"
        if key == "output" and target.step.foreach is not None:
            self._tell(reading, f"{place} is a list, one for each item: take one like [0], or `| map(attribute=…)`")
        elif known is not None and member not in known:
            has = f"; it has {', '.join(known)}" if known else ""
            self._tell(reading, f"{place} has no {member!r}{self.report.meant(member, known)}{has}")

    def _output_members(self, target: Site) -> list[str] | None:
        """The members of what a step gives, where the file tells them."""
        step = target.step
        if "output" in step.model_fields_set or "output" in target.raw:
            return list(step.output) if isinstance(step.output, dict) else None
        if step.kind == "run":
            return list(RUN_OUTPUT)
        if step.kind == "parallel":
            return [step_name(inner, index) for index, inner in enumerate(step.parallel or ())]
        if isinstance(step.wait, Wait) and step.wait.kind == "approval":
            return list(step.wait.form)
        other = self.others.get(step.workflow) if step.workflow else None
        return list(other.outputs) if isinstance(other, Workflow) else None

    def _tell(self, reading: Reading, message: str) -> None:
        self.report.add_inside(reading.path, reading.offset, message)


def _own_group(target: Site, site: Site | None) -> str | None:
    """A step cannot read itself, nor the group it is in; what runs after its failure can."""
    if target is site:
        return f"step {target.step.id!r} cannot read itself: what it gives is not known yet"
    inner = site
    while inner is not None and inner.listing.owner is not target:
        inner = inner.listing.owner
    if inner is not None and inner.listing.role in AFTERWARDS:
        return None
    return f"step {target.step.id!r} is the group that this step is in: what it gives is not known yet"


def _other_racer(target: Site) -> str | None:
    if target.listing.role != "race":
        return None
    return f"step {target.step.id!r} is in the same race: all of them start at once, and only one completes"


def _shaping(site: Site, key: str) -> Collection[Listing]:
    """The lists inside a group that its own key sees."""
    if key not in SHAPED or (key == "until" and site.step.kind == "switch"):
        return ()
    return [block for block in site.blocks if block.role not in AFTERWARDS]


def _inside_other(target: Site, outer: Site | None, site: Site | None) -> str:
    """What to say of a step that is inside something which cannot be looked into from here."""
    name = repr(target.step.id)
    if outer is None:
        return f"step {name} is in `{_top_role(target)}` of the workflow and seen only there"
    if outer is site:
        return f"step {name} is inside this step, of which only `output` and `until` see it"
    if site is not None and any(member is outer for _, member in site.around):
        if outer.step.kind == "switch":
            return f"step {name} is in another case of this switch: only one of them runs"
        return f"step {name} is inside a part of {outer.label} that is not seen from here"
    if (role := _role_below(target, outer)) in AFTERWARDS:
        return f"step {name} is in `{role}` of {outer.label} and seen only there"
    if outer.step.id is None:
        return f"step {name} is inside the group {outer.label}: give that an `id` and refer to its output"
    output = f"steps.{outer.step.id}.output"
    if outer.step.kind == "parallel" and target.listing.owner is outer:
        output += f".{target.step.id}"
    kind = "race" if outer.step.kind == "race" else "group"
    return f"step {name} is inside {outer.label}, and from outside only the {kind} is seen: write {output}"


def _role_below(target: Site, outer: Site) -> str:
    """The key of `outer` under which the target stands."""
    inner = target
    while inner.listing.owner is not None and inner.listing.owner is not outer:
        inner = inner.listing.owner
    return inner.listing.role


def _top_role(target: Site) -> str:
    return next(listing.role for listing, _ in target.around if listing.owner is None)


def _holds_files(variable: Variable | None) -> bool:
    """Whether it is a file, or a list of files."""
    return variable is not None and (variable.type == "file" or _holds_files(variable.items))
