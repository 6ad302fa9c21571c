"""The workflows of a folder, read again when their files change."""

from __future__ import annotations

import hashlib
import re
import stat
import threading
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from stepwell.errors import DefinitionError, NotFound, Problem, StepwellError, Unavailable
from stepwell.loader.loading import load
from stepwell.registry import Action, Registry
from stepwell.workflow import Workflow, is_workflow_id

SUFFIXES = (".yaml", ".yml")
UNNAMED = "workflow"
"""The id of a text that has neither an `id:` nor a file."""

_ID_LINE = re.compile(r"""^id: *["']?([^\s"'#]{1,100})["']? *(?:#.*)?\r?$""", re.MULTILINE)


@dataclass(frozen=True)
class Definition:
    """A workflow that loaded.

    `source` is its YAML, `text` the JSON snapshot that its tasks keep and run on, `hash` the sha256 of that text.
    """

    workflow_id: str
    workflow: Workflow
    file: str
    source: str
    text: str
    hash: str


@dataclass(frozen=True)
class Broken:
    """A file that did not load; `error` holds every problem."""

    workflow_id: str
    file: str
    error: DefinitionError


class _Stamp(NamedTuple):
    """What tells that a file has changed."""

    modified: int
    size: int
    inode: int


@dataclass(frozen=True)
class _Entry:
    """A file as it was read last. If it `lacks_code`, the module of a `call` may have come since."""

    stamp: _Stamp | None
    loaded: Definition | Broken
    lacks_code: bool = False


class Catalog:
    """The `*.yaml` and `*.yml` of a folder (not of folders in it, nor hidden ones), by workflow id.

    Every call looks whether files came, went or changed; only those are read again. Safe to share between threads.
    """

    def __init__(
        self,
        folder: Path,
        *,
        registry: Registry,
        resolve_call: Callable[[str], Action] | None = None,
        expression_env: Collection[str] | None = None,
    ) -> None:
        self._folder = Path(folder)
        self._registry, self._resolve_call, self._expression_env = registry, resolve_call, expression_env
        self._lock = threading.Lock()
        self._entries: dict[Path, _Entry] = {}
        self._all: list[Definition | Broken] = []
        self._by_id: dict[str, Definition | Broken] = {}

    def get(self, workflow_id: str) -> Definition:
        """The definition of this id; raises `NotFound`, or the file's `DefinitionError`."""
        _, by_id = self._current()
        found = by_id.get(unicodedata.normalize("NFC", workflow_id))
        if found is None:
            raise NotFound("workflow", workflow_id, by_id)
        if isinstance(found, Broken):
            raise found.error
        return found

    def all(self) -> list[Definition | Broken]:
        """Every file, those that did not load too, sorted by id."""
        return list(self._current()[0])

    def from_file(self, path: Path) -> Definition:
        """The definition in a file anywhere; raises `NotFound`, `DefinitionError`."""
        try:
            data = Path(path).read_bytes()
        except FileNotFoundError:
            raise NotFound("file", str(path)) from None
        except OSError as error:
            raise DefinitionError([_unreadable(Path(path), error)]) from error
        return self._definition(data, str(path), _stem(path))

    def from_text(self, text: str | bytes, file: str = "<text>") -> Definition:
        """The definition in a text; without `id:` it is named after the file. Raises `DefinitionError`."""
        return self._definition(text, file, None if file.startswith("<") else _stem(file))

    def _definition(
        self, text: str | bytes, file: str, default_id: str | None, unresolved: list[str] | None = None
    ) -> Definition:
        """What a text defines; functions that are not found are added to `unresolved`."""
        workflow = load(
            text,
            file,
            registry=self._registry,
            resolve_call=_noting(self._resolve_call, unresolved) if self._resolve_call else None,
            expression_env=self._expression_env,
            default_id=default_id,
        )
        source = text if isinstance(text, str) else text.decode("utf-8-sig")
        snapshot = workflow.model_dump_json(by_alias=True, exclude_unset=True)
        digest = hashlib.sha256(snapshot.encode()).hexdigest()
        return Definition(workflow.id or default_id or UNNAMED, workflow, file, source, snapshot, digest)

    def _current(self) -> tuple[Sequence[Definition | Broken], Mapping[str, Definition | Broken]]:
        """All files, and what each id stands for; neither is changed later."""
        with self._lock:
            stamps = dict(self._stamps())
            stale = {path: self._load(path, stamp) for path, stamp in stamps.items() if self._is_stale(path, stamp)}
            if stale or list(stamps) != list(self._entries):
                entries = {path: stale.get(path) or self._entries[path] for path in stamps if stale.get(path, True)}
                self._entries = entries
                self._all = _told_apart([entry.loaded for entry in entries.values()])
                self._by_id = _by_id(self._all)
            return self._all, self._by_id

    def _stamps(self) -> Iterator[tuple[Path, _Stamp | None]]:
        """Every file with its stamp; None for one that cannot be looked at."""
        try:
            paths = sorted(self._folder.iterdir())
        except FileNotFoundError:
            return
        except OSError as error:
            raise Unavailable(f"the folder {self._folder} cannot be listed: {error.strerror or error}") from error
        for path in paths:
            if path.suffix not in SUFFIXES or path.name.startswith("."):
                continue
            try:
                status = path.stat()
            except FileNotFoundError:  # it went away meanwhile, or is a link to nothing
                continue
            except OSError:
                yield path, None
                continue
            if not stat.S_ISDIR(status.st_mode):
                yield path, _Stamp(status.st_mtime_ns, status.st_size, status.st_ino)

    def _is_stale(self, path: Path, stamp: _Stamp | None) -> bool:
        entry = self._entries.get(path)
        return entry is None or stamp is None or entry.stamp != stamp or entry.lacks_code

    def _load(self, path: Path, stamp: _Stamp | None) -> _Entry | None:
        """A file as it is now; None if it went away meanwhile."""
        unresolved: list[str] = []
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            return _Entry(None, Broken(_stem(path), str(path), DefinitionError([_unreadable(path, error)])))
        try:
            return _Entry(stamp, self._definition(data, str(path), _stem(path), unresolved))
        except DefinitionError as error:
            return _Entry(stamp, Broken(_written_id(data) or _stem(path), str(path), error), bool(unresolved))


def _noting(resolve: Callable[[str], Action], unresolved: list[str] | None) -> Callable[[str], Action]:
    def resolve_noting(target: str) -> Action:
        try:
            return resolve(target)
        except StepwellError:
            if unresolved is not None:
                unresolved.append(target)
            raise

    return resolve_noting


def _written_id(data: bytes) -> str | None:
    """The `id:` of a file that did not load, if it plainly has one."""
    found = _ID_LINE.search(data.decode("utf-8-sig", errors="replace"))
    return found[1] if found and is_workflow_id(found[1]) else None


def _stem(path: str | Path) -> str:
    """The name of a file without its suffix. Some file systems keep `é` as two characters, which nobody types."""
    return unicodedata.normalize("NFC", Path(path).stem)


def _unreadable(path: Path, error: OSError) -> Problem:
    return Problem(f"the file cannot be read: {error.strerror or error}", str(path))


def _told_apart(loaded: Sequence[Definition | Broken]) -> list[Definition | Broken]:
    """Sorted by id; files with the same id are broken all of them, and each names the others."""
    groups: dict[str, list[Definition | Broken]] = {}
    for one in loaded:
        groups.setdefault(one.workflow_id, []).append(one)
    return [one if len(group) == 1 else _ambiguous(one, group) for _, group in sorted(groups.items()) for one in group]


def _ambiguous(one: Definition | Broken, group: Sequence[Definition | Broken]) -> Broken:
    others = ", ".join(other.file for other in group if other is not one)
    problem = Problem(f"the workflow id {one.workflow_id!r} is also that of {others}: change one of them", one.file)
    own = one.error.problems if isinstance(one, Broken) else ()
    return Broken(one.workflow_id, one.file, DefinitionError([problem, *own]))


def _by_id(loaded: Sequence[Definition | Broken]) -> dict[str, Definition | Broken]:
    """What each id stands for; the problems of files with the same id are told together."""
    found: dict[str, Definition | Broken] = {}
    for one in loaded:
        first = found.setdefault(one.workflow_id, one)
        if isinstance(first, Broken) and isinstance(one, Broken) and first is not one:
            error = DefinitionError([*first.error.problems, *one.error.problems])
            found[one.workflow_id] = Broken(one.workflow_id, first.file, error)
    return found
