"""The steps of `dependency_report.yaml`: find packages, find their licences, group them, write the reports."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Literal

from dependency_licences import UNKNOWN, field, is_allowed, licence_of
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stepwell import Context, Fail

Verdict = Literal["allowed", "not allowed", "unknown"]

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Package:
    """An installed package; `source` tells where its licence was found."""

    name: str
    version: str
    licence: str
    source: str
    summary: str
    url: str | None


@dataclass(frozen=True)
class Judged:
    """A package and what the list of allowed licences says of it."""

    package: Package
    verdict: Verdict


@dataclass(frozen=True)
class Group:
    """All packages under one licence."""

    licence: str
    verdict: Verdict
    packages: list[str]
    share: float


@dataclass(frozen=True)
class Summary:
    """What the reports show; `flagged` names the packages that a person should look at. `share` is in percent."""

    groups: list[Group]
    packages: list[Judged]
    flagged: list[str]
    counts: dict[str, int]


def installed() -> list[str]:
    """The names of all packages in this environment, in order of the alphabet."""
    names = {_normal(found.metadata["Name"]): found.metadata["Name"] for found in metadata.distributions()}
    return [names[key] for key in sorted(names)]


def inspect(name: str, context: Context) -> Package:
    """Read the metadata of one package and find its licence."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        raise Fail(f"{name} is not installed any more", code="package_gone", retryable=False) from error
    licence, source = licence_of(found)
    if licence == UNKNOWN:
        context.logger.warning("%s: no licence found", name)
    return Package(
        name=name,
        version=found.version,
        licence=licence,
        source=source,
        summary=field(found, "Summary"),
        url=_url(found),
    )


def summarize(packages: list[Package], allow: list[str]) -> Summary:
    """Group packages by licence, the largest group first, and judge each by the list of allowed licences."""
    judged = [Judged(package, _verdict(package.licence, allow)) for package in packages]
    by_licence: defaultdict[str, list[Judged]] = defaultdict(list)
    for one in judged:
        by_licence[one.package.licence].append(one)
    groups = [
        Group(licence, some[0].verdict, [one.package.name for one in some], round(100 * len(some) / len(judged), 1))
        for licence, some in by_licence.items()
    ]
    return Summary(
        groups=sorted(groups, key=lambda group: (-len(group.packages), group.licence)),
        packages=judged,
        flagged=[one.package.name for one in judged if one.verdict != "allowed"],
        counts={
            "allowed": sum(one.verdict == "allowed" for one in judged),
            "not allowed": sum(one.verdict == "not allowed" for one in judged),
            "unknown": sum(one.verdict == "unknown" for one in judged),
        },
    )


def write_markdown(summary: Summary, folder: str) -> str:
    """Write `dependencies.md` and give its path."""
    return _write("dependencies.md", summary, folder)


def write_html(summary: Summary, folder: str) -> str:
    """Write `dependencies.html`, one file that needs nothing beside it, and give its path."""
    return _write("dependencies.html", summary, folder)


def _verdict(licence: str, allow: Sequence[str]) -> Verdict:
    if licence == UNKNOWN:
        return "unknown"
    return "allowed" if is_allowed(licence, allow) else "not allowed"


def _url(found: metadata.Distribution) -> str | None:
    """The package's page; only web addresses, because reports link to it."""
    labelled = (text.partition(",")[2].strip() for text in found.metadata.get_all("Project-URL") or ())
    candidates = [field(found, "Home-page"), *labelled]
    return next((url for url in candidates if url.startswith(("https://", "http://"))), None)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _write(name: str, summary: Summary, folder: str) -> str:
    target = Path(folder).resolve() / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(_rendered(name, {"summary": summary, "written": datetime.now(UTC)}), encoding="utf-8")
    return str(target)


def _rendered(name: str, values: Mapping[str, object]) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(f"{name}.jinja").render(values)
