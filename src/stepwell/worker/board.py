"""What the processes of a worker show each other, in memory that they share: who runs what, until when."""

from __future__ import annotations

import math
import mmap
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

READ_AGAIN = 20
"""So often a record is read again that was being written at that moment."""

_SUM = struct.Struct("<I")
_HORSE = struct.Struct("<I??160s")
_WORK = struct.Struct("<dd100s64s400s")
_GRANT = struct.Struct("<d64s")
_BEAT = struct.Struct("<d")


@dataclass(frozen=True, slots=True)
class Horse:
    """A work-horse: `ready` once it takes tasks, `leaving` once it is about to end on purpose."""

    name: str
    pid: int
    ready: bool = False
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """A claim, and the step that runs: `until` is when that must have ended. Times are monotonic seconds."""

    task_id: str
    token: str
    since: float
    path: str | None = None
    until: float = math.inf


class Cell:
    """A record with its checksum: what is read is whole, and None stands for what never was written or is cleared."""

    def __init__(self, memory: mmap.mmap, offset: int, form: struct.Struct) -> None:
        self._memory, self._form = memory, form
        self._begin, self._end = offset, offset + size_of(form)

    def write(self, *values: Any) -> None:
        """Put these values there."""
        data = self._form.pack(*values)
        self._memory[self._begin : self._end] = _SUM.pack(zlib.crc32(data)) + data

    def clear(self) -> None:
        """Nothing is there from now on."""
        self._memory[self._begin : self._end] = bytes(self._end - self._begin)

    def read(self) -> tuple[Any, ...] | None:
        """The values that are there."""
        for _ in range(READ_AGAIN):
            found = self._memory[self._begin : self._end]
            data = found[_SUM.size :]
            if _SUM.unpack_from(found)[0] == zlib.crc32(data):
                return self._form.unpack(data)
            if not any(found):
                return None
        return None  # whoever wrote it was killed, or stopped, in the middle


class Lane:
    """One task at a time of a work-horse. The work-horse shows its work, the keeper how long the lease lasts."""

    def __init__(self, memory: mmap.mmap, offset: int) -> None:
        self._work = Cell(memory, offset, _WORK)
        self._grant = Cell(memory, offset + size_of(_WORK), _GRANT)

    def show(self, work: Work) -> None:
        """This is what is done now."""
        self._work.write(work.since, work.until, _packed(work.task_id), _packed(work.token), _packed(work.path or ""))

    def rest(self, now: float) -> None:
        """Nothing is done from now on."""
        self._work.write(now, math.inf, b"", b"", b"")

    def clear(self) -> None:
        """Nobody uses it."""
        self._work.clear()

    @property
    def idle_since(self) -> float:
        """When the last work here was over; 0 while there is some, and before the first."""
        found = self._work.read()
        return 0.0 if found is None or any(found[2]) else float(found[0])

    @property
    def work(self) -> Work | None:
        """What is done now."""
        found = self._work.read()
        if found is None or not any(found[2]):
            return None
        since, until, task_id, token, path = found
        return Work(_text(task_id), _text(token), since, _text(path) or None, until)

    def grant(self, token: str, until: float) -> None:
        """The lease of this claim was renewed until then."""
        self._grant.write(until, _packed(token))

    def granted(self, token: str) -> float:
        """Until when the lease of this claim was renewed; 0 if it was not."""
        found = self._grant.read()
        return float(found[0]) if found is not None and _text(found[1]) == token else 0.0


class Place:
    """What is known of one child process: a work-horse with its lanes, or the keeper."""

    def __init__(self, memory: mmap.mmap, offset: int, lanes: int) -> None:
        self._horse = Cell(memory, offset, _HORSE)
        self._beat = Cell(memory, offset + size_of(_HORSE), _BEAT)
        first = offset + size_of(_HORSE) + size_of(_BEAT)
        self.lanes = [Lane(memory, first + number * LANE_SIZE) for number in range(lanes)]

    def introduce(self, horse: Horse) -> None:
        """This one is here now."""
        self._horse.write(horse.pid, horse.ready, horse.leaving, _packed(horse.name))

    @property
    def horse(self) -> Horse | None:
        """Who is here; None before it has said so."""
        if (found := self._horse.read()) is None:
            return None
        pid, ready, leaving, name = found
        return Horse(_text(name), pid, ready, leaving)

    def beat(self, now: float) -> None:
        """It is alive, at this monotonic time."""
        self._beat.write(now)

    @property
    def beaten_at(self) -> float:
        """When it last showed that it is alive; 0 if never."""
        found = self._beat.read()
        return 0.0 if found is None else float(found[0])

    @property
    def works(self) -> Sequence[Work]:
        """All that it does now."""
        return [work for lane in self.lanes if (work := lane.work) is not None]

    @property
    def idle_since(self) -> float:
        """When its last work was over, or it began to show that it is alive."""
        return max((lane.idle_since for lane in self.lanes), default=0.0) or self.beaten_at

    def clear(self) -> None:
        """Nobody is here, and nothing is done."""
        self._horse.clear()
        self._beat.clear()
        for lane in self.lanes:
            lane.clear()


class Board:
    """The memory that a worker shares with the children that it forks: a place for the keeper, and one for each
    work-horse."""

    def __init__(self, horses: int, lanes: int) -> None:
        size = size_of(_HORSE) + size_of(_BEAT) + lanes * LANE_SIZE
        memory = mmap.mmap(-1, size * (horses + 1))
        self.keeper = Place(memory, 0, 0)
        self.places = [Place(memory, size * (number + 1), lanes) for number in range(horses)]


def size_of(form: struct.Struct) -> int:
    """Bytes of a cell with such a record."""
    return _SUM.size + form.size


LANE_SIZE = size_of(_WORK) + size_of(_GRANT)


def _packed(text: str) -> bytes:
    return text.encode(errors="replace")


def _text(packed: bytes) -> str:
    return packed.rstrip(b"\0").decode(errors="ignore")
