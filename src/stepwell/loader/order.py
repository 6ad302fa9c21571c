"""What runs before what: ids, `needs`, and the cycles that references and needs make together."""

from __future__ import annotations

from collections.abc import Sequence

from stepwell import graph
from stepwell.loader.report import Report
from stepwell.loader.sites import Listing, Reading, Site, Tree
from stepwell.workflow import Partial

TRIED = 200
"""So many readings are looked into, each of which may take a walk through the whole list."""


def check_ids(report: Report, tree: Tree) -> None:
    """Ids are unique in the file."""
    for site in tree.sites:
        if site.step.id and tree.ids[site.step.id] is not site:
            first = report.document.place((*tree.ids[site.step.id].path, "id")).line
            report.add((*site.path, "id"), f"the id {site.step.id!r} is taken by the step in line {first}")


def check_needs(report: Report, tree: Tree, site: Site) -> None:
    """`needs` names other steps of the same list."""
    path = (*site.path, "needs")
    if isinstance(site.step.needs, Partial):
        path = (*path, "of")
        if site.step.needs.any > len(set(site.step.needs.of)):
            message = f"`any` is {site.step.needs.any}, but `of` names only {len(set(site.step.needs.of))} steps"
            report.add((*site.path, "needs"), message)
    for number, name in enumerate(_needed(site)):
        if name == site.step.id:
            report.add((*path, number), "a step cannot need itself")
        elif name not in site.listing.ids:
            report.add((*path, number), _not_in_list(report, tree, site, name))


def check_cycles(report: Report, listing: Listing) -> None:
    """No step waits for itself, in a roundabout way either."""
    reads = [_reads(site) for site in listing.sites]
    if not _built(listing, [set(read) for read in reads]).problems:
        return
    written = _built(listing, [set() for _ in reads])
    for position, message in written.problems:
        report.add((*listing.sites[position].path, "needs"), message)
    if not written.problems and not _tell_readings(report, listing, written, reads):
        position, message = _built(listing, [set(read) for read in reads]).problems[0]
        reading = next(iter(reads[position].values()), None)
        if reading is None:
            report.add(listing.sites[position].path, message)
        else:
            report.add_inside(reading.path, reading.offset, message)


def _tell_readings(report: Report, listing: Listing, written: graph.Graph, reads: Sequence[dict[str, Reading]]) -> bool:
    """Report what is read from steps that, by needs and places alone, come after the reader."""
    pairs = [
        (position, listing.ids[name].index, reading)
        for position, names in enumerate(reads)
        for name, reading in names.items()
    ]
    pairs.sort(key=lambda pair: pair[1] < pair[0])  # those that read what stands below are the likeliest
    found = [(reading, target) for position, target, reading in pairs[:TRIED] if written.precedes(position, target)]
    for reading, target in found:
        message = f"step {listing.sites[target].step.id!r} runs after this one: nothing of it is known yet"
        report.add_inside(reading.path, reading.offset, message)
    return bool(found)


def _reads(site: Site) -> dict[str, Reading]:
    """The other steps of its list that a step reads, or a step inside it, each with the first place that does."""
    names: dict[str, Reading] = {}
    for inner in site.within:
        for reading in inner.readings:
            if len(reading.read) > 1 and reading.read[0] == "steps":
                names.setdefault(reading.read[1], reading)
        for number, name in enumerate(inner.step.needs_files or ()):
            path = (*inner.path, "needs_files", number)
            names.setdefault(name, Reading(path, 0, "needs_files", ("steps", name), False, name))
    known = site.listing.ids
    return {name: reading for name, reading in names.items() if name in known and known[name] is not site}


def _built(listing: Listing, reads: Sequence[set[str]]) -> graph.Graph:
    return graph.build(
        [site.step.id if site.step.id and listing.ids[site.step.id] is site else None for site in listing.sites],
        [_sound_needs(site) for site in listing.sites],
        reads,
        parallel=listing.parallel,
    )


def _sound_needs(site: Site) -> graph.Needs:
    """`needs` without the names that were reported already."""
    if site.step.needs is None:
        return () if "needs" in site.raw else None
    names = [name for name in _needed(site) if name in site.listing.ids and name != site.step.id]
    return (min(site.step.needs.any, len(names)), names) if isinstance(site.step.needs, Partial) else names


def _needed(site: Site) -> Sequence[str]:
    needs = site.step.needs
    return needs.of if isinstance(needs, Partial) else needs or ()


def _not_in_list(report: Report, tree: Tree, site: Site, name: str) -> str:
    target = tree.ids.get(name)
    if target is None:
        return f"unknown step {name!r}{report.meant(name, site.listing.ids)}"
    if any(owner is target for _, owner in site.around):
        return f"step {name!r} is the group that this step is in"
    outer = next((owner for listing, owner in target.around if listing is site.listing), None)
    if outer is not None:
        return f"step {name!r} is inside {outer.label}: `needs` names steps of its own list, here {outer.label}"
    return f"step {name!r} is not in this list: `needs` names steps of its own list; put it on the group around this"
