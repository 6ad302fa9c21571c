"""Secrets: where they come from, how variables of type `secret` are encrypted, and how text is masked."""

from __future__ import annotations

import hmac
import json
import logging
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from math import ceil
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from stepwell.errors import NotFound, SettingsError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

MASK = "***"
SHORTEST = 4
"""Shorter values are not masked: they occur in every text."""

SHORTEST_PART = 8
"""Single lines of a secret, and secrets inside a longer base64 text, are masked from this length on."""

SHORTEST_KEY = 32

_log = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*')
"""A string or a number of JSON; what stands between them is punctuation and `true`, `false`, `null`."""


class SecretSource:
    """Reads `secrets.X`: from the environment if X is listed, else from the file X in a folder."""

    def __init__(self, environ: Mapping[str, str], listed: Collection[str], folder: Path | None = None) -> None:
        self._environ, self._listed, self._folder = environ, frozenset(listed), folder
        self._unreadable: set[str] = set()

    def get(self, name: str) -> str:
        """The value, read anew each time. Raises `NotFound` that names the remedy, `SettingsError` for a bad file."""
        if name in self._listed and name in self._environ:
            return self._environ[name]
        file = self._file(name)
        if file is None:
            raise self._unknown(name)
        try:
            return file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"the secret {name} cannot be read from SECRETS_DIR: {error}") from error

    def names(self) -> list[str]:
        """The names that can be read now, sorted."""
        files = self._folder.iterdir() if self._folder is not None and self._folder.is_dir() else ()
        found = {file.name for file in files if _NAME.fullmatch(file.name) and file.is_file()}
        return sorted(found | (self._listed & self._environ.keys()))

    def values(self) -> Iterator[str]:
        """The values of all `names` that can be read, for a `Masker`; the others are logged, each once."""
        for name in self.names():
            try:
                yield self.get(name)
            except SettingsError as error:
                self._warn(name, error)
            except NotFound:  # its file was removed just now
                continue

    def _warn(self, name: str, error: SettingsError) -> None:
        if name not in self._unreadable:
            self._unreadable.add(name)
            _log.warning("%s; it is not masked", error)

    def _file(self, name: str) -> Path | None:
        if self._folder is None or not _NAME.fullmatch(name):
            return None
        file = self._folder / name
        return file if file.is_file() else None

    def _unknown(self, name: str) -> NotFound:
        error = NotFound("secret", name, self.names())
        remedy = f"add {name} to SECRETS or put a file {name} into SECRETS_DIR"
        if name in self._listed:
            remedy = f"SECRETS lists it, but the environment has no {name}"
        error.args = (f"{error}: {remedy}",)
        return error


class Cipher:
    """Encrypts text with `SECRET_KEY`: a comma list, of which the first encrypts and all decrypt."""

    def __init__(self, key: str | None) -> None:
        self._keys = [part.strip() for part in (key or "").split(",") if part.strip()]

    def encrypt(self, text: str) -> str:
        """A token for `decrypt`; another one each time. Raises `SettingsError` without a good key."""
        return self._fernet.encrypt(text.encode(errors="surrogatepass")).decode()

    def decrypt(self, token: str) -> str:
        """The text of a token. Raises `SettingsError` if no key fits."""
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet.decrypt(token.encode()).decode(errors="surrogatepass")
        except InvalidToken:
            message = "a secret variable was encrypted with another SECRET_KEY: list the old key after the new one"
            raise SettingsError(f"{message} (SECRET_KEY=new,old)") from None

    def digest(self, text: str) -> str:
        """The same for the same text, and of no use without the key: by it two requests can be compared."""
        return hmac.new(_derived(self._keys[0]), text.encode(errors="surrogatepass"), "sha256").hexdigest()

    @cached_property
    def _fernet(self) -> MultiFernet:
        from cryptography.fernet import Fernet, MultiFernet

        how = """make one with: python -c "import secrets; print(secrets.token_urlsafe(32))\""""
        if not self._keys:
            raise SettingsError(f"variables of type secret need SECRET_KEY; {how}")
        if min(map(len, self._keys)) < SHORTEST_KEY:
            raise SettingsError(f"SECRET_KEY must have at least {SHORTEST_KEY} characters; {how}")
        return MultiFernet([Fernet(_derived(key)) for key in self._keys])


class Masker:
    """Replaces secret values by `***`: as they are, and as base64, URLs and JSON spell them.

    Many threads may use it at the same time, also while values are added.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._lock = Lock()
        self._values: frozenset[str] = frozenset()
        self._spellings: frozenset[str] = frozenset()
        self.add(*values)

    def add(self, *values: str) -> None:
        """Mask these too from now on; values of less than 4 characters are left out."""
        if self._values.issuperset(values):
            return
        with self._lock:
            self._values |= {value for value in values if len(value) >= SHORTEST}
            self._spellings = frozenset(spelling for value in self._values for spelling in _spellings(value))

    def mask_text(self, text: str) -> str:
        """The text without secrets; the same object if there are none in it. For JSON text there is `mask_json`."""
        found = [spelling for spelling in self._spellings if spelling in text]
        return _without(text, found) if found else text

    def mask_json(self, text: str) -> str:
        """JSON text without secrets in its strings and numbers, still JSON; the same object if there are none."""
        if not any(spelling in text for spelling in self._spellings):
            return text
        return _TOKEN.sub(lambda token: self._masked_token(token[0]), text)

    def mask(self, value: Any) -> Any:
        """A JSON value without secrets in its strings, keys and numbers; the same object if there are none."""
        if isinstance(value, str):
            return self.mask_text(value)
        if isinstance(value, dict):
            return _kept(value, {self.mask(key): self.mask(item) for key, item in value.items()})
        if isinstance(value, list):
            return _kept(value, [self.mask(item) for item in value])
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return MASK if is_number and self._values and json.dumps(value) in self._values else value

    def _masked_token(self, token: str) -> str:
        if not token.startswith('"'):
            return f'"{MASK}"' if token in self._values else token
        text = json.loads(token)
        masked = self.mask_text(text)
        return token if masked is text else json.dumps(masked)


def _derived(key: str) -> bytes:
    """A Fernet key: HKDF (RFC 5869) suffices, because the key is long enough not to be guessed."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"stepwell secret variables").derive(key.encode())
    return urlsafe_b64encode(derived)


def _spellings(value: str) -> Iterator[str]:
    """How a secret may stand in a text. Logs cut it into lines, so each longer line counts as well."""
    parts = {line.strip() for line in value.splitlines()}
    for plain in {value, value.strip(), *(part for part in parts if len(part) >= SHORTEST_PART)}:
        if len(plain) < SHORTEST:
            continue
        data = plain.encode(errors="surrogatepass")
        yield from (plain, json.dumps(plain)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1])
        for quoted in (quote(data), quote(data, safe=""), quote_plus(data)):
            yield from (quoted, re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), quoted))
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(data).decode()
            yield encode(data).decode().rstrip("=")
            if len(data) >= SHORTEST_PART:
                yield from (_inside_base64(encode(b"\0" * offset + data), offset, len(data)) for offset in range(3))


def _inside_base64(encoded: bytes, offset: int, size: int) -> str:
    """The characters (6 bits each) that hold nothing but the data, whatever stands before and behind it."""
    return encoded[ceil(offset * 8 / 6) : (offset + size) * 8 // 6].decode()


def _without(text: str, found: Iterable[str]) -> str:
    """The text with all places of the spellings replaced; those that overlap or touch become one."""
    spans = sorted(span for spelling in found for span in _spans(text, spelling))
    parts: list[str] = []
    end = 0
    for start, stop in spans:
        if start > end or not parts:
            parts += [text[end:start], MASK]
        end = max(end, stop)
    return "".join(parts) + text[end:]


def _spans(text: str, spelling: str) -> Iterator[tuple[int, int]]:
    start = text.find(spelling)
    while start >= 0:
        end = start + len(spelling)
        yield start, end
        start = text.find(spelling, end)


def _kept(value: dict[Any, Any] | list[Any], masked: dict[Any, Any] | list[Any]) -> Any:
    """The value itself unless masking changed something in it."""
    before, after = ([*one, *one.values()] if isinstance(one, dict) else one for one in (value, masked))
    same = len(before) == len(after) and all(a is b for a, b in zip(before, after, strict=True))
    return value if same else masked
