"""The steps of `fan_out_files.yaml`."""

from __future__ import annotations

from pathlib import Path

from stepwell import Fail


def paths(folder: str, pattern: str) -> list[str]:
    """The files of a folder, in order of their names."""
    root = Path(folder)
    if not root.is_dir():
        raise Fail(f"there is no folder {root.resolve()}", code="invalid", retryable=False)
    return [str(path) for path in sorted(root.glob(pattern)) if path.is_file()]


def words(path: str) -> int:
    """How many words a file has."""
    try:
        return len(Path(path).read_text(encoding="utf-8").split())
    except UnicodeDecodeError as error:
        raise Fail(f"{path} is no text in UTF-8", code="no_text", retryable=False) from error
