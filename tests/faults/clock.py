"""A wall clock that a test moves, for programs that it starts: `tshift.c`, loaded before the C library."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.programs import required


def build_library(folder: Path) -> Path:
    """Compile `tshift.c`; the shared object."""
    library = folder / "tshift.so"
    compiler = required("gcc", "gcc libc6-dev")
    source = str(Path(__file__).with_name("tshift.c"))
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(library), source], check=True)
    return library


class ShiftedClock:
    """Programs that are started with its `env` share its time; `shift` moves it, also while they run.

    Only the wall clock is moved: monotonic clocks, and with them sleeps and time-outs, go on as they are.
    """

    def __init__(self, library: Path, file: Path) -> None:
        self._file = file
        file.write_bytes(bytes(8))
        self.env: Mapping[str, str] = {"LD_PRELOAD": str(library), "TSHIFT_FILE": str(file)}

    def shift(self, seconds: int) -> None:
        """Set the clock this far ahead of the real one, or behind it if negative."""
        # In place: the programs have mapped the file, and would die if it was truncated.
        descriptor = os.open(self._file, os.O_WRONLY)
        try:
            os.pwrite(descriptor, struct.pack("<q", seconds), 0)
        finally:
            os.close(descriptor)
