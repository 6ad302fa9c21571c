"""API keys, roles, limits and the audit log, on real servers."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.acceptance.conftest import StartServer
from tests.acceptance.docs_blocks import ROOT, names, section, table
from tests.acceptance.serving import Server, environment, eventually

from stepwell.api.app import ROUTERS, create_app
from stepwell.api.permissions import RULES, find
from stepwell.api_keys import ApiKey, Role, digest, new_secret
from stepwell.settings import Settings
from stepwell.wiring import build

SECRETS = {name: new_secret() for name in ("eve", "ci", "root", "slow", "poor")}
ROLES = {"eve": Role.VIEWER, "ci": Role.OPERATOR, "root": Role.ADMIN}
API_KEYS = ", ".join(
    [
        *(str(ApiKey(name, role, digest(SECRETS[name]))) for name, role in ROLES.items()),
        f"slow:operator:sha256={digest(SECRETS['slow'])}:rate=2/h",
        f"poor:operator:sha256={digest(SECRETS['poor'])}:quota=3/d",
    ]
)
TELLING = (
    "steps: [{id: who, output: '${{ trigger.kind }} ${{ trigger.actor }}'}]\noutputs: {by: '${{ steps.who.output }}'}"
)


def of(name: str) -> dict[str, str]:
    """The headers of whoever has this key."""
    return {"Authorization": f"Bearer {SECRETS[name]}"}


@pytest.fixture(scope="module")
def keyed(start_shared: StartServer) -> Server:
    """A server with keys that can be reached from anywhere."""
    return start_shared(API_KEYS=API_KEYS, HOST="0.0.0.0")


@pytest.fixture(scope="module")
def audited(keyed: Server) -> list[dict[str, Any]]:
    """What the audit log holds, newest first, of a task that was run, run again and not cancelled, and of a batch."""
    keyed.write("telling", TELLING)
    task = keyed.post("/workflows/telling/execute", headers=of("ci")).json()
    assert task["result"]["outputs"] == {"by": "api ci"}
    path = f"/workflows/tasks/{task['task_id']}"

    def noted(count: int) -> list[dict[str, Any]]:
        return eventually(lambda: (found := _changes(keyed, "telling", task["task_id"]))[count - 1 :] and found)

    noted(1)
    keyed.post(f"{path}/retry", headers=of("root"))
    eventually(lambda: keyed.get(f"{path}?wait=5s", headers=of("eve")).json()["completed_at"])
    noted(2)
    keyed.post(f"{path}/cancel", headers=of("ci"))
    noted(3)
    keyed.post("/workflows/telling/execute/batch", {"items": [{}, {}]}, headers=of("ci"))
    for stranger in (of("eve"), {}):
        keyed.post("/workflows/telling/execute", headers=stranger)
    return noted(4)


def _changes(server: Server, *targets: str) -> list[dict[str, Any]]:
    """What was done to these targets, newest first."""
    items = server.get("/audit?limit=1000", headers=of("root")).json()["items"]
    return [one for one in items if one["target"] in targets]


# -- roles ---------------------------------------------------------------------------------------------------------


def test_every_route_has_a_rule_and_every_rule_a_route(tmp_path: Path) -> None:
    system = build(Settings(database_url=f"sqlite:///{tmp_path}/tasks.db", workflows_dir=tmp_path))
    app = create_app(system)
    system.stop()
    routes = [route for holder in (*ROUTERS, app) for route in holder.routes if hasattr(route, "path")]
    served = {(method, route.path) for route in routes for method in getattr(route, "methods", ["WEBSOCKET"])}
    assert {one for one in served if one[0] != "HEAD"} == {(rule.method, rule.path) for rule in RULES}


@pytest.mark.parametrize("name", [*ROLES, None])
def test_every_operation_is_open_to_its_role_only(keyed: Server, name: str | None) -> None:
    paths = keyed.client.get("/openapi.json").json()["paths"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            found = find(method.upper(), path)
            assert found is not None
            needed = found.rule.role
            url = re.sub(r"\{\w+\}", "nothing", path)
            answer = keyed.client.request(method, url, headers={} if name is None else of(name))
            refused = needed is not None and (name is None or not ROLES[name].includes(needed))
            assert (answer.status_code in (401, 403)) == refused, (method, path, answer.text)
            assert operation["security"] == ([{"key": []}] if needed else [])
            assert needed is None or operation["description"].endswith(f"Role: {needed}.")


def test_the_page_of_the_operations_can_be_read_without_a_key(keyed: Server) -> None:
    document = keyed.client.get("/openapi.json").json()
    assert document["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
    assert keyed.client.get("/docs").status_code == 200
    assert keyed.client.get("/", follow_redirects=False).headers["Location"] == "/docs"


def test_statistics_can_be_public(start_shared: StartServer) -> None:
    public = start_shared(API_KEYS=API_KEYS, PUBLIC_STATS="true")
    for path in ("/workflows/queue/stats", "/queue/stats", "/metrics"):
        assert public.get(path).status_code == 200
    assert public.get("/workflows").status_code == 401


def test_the_page_tells_the_roles() -> None:
    rows = table(section(ROOT / "docs" / "api.md", "API keys"))
    described = {names(row[0])[0] if names(row[0]) else "": set(names(row[1])) for row in rows}
    for role in (Role.OPERATOR, Role.ADMIN):
        listed = {f"{rule.method} {rule.path.replace(':path', '')}" for rule in RULES if rule.role is role}
        assert described[role] == listed
    assert described[""] == {f"{rule.method} {rule.path}" for rule in RULES if rule.role is None and rule.path != "/"}


def test_the_page_tells_the_actions() -> None:
    rows = table(section(ROOT / "docs" / "api.md", "Audit"))
    described = [name for row in rows for name in names(row[0])]
    assert sorted(described) == sorted(rule.action for rule in RULES if rule.action is not None)


# -- limits --------------------------------------------------------------------------------------------------------


def test_a_key_may_ask_so_often(keyed: Server) -> None:
    answers = [keyed.get("/workflows", headers=of("slow")) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert answers[0].headers["RateLimit-Policy"] == '"rate";q=2;w=3600'
    assert 1700 < int(answers[2].headers["Retry-After"]) <= 1800


def test_a_quota_counts_tasks_and_outlives_the_server(server: StartServer) -> None:
    settings = {"API_KEYS": API_KEYS}
    one = server(settings)
    assert one.post("/workflows/helo/execute", headers=of("poor")).status_code == 404
    assert one.post("/workflows/hello/execute", headers=of("poor")).status_code == 200
    refused = one.post("/workflows/hello/execute/batch", {"items": [{}] * 3}, headers=of("poor"))
    assert (refused.status_code, refused.json()["type"]) == (429, "urn:stepwell:problem:quota-exceeded")
    assert 0 < int(refused.headers["Retry-After"]) <= 86400
    assert one.post("/workflows/hello/execute/batch", {"items": [{}] * 2}, headers=of("poor")).status_code == 202
    one.stop()
    other = server(settings)
    assert other.post("/workflows/hello/execute", headers=of("poor")).status_code == 429
    assert other.post("/workflows/hello/execute", headers=of("ci")).status_code == 200
    assert other.get("/workflows", headers=of("poor")).status_code == 200
    assert len(other.get("/workflows/tasks", headers=of("poor")).json()["items"]) == 4


# -- the audit log -------------------------------------------------------------------------------------------------


def test_who_changed_what_is_kept(audited: list[dict[str, Any]]) -> None:
    seen = [(one["actor"], one["role"], one["action"], one["outcome"]) for one in reversed(audited)]
    assert seen == [
        ("ci", "operator", "task.submit", 200),
        ("root", "admin", "task.retry", 409),
        ("ci", "operator", "task.cancel", 409),
        ("ci", "operator", "task.submit_batch", 202),
    ]
    batch, cancel, _, submit = audited
    assert submit["detail"] == {"task_id": cancel["target"]}
    assert batch["detail"] == {"tasks": 2}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", submit["at"])
    assert [one["at"] for one in audited] == sorted((one["at"] for one in audited), reverse=True)


@pytest.mark.usefixtures("audited")
def test_the_audit_log_comes_in_pages_and_for_admins_only(keyed: Server) -> None:
    seen, cursor = [], ""
    while cursor is not None:
        page = keyed.get(f"/audit?limit=2{cursor and f'&cursor={cursor}'}", headers=of("root")).json()
        seen += page["items"]
        cursor = page["next_cursor"]
    assert len(seen) >= 4
    assert seen == keyed.get("/audit?limit=1000", headers=of("root")).json()["items"]
    assert keyed.get("/audit", headers=of("ci")).status_code == 403
    assert keyed.get("/audit?cursor=nonsense", headers=of("root")).status_code == 422


def test_no_key_is_written_anywhere(server: StartServer) -> None:
    one = server({"API_KEYS": API_KEYS}, {"telling": TELLING})
    statuses = [one.post("/workflows/telling/execute", headers=of(name)).status_code for name in ("ci", "eve")]
    statuses.append(one.post("/workflows/telling/execute", headers={"Authorization": "Bearer guess"}).status_code)
    assert statuses == [200, 403, 401]
    assert eventually(lambda: _changes(one, "telling"))
    assert one.stop() == 0
    assert "refused: 401 POST '/api/workflows/telling/execute' of 127.0.0.1: this API key is not known" in one.log
    assert "'eve' is viewer" in one.log
    for path in (path for path in one.folder.rglob("*") if path.is_file()):
        written = path.read_bytes()
        assert not any(secret.encode() in written for secret in (*SECRETS.values(), "guess")), path


def test_a_server_without_keys_notes_changes_without_names(server: StartServer) -> None:
    one = server(workflows={"telling": TELLING})
    assert one.post("/workflows/telling/execute").json()["result"]["outputs"] == {"by": "api anonymous"}
    [entry] = eventually(lambda: one.get("/audit").json()["items"])
    assert (entry["actor"], entry["role"], entry["action"]) == ("anonymous", "admin", "task.submit")


# -- hosts and the start -------------------------------------------------------------------------------------------


def _refusal_to_begin(folder: Path, **settings: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py")],
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    return done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_a_server_without_keys_refuses_to_be_reached_from_elsewhere(tmp_path: Path, host: str) -> None:
    said = _refusal_to_begin(tmp_path, HOST=host)
    assert f"HOST={host}" in said
    assert "set API_KEYS" in said
    assert "stepwell keys new" in said


def test_a_server_with_a_wrong_entry_does_not_begin(tmp_path: Path) -> None:
    said = _refusal_to_begin(tmp_path, HOST="0.0.0.0", API_KEYS=f"{API_KEYS},root2:admin:{SECRETS['root']}")
    assert "API_KEYS, entry 6" in said
    assert SECRETS["root"] not in said


@pytest.mark.parametrize("host", ["localhost", "api.shop.example", "10.1.2.3:8000"])
def test_with_keys_any_name_will_do(keyed: Server, host: str) -> None:
    assert keyed.get("/workflows", headers={**of("eve"), "Host": host}).status_code == 200
    assert keyed.get("/workflows", headers={"Host": host}).status_code == 401


def test_names_that_are_listed_are_the_only_ones(start_shared: StartServer) -> None:
    picky = start_shared(API_KEYS=API_KEYS, ALLOWED_HOSTS="api.shop.example")
    answers = {host: picky.get("/workflows", headers={**of("eve"), "Host": host}) for host in ("api.shop.example", "x")}
    assert [answer.status_code for answer in answers.values()] == [200, 421]


def test_a_page_of_another_site_changes_nothing_even_with_a_key(keyed: Server) -> None:
    headers = {**of("root"), "Host": "api.shop.example", "Origin": "https://evil.example"}
    answer = keyed.post("/workflows/hello/execute", headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:stepwell:problem:foreign-origin")


def test_a_stranger_is_refused_before_the_body_comes(keyed: Server) -> None:
    url = httpx.URL(keyed.url)
    head = (
        "POST /api/files HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\nContent-Type: multipart/form-data\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", url.port or 0), timeout=30) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 401 ")


@pytest.fixture
def made() -> dict[str, str]:
    """What `stepwell keys new --json` prints."""
    command = [sys.executable, "-m", "stepwell", "keys", "new", "--json", "--name", "new", "--role", "admin"]
    done = subprocess.run(
        [*command, "--quota", "5/h"], env=environment(), capture_output=True, text=True, timeout=60, check=True
    )
    made: dict[str, str] = json.loads(done.stdout)
    return made


def test_the_program_makes_keys_that_work(made: dict[str, str], server: StartServer) -> None:
    one = server({"API_KEYS": made["entry"]})
    assert one.get("/audit", headers={"Authorization": f"Bearer {made['key']}"}).status_code == 200
    assert one.get("/audit").status_code == 401
    assert made["entry"].endswith(":quota=5/h")
