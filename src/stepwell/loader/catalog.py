"""The workflows of a folder, read again when their files change."""

from __future__ import annotations

import re
import stat
import threading
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from stepwell.errors import DefinitionError, NotFound, Problem, Unavailable
from stepwell.loader.calls import FindOthers, Others
from stepwell.loader.definition import Broken, Definition, Reader
from stepwell.loader.linking import Loaded, as_others, bundled, by_id, linked
from stepwell.registry import Action, Registry
from stepwell.workflow import Workflow, is_workflow_id

SUFFIXES = (".yaml", ".yml")
_CALLS = re.compile(rb"\bworkflow[\"']?\s*:")
"""What stands in every file whose steps run workflows, and in few others."""

_ID_LINE = re.compile(r"""^id: *["']?([^\s"'#]{1,100})["']? *(?:#.*)?\r?$""", re.MULTILINE)


class _Stamp(NamedTuple):
    """What tells that a file has changed."""

    modified: int
    size: int
    inode: int


@dataclass(frozen=True)
class _Entry:
    """A file as it was read last, by itself. If it `lacks_code`, the module of a `call` may have come since.

    `data` is kept of files whose steps may run other workflows, with which it must be read again.
    """

    stamp: _Stamp | None
    loaded: Loaded
    lacks_code: bool = False
    data: bytes | None = None

    @property
    def content(self) -> tuple[str, str]:
        """What is the same as long as it is of no use to look at the file again."""
        one = self.loaded
        return one.workflow_id, one.source if isinstance(one, Definition) else str(one.error)


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
        self._reader = Reader(registry, resolve_call, expression_env)
        self._lock = threading.Lock()
        self._entries: dict[Path, _Entry] = {}
        self._all: list[Loaded] = []
        self._by_id: dict[str, Loaded] = {}

    def get(self, workflow_id: str) -> Definition:
        """The definition of this id; raises `NotFound`, or the file's `DefinitionError`."""
        _, known = self._current()
        found = known.get(unicodedata.normalize("NFC", workflow_id))
        if found is None:
            raise NotFound("workflow", workflow_id, known)
        if isinstance(found, Broken):
            raise found.error
        return found

    def all(self) -> list[Loaded]:
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

    def _definition(self, text: str | bytes, file: str, default_id: str | None) -> Definition:
        known: dict[str, Workflow | str] = {}

        def others() -> Others:
            known.update(as_others(self._current()[1]))
            return known

        return bundled(self._reader.read(text, file, default_id, others), known)

    def _current(self) -> tuple[Sequence[Loaded], Mapping[str, Loaded]]:
        """All files, and what each id stands for; neither is changed later."""
        with self._lock:
            stamps = dict(self._stamps())
            stale = {path: self._load(path, stamp) for path, stamp in stamps.items() if self._is_stale(path, stamp)}
            entries = {path: stale.get(path) or self._entries[path] for path in stamps if stale.get(path, True)}
            if (stale or list(entries) != list(self._entries)) and _contents(entries) != _contents(self._entries):
                self._all = self._linked(entries)
                self._by_id = by_id(self._all)
            self._entries = entries
            return self._all, self._by_id

    def _linked(self, entries: Mapping[Path, _Entry]) -> list[Loaded]:
        def again(path: Path, others: Others) -> Loaded:
            return self._read(path, entries[path].data or b"", lambda: others)

        callers = [path for path, entry in entries.items() if entry.data is not None]
        return linked({path: entry.loaded for path, entry in entries.items()}, callers, again)

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
        loaded = self._read(path, data, None, unresolved)
        return _Entry(stamp, loaded, bool(unresolved), data if _CALLS.search(data) else None)

    def _read(self, path: Path, data: bytes, others: FindOthers | None, unresolved: list[str] | None = None) -> Loaded:
        try:
            return self._reader.read(data, str(path), _stem(path), others, unresolved)
        except DefinitionError as error:
            return Broken(_written_id(data) or _stem(path), str(path), error)


def _contents(entries: Mapping[Path, _Entry]) -> Mapping[Path, tuple[str, str]]:
    return {path: entry.content for path, entry in entries.items()}


def _written_id(data: bytes) -> str | None:
    """The `id:` of a file that did not load, if it plainly has one."""
    found = _ID_LINE.search(data.decode("utf-8-sig", errors="replace"))
    return found[1] if found and is_workflow_id(found[1]) else None


def _stem(path: str | Path) -> str:
    """The name of a file without its suffix. Some file systems keep `é` as two characters, which nobody types."""
    return unicodedata.normalize("NFC", Path(path).stem)


def _unreadable(path: Path, error: OSError) -> Problem:
    return Problem(f"the file cannot be read: {error.strerror or error}", str(path))
