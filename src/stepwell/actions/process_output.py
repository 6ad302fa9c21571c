"""What becomes of a process's output: lines for the log, the start and the end of it for the result."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from stepwell.actions.excerpt import LONGEST_SECRET, Mask, beginning

MAX_LINE = 8 * 1024
"""Characters of a line that are logged."""

LINE_SEEN = 4 * (MAX_LINE + LONGEST_SECRET)
"""Bytes of a line that are looked at: no character takes more than 4."""

MAX_LINES = 10_000
"""Lines of a process, of both streams together, that are logged."""

MAX_KEPT = 1024 * 1024
"""Bytes of stdout that are kept: half from its start, half from its end."""

HALF_SEEN = MAX_KEPT // 2 + LONGEST_SECRET
"""Bytes at each end of stdout that are looked at; up to twice as many are kept whole."""

LAST_LINES = 10
LAST_LINE_LENGTH = 300
"""How many last lines, and characters of each, are shown in the error of a process that failed."""


class LineLog:
    """Passes on the first `MAX_LINES` lines, and says once that there are more."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._count = 0

    @property
    def is_full(self) -> bool:
        """Whether further lines are dropped."""
        return self._count > MAX_LINES

    def add(self, line: str) -> None:
        """Log a line."""
        self._count += 1
        if self._count <= MAX_LINES:
            self._write(line)
        elif self._count == MAX_LINES + 1:
            self._write(f"more than {MAX_LINES:,} lines: the rest is not logged")


class Stream:
    """One output stream of a process: bytes come in as they are read, lines go to the log, without secrets."""

    def __init__(self, log: LineLog, mask: Mask) -> None:
        self._log, self._mask = log, mask
        self._rest = b""
        self._head = bytearray()
        self._tail = bytearray()
        self._size = 0
        self._last: deque[str] = deque(maxlen=LAST_LINES)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._keep(chunk)
        *lines, rest = (self._rest + chunk).split(b"\n")
        self._rest = rest[:LINE_SEEN]
        for line in lines[-LAST_LINES:] if self._log.is_full else lines:
            self._emit(line)

    def close(self) -> None:
        """Take the end of the stream: a last line may lack its newline."""
        if self._rest:
            self._emit(self._rest)
            self._rest = b""

    @property
    def is_cut(self) -> bool:
        """Whether more came than is kept."""
        return self._size > 2 * HALF_SEEN

    def text(self) -> str:
        """What is kept, as text without newlines at its end; a note stands where bytes were left out."""
        if not self.is_cut:
            return self._masked(self._head + self._tail).rstrip("\r\n")
        head, tail = self._masked(self._head)[:-LONGEST_SECRET], self._masked(self._tail)[LONGEST_SECRET:]
        return f"{head}\n[… {self._size - MAX_KEPT:,} bytes left out …]\n{tail}".rstrip("\r\n")

    def last_lines(self) -> str:
        """Its last lines, shortened, for an error message."""
        return "\n".join(self._last)

    def _keep(self, chunk: bytes) -> None:
        self._size += len(chunk)
        room = HALF_SEEN - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:]
        del self._tail[:-HALF_SEEN]

    def _emit(self, line: bytes) -> None:
        whole = line[:LINE_SEEN].decode("utf-8", "replace").rstrip("\r")
        text = beginning(whole, MAX_LINE, self._mask)
        self._log.add(f"{text}… (cut)" if len(line) > MAX_LINE else text)
        if text.strip():
            self._last.append(text[:LAST_LINE_LENGTH])

    def _masked(self, content: bytearray) -> str:
        return self._mask(content.decode("utf-8", "replace"))
