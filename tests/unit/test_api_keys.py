"""API keys: entries, who sent which key, how often they may ask, and which role each operation needs."""

from __future__ import annotations

import hmac
import re
from unittest.mock import patch

import pytest
from typer.testing import CliRunner

from stepwell.api.permissions import RULES, Rule, find, methods
from stepwell.api_keys import Allowance, ApiKey, Bucket, Keyring, Role, digest, new_secret, parse
from stepwell.cli.app import app
from stepwell.errors import SettingsError

SECRET = "sw_" + "k" * 43
"""The same each time: it is part of the names of tests."""
HASH = digest(SECRET)


def entry(name: str = "ci", role: str = "viewer", secret: str = SECRET, more: str = "") -> str:
    """An entry of `API_KEYS`."""
    return f"{name}:{role}:sha256={digest(secret)}{more}"


# -- entries -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "rate", "quota"),
    [
        ("", None, None),
        (":rate=60/m", Allowance(60, 60), None),
        (":quota=10000/d", None, Allowance(10_000, 86400)),
        (":rate=5/s:quota=7/h", Allowance(5, 1), Allowance(7, 3600)),
        (":quota=7/h:rate=5/s", Allowance(5, 1), Allowance(7, 3600)),
    ],
)
def test_an_entry_says_who_may_what_and_how_often(more: str, rate: Allowance | None, quota: Allowance | None) -> None:
    [key] = parse([entry(more=more)])
    assert key == ApiKey("ci", Role.VIEWER, HASH, rate, quota)
    assert parse([str(key)]) == (key,)


def test_the_digits_of_a_hash_may_be_capitals() -> None:
    assert Keyring([f"ci:admin:sha256={HASH.upper()}"]).find(SECRET) is not None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("ci", "name:role:sha256="),
        ("ci:viewer", "name:role:sha256="),
        (f"ci:viewer:{HASH}", "name:role:sha256="),
        (f"ci:viewer:md5={HASH}", "name:role:sha256="),
        (f":viewer:sha256={HASH}", "1 to 64"),
        (f"{'x' * 65}:viewer:sha256={HASH}", "1 to 64"),
        (f"c i:viewer:sha256={HASH}", "1 to 64"),
        (f"ci\n:viewer:sha256={HASH}", "1 to 64"),
        (f"anonymous:viewer:sha256={HASH}", "without keys"),
        (f"ci:operater:sha256={HASH}", "did you mean 'operator'"),
        (f"ci:Viewer:sha256={HASH}", "viewer, operator, admin"),
        (f"ci:viewer:sha256={HASH[1:]}", "64 digits"),
        (f"ci:viewer:sha256={HASH}0", "64 digits"),
        (f"ci:viewer:sha256=g{HASH[1:]}", "64 digits"),
        (entry(more=":rate=60"), "must be a number and s, m, h or d, like 60/m, not '60'"),
        (entry(more=":rate=0/m"), "not '0/m'"),
        (entry(more=":rate=-1/m"), "not '-1/m'"),
        (entry(more=":rate=1.5/m"), "not '1.5/m'"),
        (entry(more=":rate=1/w"), "not '1/w'"),
        (entry(more=f":quota={'9' * 13}/d"), "like 60/m"),
        (entry(more=":rat=60/m"), "rate=60/m"),
        (entry(more=":rate=60/m:rate=60/m"), "each once"),
        (entry(more=":"), "rate=60/m"),
    ],
)
def test_a_wrong_entry_is_explained(wrong: str, message: str) -> None:
    with pytest.raises(SettingsError, match="entry 2") as caught:
        parse([entry("other", secret="other"), wrong])
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("wrong", [SECRET, f"{SECRET}:viewer", f"ci:viewer:sha256={SECRET}", f"ci:viewer:{SECRET}"])
def test_a_key_in_place_of_its_hash_is_not_repeated(wrong: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse([wrong])
    assert SECRET not in str(caught.value)
    assert "stepwell keys new" in str(caught.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    twice = [entry("ci", secret="a"), entry("ci", secret="b"), entry("twin", secret="a"), "x", "y"]
    with pytest.raises(SettingsError) as caught:
        parse(twice)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert "the name 'ci' stands twice" in lines[2]
    assert "'ci' and 'twin' have the same sha256" in lines[3]


@pytest.mark.parametrize(
    ("more", "entry"),
    [
        ((), "ci:operator:sha256={}"),
        (("--rate", "60/m", "--quota", "5/d"), "ci:operator:sha256={}:rate=60/m:quota=5/d"),
    ],
)
def test_the_program_makes_a_key_and_its_entry(more: tuple[str, ...], entry: str) -> None:
    done = CliRunner().invoke(app, ["keys", "new", "--name", "ci", "--role", "operator", *more])
    found = re.fullmatch(r"key    (sw_\S+)\nentry  (\S+)\n", done.stdout)
    assert found is not None
    assert found[2] == entry.format(digest(found[1]))
    assert Keyring([found[2]]).find(found[1]) is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--name", "c,i", "--role", "viewer"], "1 to 64"),
        (["--name", "anonymous", "--role", "viewer"], "without keys"),
        (["--name", "ci", "--role", "owner"], "'operator'"),
        (["--name", "ci", "--role", "viewer", "--rate", "60"], "like 60/m"),
        (["--name", "ci", "--role", "viewer", "--quota", "1/y"], "like 60/m"),
        (["--name", "ci"], "--role"),
        (["--role", "viewer"], "--name"),
    ],
)
def test_the_program_tells_what_it_cannot_make(options: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["keys", "new", *options])
    assert done.exit_code == 2
    assert message in done.stderr
    assert "sw_" not in done.output


# -- who sent a key ------------------------------------------------------------------------------------------------


def test_a_key_is_found_by_its_whole_text_only() -> None:
    other = new_secret()
    ring = Keyring([entry("one"), entry("two", "admin", other)])
    assert [ring.find(secret) for secret in (SECRET, other)] == list(ring.keys)
    for wrong in ("", SECRET[:-1], f"{SECRET} ", SECRET.swapcase(), HASH, f"sha256={HASH}", "\ud800", "ключ"):
        assert ring.find(wrong) is None


@pytest.mark.parametrize("place", [0, 1, 2])
def test_every_entry_is_compared_whichever_it_is(place: int) -> None:
    secrets = [new_secret() for _ in range(3)]
    ring = Keyring([entry(f"k{number}", secret=secret) for number, secret in enumerate(secrets)])
    with patch.object(hmac, "compare_digest", wraps=hmac.compare_digest) as compared:
        assert ring.find(secrets[place]) is ring.keys[place]
    assert compared.call_count == 3


def test_keys_are_long_and_never_the_same() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"sw_[A-Za-z0-9_-]{43}", secret) for secret in made)


def test_the_hash_is_that_of_every_other_program() -> None:
    assert digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_role_includes_those_before_it() -> None:
    may = {(role, needed) for role in Role for needed in Role if role.includes(needed)}
    viewer, operator, admin = Role
    assert may == {(r, viewer) for r in Role} | {(operator, operator), (admin, operator), (admin, admin)}


# -- how often -----------------------------------------------------------------------------------------------------


def test_a_bucket_gives_what_it_has_and_refills_evenly() -> None:
    bucket = Bucket(Allowance(4, 60))
    assert [bucket.take(1000.0) for _ in range(5)] == [0, 0, 0, 0, 15]
    assert (bucket.left, bucket.until_full) == (0, 60)
    assert bucket.take(1014.0) == pytest.approx(1)
    assert bucket.take(1015.5) == 0
    assert bucket.take(1015.5) == pytest.approx(14.5)


def test_a_bucket_never_holds_more_than_its_size() -> None:
    bucket = Bucket(Allowance(2, 1))
    assert [bucket.take(now) for now in (5.0, 1e9, 1e9)] == [0, 0, 0]
    assert bucket.take(1e9) == 0.5


def test_a_bucket_that_is_asked_while_empty_refills_nevertheless() -> None:
    bucket = Bucket(Allowance(1, 10))
    taken = [bucket.take(tenth / 10) == 0 for tenth in range(1001)]
    assert 10 <= sum(taken) <= 11


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(Allowance(1, 10))
    assert bucket.take(100.0) == 0
    assert bucket.take(50.0) == 10


@pytest.mark.parametrize("text", ["1/s", "60/m", "10000/d", "999999999999/h"])
def test_an_allowance_is_written_as_it_is_read(text: str) -> None:
    assert str(Allowance.parse(text)) == text


# -- which operation needs which role ------------------------------------------------------------------------------


def sample(rule: Rule) -> str:
    """A path that the rule is for."""
    return re.sub(r"\{[\w:]+\}", "x", rule.path)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.method}{rule.path}")
@pytest.mark.parametrize("prefix", ["", "/api"])
def test_no_rule_hides_another(rule: Rule, prefix: str) -> None:
    found = find(rule.method, prefix + sample(rule))
    assert found is not None
    assert found.rule is rule
    assert all(value == "x" for value in found.parameters.values())
    assert rule.method in methods(prefix + sample(rule))


def test_what_changes_something_is_audited_and_closed_to_viewers() -> None:
    for rule in RULES:
        changes = rule.method != "GET" and rule.path != "/workflows/validate"
        assert changes == (rule.action is not None), rule
        assert not changes or (rule.role is not None and rule.role.includes(Role.OPERATOR)), rule


@pytest.mark.parametrize(
    "path",
    [
        "",
        "//",
        "/api",
        "/api/api/workflows",
        "/workflows/",
        "/workflows/a/b",
        "/WORKFLOWS",
        "/workflows\n",
        "/docs/x",
        "/health/",
        "/x/health",
        "/apihealth",
    ],
)
def test_what_is_not_listed_is_nothing(path: str) -> None:
    assert find("GET", path) is None


def test_a_head_is_what_a_get_is_and_other_methods_are_not() -> None:
    assert find("HEAD", "/workflows") == find("GET", "/workflows")
    assert [find(method, "/workflows") for method in ("POST", "DELETE", "OPTIONS", "WEBSOCKET", "get")] == [None] * 5
