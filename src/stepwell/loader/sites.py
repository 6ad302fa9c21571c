"""Every step of a workflow with its place in the file, the list it stands in, and what its expressions read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stepwell.loader.report import Path
from stepwell.loader.scalars import value_at
from stepwell.plan import step_name
from stepwell.workflow import Step, Workflow

ALWAYS, PERHAPS = "always", "perhaps"
"""Whether a name is there whenever a step runs; `error` in `finally` is there only after a failure."""

Known = Mapping[str, str]

AFTERWARDS = ("on_failure", "compensate")
"""Keys of a step whose steps run when it has ended, and see what it gave and what failed."""


@dataclass(eq=False, slots=True)
class Listing:
    """A list of steps. `role` is the key it stands under; `names` are what its steps see besides the usual names."""

    path: Path
    role: str
    owner: Site | None
    names: Known
    sites: list[Site] = field(default_factory=list)
    ids: dict[str, Site] = field(default_factory=dict)

    @property
    def parallel(self) -> bool:
        """Whether its steps start at once."""
        return self.role in ("parallel", "race")


@dataclass(eq=False, slots=True)
class Reading:
    """A path that an expression of a step reads: where the text stands, and where in it the path begins.

    `key` is the key of the step that the text stands under: `with`, `if`, …
    """

    path: Path
    offset: int
    key: str
    read: tuple[str, ...]
    guarded: bool
    text: str


@dataclass(eq=False, slots=True)
class Site:
    """A step. `raw` is what stands in the file, also what did not fit; `inside` are the names that its items see."""

    path: Path
    step: Step
    raw: Mapping[str, Any]
    listing: Listing
    index: int
    inside: Known
    blocks: list[Listing] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)

    @property
    def label(self) -> str:
        """How messages call it."""
        return repr(self.step.id) if self.step.id else step_name(self.step, self.index)

    @property
    def around(self) -> Iterator[tuple[Listing, Site]]:
        """The lists it stands in, inner before outer, each with the step of that list that it is or is inside of."""
        site: Site | None = self
        while site is not None:
            yield site.listing, site
            site = site.listing.owner

    @property
    def within(self) -> Iterator[Site]:
        """Itself and every step inside it."""
        yield self
        for block in self.blocks:
            for inner in block.sites:
                yield from inner.within


@dataclass(frozen=True, eq=False)
class Tree:
    """All lists and steps of a workflow; of steps with the same id, `ids` has the first."""

    top: Mapping[str, Listing]
    listings: Sequence[Listing]
    sites: Sequence[Site]
    ids: Mapping[str, Site]


def build_tree(workflow: Workflow, data: object) -> Tree:
    """The tree of a workflow that was read from this data."""
    builder = _Builder(data)
    top = {}
    for (key, *_), steps in workflow.blocks:
        names = {"on_failure": {"error": ALWAYS}, "on_cancel": {"error": PERHAPS}, "finally": {"error": PERHAPS}}
        top[str(key)] = builder.listing((key,), steps, None, names.get(str(key), {}))
    ids: dict[str, Site] = {}
    for site in builder.sites:
        if site.step.id:
            ids.setdefault(site.step.id, site)
    return Tree(top, builder.listings, builder.sites, ids)


class _Builder:
    def __init__(self, data: object) -> None:
        self._data = data
        self.listings: list[Listing] = []
        self.sites: list[Site] = []

    def listing(self, path: Path, steps: Sequence[Step], owner: Site | None, names: Known) -> Listing:
        """A list of steps and everything inside it."""
        role = next(str(part) for part in reversed(path) if isinstance(part, str))
        listing = Listing(path, role, owner, names)
        self.listings.append(listing)
        raw = value_at(self._data, path)[0]
        for index, step in enumerate(steps):
            written = raw[index] if isinstance(raw, list) and index < len(raw) else None
            self._add(listing, step, written if isinstance(written, dict) else {}, index)
        return listing

    def _add(self, listing: Listing, step: Step, raw: Mapping[str, Any], index: int) -> None:
        site = Site((*listing.path, index), step, raw, listing, index, _inside(step, raw, listing.names))
        self.sites.append(site)
        listing.sites.append(site)
        if step.id:
            listing.ids.setdefault(step.id, site)
        for place, inner in step.blocks:
            names = {**listing.names, "error": ALWAYS} if place[0] in AFTERWARDS else site.inside
            site.blocks.append(self.listing((*site.path, *place), inner, site, names))


def _inside(step: Step, raw: Mapping[str, Any], names: Known) -> Known:
    """What is known in each item or round; also where `foreach` did not fit, which is reported there."""
    if "foreach" in raw:
        return {**names, step.foreach.as_ if step.foreach else "item": ALWAYS, "index": ALWAYS}
    return {**names, "index": ALWAYS} if "until" in raw else names
