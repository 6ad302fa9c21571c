"""Secrets: their sources, encryption of variables, and masking in every spelling."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stepwell.errors import NotFound, SettingsError
from stepwell.secrets import Cipher, Masker, SecretSource

KEY = "k" * 32
OTHER = "o" * 32


def source(folder: Path) -> SecretSource:
    (folder / "FILE_ONE").write_text("from a file\r\n")
    (folder / "db-password").write_text(" two\nlines\n\n")
    (folder / ".hidden").write_text("x")
    (folder / "folder").mkdir()
    environ = {"LISTED": "from the environment", "UNLISTED": "x", "BOTH": "environment"}
    (folder / "BOTH").write_text("file")
    return SecretSource(environ, ["LISTED", "BOTH", "ABSENT"], folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LISTED", "from the environment"),
        ("FILE_ONE", "from a file"),
        ("db-password", " two\nlines"),
        ("BOTH", "environment"),
    ],
)
def test_a_secret_comes_from_a_listed_variable_or_a_file(tmp_path: Path, name: str, value: str) -> None:
    assert source(tmp_path).get(name) == value


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    secrets = source(tmp_path)
    secrets.get("FILE_ONE")
    (tmp_path / "FILE_ONE").write_text("rotated")
    assert secrets.get("FILE_ONE") == "rotated"


@pytest.mark.parametrize(
    "name", ["UNLISTED", "../secret", ".hidden", "folder", "", "FILE_ONE\0", "/etc/passwd", "x" * 300]
)
def test_what_is_not_offered_cannot_be_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("outside")
    inner = tmp_path / "secrets"
    inner.mkdir()
    with pytest.raises(NotFound):
        source(inner).get(name)


def test_an_unknown_secret_is_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        source(tmp_path).get("LISTE")
    assert str(caught.value) == (
        "unknown secret 'LISTE' (did you mean 'LISTED'?): add LISTE to SECRETS or put a file LISTE into SECRETS_DIR"
    )
    with pytest.raises(NotFound, match="SECRETS lists it, but the environment has no ABSENT"):
        SecretSource({}, ["ABSENT"]).get("ABSENT")


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "KEY").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="the secret KEY cannot be read from SECRETS_DIR"):
        SecretSource({}, [], tmp_path).get("KEY")


def test_all_names_and_values_can_be_listed(tmp_path: Path) -> None:
    secrets = source(tmp_path)
    assert secrets.names() == ["BOTH", "FILE_ONE", "LISTED", "db-password"]
    assert list(secrets.values()) == ["environment", "from a file", "from the environment", " two\nlines"]
    assert SecretSource({}, [], tmp_path / "nowhere").names() == []


def test_a_file_that_is_not_text_hides_no_other_secret_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "BINARY").write_bytes(b"\xff\xfe")
    (tmp_path / "KEY").write_text("hunter22")
    secrets = SecretSource({}, [], tmp_path)
    for _ in range(2):
        assert list(secrets.values()) == ["hunter22"]
    (message,) = caplog.messages
    assert message.startswith("the secret BINARY cannot be read from SECRETS_DIR: ")
    with pytest.raises(SettingsError, match="the secret BINARY cannot be read"):
        secrets.get("BINARY")


@given(st.text())
@example("\ud800 lone surrogate")
def test_what_is_encrypted_can_be_decrypted(text: str) -> None:
    cipher = Cipher(KEY)
    token = cipher.encrypt(text)
    assert token.isascii()
    assert cipher.decrypt(token) == text


def test_the_same_text_is_encrypted_differently_each_time_and_another_process_can_read_it() -> None:
    first, second = Cipher(KEY).encrypt("hunter22"), Cipher(KEY).encrypt("hunter22")
    assert first != second
    assert Cipher(KEY).decrypt(first) == Cipher(KEY).decrypt(second) == "hunter22"


def test_keys_are_rotated_by_listing_the_old_one_behind_the_new_one() -> None:
    old = Cipher(OTHER).encrypt("hunter22")
    both = Cipher(f"{KEY}, {OTHER}")
    assert both.decrypt(old) == "hunter22"
    assert Cipher(KEY).decrypt(both.encrypt("new")) == "new"
    with pytest.raises(SettingsError, match=r"another SECRET_KEY: list the old key after the new one"):
        Cipher(KEY).decrypt(old)


@pytest.mark.parametrize("token", ["", "no token", "é"])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(SettingsError):
        Cipher(KEY).decrypt(token)


@pytest.mark.parametrize(
    ("key", "message"), [(None, "need SECRET_KEY"), (" , ", "need SECRET_KEY"), ("short", "at least 32")]
)
def test_without_a_good_key_the_error_says_how_to_make_one(key: str | None, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        Cipher(key).encrypt("x")
    assert "token_urlsafe(32)" in str(caught.value)
    assert "short" not in str(caught.value)


SECRET = 'p/ä"s&w ö\n1'


@pytest.mark.parametrize(
    "spelling",
    [
        SECRET,
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        quote(SECRET),
        quote(SECRET, safe=""),
        quote(SECRET, safe="").lower(),
        quote_plus(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
    ],
)
def test_every_spelling_of_a_secret_is_masked(spelling: str) -> None:
    masker = Masker([SECRET])
    assert masker.mask_text(f"a {spelling} b {spelling}") == "a *** b ***"


@pytest.mark.parametrize("user", ["a:", "ab:", "abc:"])
def test_a_secret_inside_a_longer_base64_text_is_masked(user: str) -> None:
    header = base64.b64encode(f"{user}hunter2222".encode()).decode()
    masked = Masker(["hunter2222"]).mask_text(f"Authorization: Basic {header}")
    assert masked.startswith("Authorization: Basic ")
    kept = "".join(masked.removeprefix("Authorization: Basic ").split("***"))
    assert len(kept) <= len(header) - 12


def test_the_lines_of_a_long_secret_are_masked_one_by_one() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADAN\n  QiEJ3n4aaaaa\nab==\n-----END KEY-----\n"
    masker = Masker([key])
    assert masker.mask_text(key) == "***"
    assert masker.mask_text("| QiEJ3n4aaaaa") == "| ***"
    assert masker.mask_text("ab==") == "ab=="


def test_secrets_inside_or_across_each_other_leave_nothing() -> None:
    assert Masker(["hunter", "hunter22"]).mask_text("hunter22 hunter") == "*** ***"
    assert Masker(["abcd", "cdef"]).mask_text("-abcdef-") == "-***-"
    assert Masker(["abcd"]).mask_text("abcdabcd") == "***"


def test_short_values_are_not_masked_and_a_text_without_secrets_is_the_same_object() -> None:
    masker = Masker(["abc", "", "hunter22"])
    text = "abc " * 1000
    assert masker.mask_text(text) is text
    assert Masker().mask_text("hunter22") == "hunter22"


def test_values_can_be_added_later() -> None:
    masker = Masker()
    masker.add("hunter22")
    masker.add("correct horse")
    assert masker.mask_text("hunter22, correct horse") == "***, ***"


def test_json_values_are_masked_at_any_depth() -> None:
    masker = Masker(["hunter22", "123456"])
    value = {"a": [{"x": "is hunter22"}, 123456, 1234567], "hunter22": None, "b": True}
    assert masker.mask(value) == {"a": [{"x": "is ***"}, "***", 1234567], "***": None, "b": True}


def test_a_json_value_without_secrets_is_the_same_object() -> None:
    value: dict[str, Any] = {"a": [{"x": "is"}, 12345678, 1.5, None, True], "b": {}}
    assert Masker(["hunter22"]).mask(value) is value
    masked = Masker(["hunter22"]).mask({"kept": value, "gone": "hunter22"})
    assert masked["kept"] is value


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ({"a": 1}, {"a": 1}),
        ({"text": '{"a": 1}'}, {"text": "***"}),
        ([1234, 12345, -1234, 1234.5], ["***", 12345, -1234, 1234.5]),
        (['x","y'], ["***"]),
        (["x", "y"], ["x", "y"]),
        (["true", True], ["***", True]),
        (["\\u1234 \ud800 1234"], ["\\u*** \ud800 ***"]),
        ({"key 1234": {"1234": "\n1234\n"}}, {"key ***": {"***": "\n***\n"}}),
    ],
)
def test_masked_json_text_is_still_json(value: object, masked: object) -> None:
    masker = Masker(['{"a": 1}', "1234", 'x","y', 'x", "y', "true"])
    text = json.dumps(value)
    result = masker.mask_json(text)
    assert json.loads(result) == masked == masker.mask(value)
    if value == masked:
        assert result == text


@given(
    st.lists(st.text(min_size=4, max_size=6), max_size=3),
    st.recursive(
        st.text() | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    ),
    st.data(),
)
def test_no_secret_is_left_in_masked_json(secrets: list[str], value: object, data: st.DataObject) -> None:
    masker = Masker(secrets)
    leaked = [
        value,
        *(data.draw(st.text(max_size=3)) + secret for secret in secrets),
        dict.fromkeys(secrets, 1),
    ]
    result = json.loads(masker.mask_json(json.dumps(leaked)))
    texts = [*result[1:-1], *result[-1]]
    for text in texts:
        assert not any(secret in text.replace("***", "\0") for secret in secrets if "*" not in secret)
    assert masker.mask(leaked) == result


def test_large_texts_are_masked() -> None:
    masker = Masker(["hunter22"])
    text = ("x" * 1000 + "hunter22") * 10_000
    assert masker.mask_text(text) == ("x" * 1000 + "***") * 10_000
    assert masker.mask_json(json.dumps([text])) == json.dumps([("x" * 1000 + "***") * 10_000])


def test_threads_may_mask_while_values_are_added() -> None:
    masker = Masker(["first secret"])
    wrong: list[str] = []

    def mask() -> None:
        wrong.extend(text for _ in range(200) if (text := masker.mask_text("a first secret")) != "a ***")

    def add(names: str) -> None:
        for number in range(50):
            masker.add(f"{names}-{number:03}")

    threads = [
        threading.Thread(target=mask),
        threading.Thread(target=add, args=("left",)),
        threading.Thread(target=add, args=("right",)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    everything = " ".join(f"{names}-{number:03}" for names in ("left", "right") for number in range(50))
    assert set(masker.mask_text(everything).split()) == {"***"}
