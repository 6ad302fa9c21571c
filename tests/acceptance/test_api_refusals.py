"""What the API refuses and how it says so: every problem that the OpenAPI document promises is provoked."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest
from tests.acceptance.conftest import STRICT_BYTES
from tests.acceptance.serving import Server

TASK = "/workflows/tasks/{task}"
LONG = b"x" * (STRICT_BYTES + 100_000)

Refusal = tuple[str, str, int]

DEAD = "/workflows/queue/dead-letters"

PROVOCATIONS: dict[Refusal, dict[str, Any]] = {
    ("GET", "/workflows", 422): {"params": {"limit": "0"}},
    ("POST", "/workflows/validate", 413): {"content": LONG},
    ("POST", "/workflows/validate", 422): {"json": {"txt": ""}},
    ("GET", "/workflows/{workflow_id}", 404): {"path": "/workflows/helo"},
    ("POST", "/workflows/{workflow_id}/execute", 404): {"path": "/workflows/helo/execute"},
    ("POST", "/workflows/{workflow_id}/execute", 409): {
        "path": "/workflows/hello/execute",
        "headers": {"Idempotency-Key": "used"},
        "json": {"variables": {"name": "Bob"}},
    },
    ("POST", "/workflows/{workflow_id}/execute", 413): {"path": "/workflows/hello/execute", "content": LONG},
    ("POST", "/workflows/{workflow_id}/execute", 422): {"path": "/workflows/broken/execute"},
    ("POST", "/workflows/{workflow_id}/execute/batch", 404): {
        "path": "/workflows/helo/execute/batch",
        "json": {"items": [{}]},
    },
    ("POST", "/workflows/{workflow_id}/execute/batch", 409): {
        "path": "/workflows/hello/execute/batch",
        "headers": {"Idempotency-Key": "used"},
        "json": {"items": [{"variables": {"name": "Bob"}}]},
    },
    ("POST", "/workflows/{workflow_id}/execute/batch", 413): {
        "path": "/workflows/hello/execute/batch",
        "content": LONG,
    },
    ("POST", "/workflows/{workflow_id}/execute/batch", 422): {
        "path": "/workflows/hello/execute/batch",
        "json": {"items": []},
    },
    ("GET", "/workflows/tasks", 422): {"params": {"status": "done"}},
    ("GET", "/workflows/tasks/{task_id}", 404): {"path": "/workflows/tasks/no"},
    ("GET", "/workflows/tasks/{task_id}", 422): {"path": TASK, "params": {"wait": "soon"}},
    ("GET", "/workflows/tasks/{task_id}/status", 404): {"path": "/workflows/tasks/no/status"},
    ("GET", "/workflows/tasks/{task_id}/progress", 404): {"path": "/workflows/tasks/no/progress"},
    ("POST", "/workflows/tasks/{task_id}/cancel", 404): {"path": "/workflows/tasks/no/cancel"},
    ("POST", "/workflows/tasks/{task_id}/cancel", 409): {"path": f"{TASK}/cancel"},
    ("POST", "/workflows/tasks/{task_id}/cancel", 422): {"path": f"{TASK}/cancel", "params": {"force": "perhaps"}},
    ("POST", "/workflows/tasks/{task_id}/retry", 404): {"path": f"{TASK}/retry", "params": {"from_step": "gret"}},
    ("POST", "/workflows/tasks/{task_id}/retry", 409): {"path": "/workflows/tasks/{pending}/retry"},
    ("POST", "/workflows/tasks/{task_id}/retry", 413): {"path": f"{TASK}/retry", "content": LONG},
    ("POST", "/workflows/tasks/{task_id}/retry", 422): {
        "path": "/workflows/tasks/{twice}/retry",
        "params": {"from_step": "inner"},
    },
    ("POST", "/workflows/tasks/{task_id}/signal/{name}", 404): {"path": "/workflows/tasks/{waiting}/signal/revew"},
    ("POST", "/workflows/tasks/{task_id}/signal/{name}", 409): {
        "path": "/workflows/tasks/{answered}/signal/review",
        "json": {"approved": False},
    },
    ("POST", "/workflows/tasks/{task_id}/signal/{name}", 413): {
        "path": "/workflows/tasks/{waiting}/signal/review",
        "content": LONG,
    },
    ("POST", "/workflows/tasks/{task_id}/signal/{name}", 422): {
        "path": "/workflows/tasks/{waiting}/signal/review",
        "json": {"aproved": True},
    },
    ("GET", "/workflows/tasks/{task_id}/children", 404): {"path": "/workflows/tasks/no/children"},
    ("GET", "/workflows/tasks/{task_id}/children", 422): {"path": f"{TASK}/children", "params": {"limit": "0"}},
    ("POST", "/events/{name}", 409): {
        "path": "/events/paid",
        "headers": {"Idempotency-Key": "used"},
        "json": {"amount": 2},
    },
    ("POST", "/events/{name}", 413): {"path": "/events/paid", "content": LONG},
    ("POST", "/events/{name}", 422): {"path": "/events/order%20paid"},
    ("GET", "/workflows/tasks/{task_id}/steps", 404): {"path": "/workflows/tasks/no/steps"},
    ("GET", "/workflows/tasks/{task_id}/steps", 422): {"path": f"{TASK}/steps", "params": {"cursor": "x"}},
    ("GET", "/workflows/tasks/{task_id}/logs", 404): {"path": "/workflows/tasks/no/logs"},
    ("GET", "/workflows/tasks/{task_id}/logs", 422): {"path": f"{TASK}/logs", "params": {"cursor": "x"}},
    ("GET", "/workflows/tasks/{task_id}/events", 404): {"path": "/workflows/tasks/no/events"},
    ("GET", "/workflows/tasks/{task_id}/events", 422): {"path": f"{TASK}/events", "params": {"after": "-1"}},
    ("GET", "/workflows/tasks/{task_id}/files", 404): {"path": "/workflows/tasks/no/files"},
    ("GET", "/workflows/tasks/{task_id}/files", 422): {"path": f"{TASK}/files", "params": {"limit": "1001"}},
    ("GET", "/workflows/tasks/{task_id}/files/{sha256}", 404): {"path": f"{TASK}/files/0"},
    ("GET", "/audit", 422): {"params": {"cursor": "x"}},
    ("GET", "/workflows/queue/dead-letters", 422): {"params": {"cursor": "x"}},
    ("POST", "/workflows/queue/dead-letters/requeue", 404): {"json": {"task_ids": ["no"]}},
    ("POST", "/workflows/queue/dead-letters/requeue", 409): {"path": DEAD + "/requeue", "completed": True},
    ("POST", "/workflows/queue/dead-letters/requeue", 413): {"content": LONG},
    ("POST", "/workflows/queue/dead-letters/requeue", 422): {"json": {}},
    ("POST", "/workflows/queue/dead-letters/discard", 404): {"json": {"task_ids": ["no"]}},
    ("POST", "/workflows/queue/dead-letters/discard", 409): {"path": DEAD + "/discard", "completed": True},
    ("POST", "/workflows/queue/dead-letters/discard", 413): {"content": LONG},
    ("POST", "/workflows/queue/dead-letters/discard", 422): {"json": {}},
    ("POST", "/workflows/queue/{queue}/pause", 422): {"path": "/workflows/queue/chat_proces/pause"},
    ("POST", "/workflows/queue/{queue}/resume", 422): {"path": "/workflows/queue/chat_proces/resume"},
    ("POST", "/workflows/queue/{queue}/clear", 422): {"path": "/workflows/queue/chat_proces/clear"},
    ("POST", "/files", 413): {"files": {"file": ("a", LONG)}},
    ("POST", "/files", 422): {"files": {"fiel": ("a", b"a")}},
}
ELSEWHERE = {
    403: "an approver of another name: test_api_waiting.py",
    503: "a full pool, a store that is away, a server that stops: test_api.py, test_api_serving.py",
}


@pytest.fixture(scope="module")
def document(strict: Server) -> dict[str, Any]:
    """The OpenAPI document."""
    found: dict[str, Any] = strict.client.get("/openapi.json").json()
    return found


@pytest.fixture(scope="module")
def tasks(strict: Server) -> dict[str, str]:
    """The ids of a task that has completed, of one that is to start later, of one where a step ran in two places,
    of one that waits for an approval, and of one that had it.

    Besides there are a broken workflow, and an idempotency key that is used.
    """
    strict.write("broken", "steps: []\n")
    strict.post("/workflows/hello/execute", headers={"Idempotency-Key": "used"})
    strict.post("/workflows/hello/execute/batch", {"items": [{}]}, headers={"Idempotency-Key": "used"})
    strict.post("/events/paid", {"amount": 1}, headers={"Idempotency-Key": "used"})
    strict.write("twice", "steps: [{id: each, foreach: [1, 2], steps: [{id: inner, output: 1}]}]\n")
    twice = strict.post("/workflows/twice/execute").json()["task_id"]
    completed = strict.post("/workflows/hello/execute").json()["task_id"]
    strict.write("waiting", "steps: [{id: review, wait: {approval: Go on?}}]\n")
    waiting, answered = (strict.post("/workflows/waiting/execute").json()["task_id"] for _ in range(2))
    assert strict.post(f"/workflows/tasks/{answered}/signal/review", {"approved": True}).status_code == 200
    pending = strict.post("/workflows/hello/execute?delay=1h").json()["task_id"]
    return {"task": completed, "pending": pending, "twice": twice, "waiting": waiting, "answered": answered}


def assert_problem(answer: httpx.Response, status: int, document: dict[str, Any]) -> dict[str, Any]:
    """The problem document of an answer, which is one as OpenAPI describes it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    schema = {"$ref": "#/components/schemas/Problem", "components": document["components"]}
    jsonschema.validate(problem, schema)
    assert problem["status"] == status
    assert problem["instance"] == answer.url.path
    assert problem["detail"]
    return problem


@pytest.mark.parametrize(("refusal", "request_"), PROVOCATIONS.items(), ids=lambda value: "-".join(map(str, value)))
def test_every_documented_problem_is_real(
    strict: Server, document: dict[str, Any], tasks: dict[str, str], refusal: Refusal, request_: dict[str, Any]
) -> None:
    method, path, status = refusal
    documented = document["paths"][f"/api{path}"][method.lower()]["responses"][str(status)]
    example = documented["content"]["application/problem+json"]["example"]
    sent = {**request_, "url": "/api" + request_.get("path", path).format(**tasks)}
    sent.pop("path", None)
    if sent.pop("completed", False):
        sent["json"] = {"task_ids": [tasks["task"]]}
    problem = assert_problem(strict.client.request(method, **sent), status, document)
    assert problem.keys() >= {"type", "title", "status", "detail", "instance"}
    assert example["status"] == status


def test_every_documented_problem_is_provoked(document: dict[str, Any]) -> None:
    documented = {
        (method.upper(), path.removeprefix("/api"), int(status))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        for status in operation["responses"]
        if status.isdigit() and int(status) >= 400
    }
    assert {refusal for refusal in documented if refusal[2] not in ELSEWHERE} == PROVOCATIONS.keys()


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        assert path.startswith("/api/")
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert operation["description"], (method, path)
            assert operation["tags"], (method, path)
            good = [answer for status, answer in operation["responses"].items() if status < "400"]
            assert all(answer["content"] for answer in good), (method, path)
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert "ValidationError" not in document["components"]["schemas"]


def test_every_body_is_described(document: dict[str, Any]) -> None:
    bodies = {
        path.rpartition("/")[2]: operations["post"]["requestBody"]["content"]
        for path, operations in document["paths"].items()
        if "requestBody" in operations.get("post", {})
    }
    assert bodies.keys() == {"files", "validate", "execute", "batch", "retry", "requeue", "discard", "{name}"}
    for name, body in (
        ("execute", {"priority": "high"}),
        ("batch", {"items": [{"max_retries": 1}]}),
        ("retry", {"definition": "latest"}),
    ):
        schema = {**bodies[name]["application/json"]["schema"], "components": document["components"]}
        jsonschema.validate(body, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"unknown": 1}, schema)


def test_answers_are_as_documented(strict: Server, document: dict[str, Any], tasks: dict[str, str]) -> None:
    for path, operations in document["paths"].items():
        if "get" not in operations or "sha256" in path or path == "/api/metrics":
            continue
        url = path.format(task_id=tasks["task"], workflow_id="hello")
        answer = strict.client.get(url)
        assert answer.status_code == 200, url
        schema = operations["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(answer.json(), {**schema, "components": document["components"]})
    for task in ("hello/execute", "hello/execute?delay=1h"):
        answer = strict.post(f"/workflows/{task}")
        responses = document["paths"]["/api/workflows/{workflow_id}/execute"]["post"]["responses"]
        schema = responses[str(answer.status_code)]["content"]["application/json"]["schema"]
        jsonschema.validate(answer.json(), {**schema, "components": document["components"]})


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"variables": {"nmae": "Ada"}}, "variables.nmae", "did you mean 'name'"),
        ({"variables": {"name": 5}}, "variables.name", "must be"),
        ({"variables": []}, "variables", "dictionary"),
        ({"variable": {}}, "variable", "no field"),
        ({"priority": "hihg"}, "priority", "did you mean 'high'"),
        ({"priority": 4}, "priority", "0 to 3"),
        ({"priority": [1]}, "priority", "text or a number"),
        ({"priority": "x" * 33}, "priority", "longer than 32"),
        ({"timeout": " " * 33}, "timeout", "longer than 32"),
        ({"timeout": True}, "timeout", "text or a number"),
        ({"delay": "9" * 33}, "delay", "longer than 32"),
        ({"run_at": "9999-12-31T23:59:59-12:00"}, "run_at", "ten years"),
        ({"timeout": "soon"}, "timeout", "duration"),
        ({"delay": "-1s"}, "delay", "duration"),
        ({"delay": "5000d"}, "delay", "ten years"),
        ({"run_at": "tomorrow"}, "run_at", "datetime"),
        ({"max_retries": -1}, "max_retries", "greater"),
        ({"queue": "chat_proces"}, "queue", "did you mean 'chat_process'"),
        ({"labels": {"a": 1}}, "labels.a", "string"),
        ({"external_id": "a\0b"}, "external_id", "NUL"),
        ({"external_id": ""}, "external_id", "at least 1"),
        ({"notify": ["https://shop.example"]}, "notify", "not supported yet"),
    ],
)
def test_every_field_that_does_not_fit_is_named(strict: Server, body: object, field: str, message: str) -> None:
    answer = strict.post("/workflows/hello/execute", body)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"] == field
    assert message in error["message"]


@pytest.mark.parametrize(
    ("content", "content_type", "message"),
    [
        (b'{"variables": ', "application/json", "is no JSON"),
        (b'{"variables": {}}', "application/x-www-form-urlencoded", "Content-Type: application/json"),
        (b'{"variables": {}}', "text/plain;charset=application/json", "Content-Type: application/json"),
        (b'{"variables": {"name": "\\ud800"}}', "application/json", "is no JSON"),
        (b'{"variables": {"name": ' + b"[" * 2000 + b"]" * 2000 + b"}}", "application/json", "recursion"),
        (b"\xff\xfe", "application/json; charset=utf-8", "is no JSON"),
        (b"[]", "application/vnd.shop+json", "dictionary"),
    ],
)
def test_bodies_that_are_no_json(
    strict: Server, document: dict[str, Any], content: bytes, content_type: str, message: str
) -> None:
    answer = strict.client.post("/api/workflows/hello/execute", content=content, headers={"Content-Type": content_type})
    problem = assert_problem(answer, 422, document)
    assert message in problem["detail"]
    assert [error["field"] for error in problem["errors"]] == ["body"]


@pytest.mark.parametrize("path", ["/workflows/hello/execute", "/workflows/hello/execute/batch", "/workflows/validate"])
def test_json_that_is_nested_too_deeply(strict: Server, document: dict[str, Any], path: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = strict.client.post(path, content=b"[" * 2000 + b"]" * 2000, headers=headers)
    assert "recursion" in assert_problem(answer, 422, document)["detail"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        (f"limit={'9' * 5000}", "limit"),
        ("cursor=nonsense", "cursor"),
        ("cursor=", "cursor"),
        ("status=done", "status"),
        ("label.=shop", "label."),
        ("&".join(f"label.{number}=x" for number in range(51)), "label."),
        (f"workflow={'x' * 201}", "workflow"),
        (f"queue={'x' * 201}", "queue"),
        (f"external_id={'x' * 201}", "external_id"),
    ],
)
def test_every_wrong_word_of_a_query_is_named(strict: Server, document: dict[str, Any], query: str, field: str) -> None:
    [error] = assert_problem(strict.get(f"/workflows/tasks?{query}"), 422, document)["errors"]
    assert error["field"] == field


@pytest.mark.parametrize("path", ["/workflows", TASK + "/steps", TASK + "/events", TASK + "/logs", TASK + "/files"])
@pytest.mark.parametrize(
    ("name", "value"), [("limit", "0"), ("limit", "1001"), ("cursor", "WyJhIl0="), ("cursor", "\0")]
)
def test_every_list_names_a_limit_or_cursor_that_is_none(
    strict: Server, document: dict[str, Any], tasks: dict[str, str], path: str, name: str, value: str
) -> None:
    answer = strict.get(path.format(**tasks), params={name: value})
    [error] = assert_problem(answer, 422, document)["errors"]
    assert error["field"] == name


@pytest.mark.parametrize(
    ("query", "key", "field"),
    [
        ("priority=" + "x" * 33, "a", "priority"),
        ("delay=" + "9" * 33, "a", "delay"),
        ("async_execute=perhaps", "a", "async_execute"),
        ("", "x" * 201, "Idempotency-Key"),
    ],
)
def test_every_wrong_word_around_a_body_is_named(
    strict: Server, document: dict[str, Any], query: str, key: str, field: str
) -> None:
    answer = strict.post(f"/workflows/hello/execute?{query}", headers={"Idempotency-Key": key})
    [error] = assert_problem(answer, 422, document)["errors"]
    assert error["field"] == field


def test_a_wait_is_short(strict: Server, document: dict[str, Any], tasks: dict[str, str]) -> None:
    answer = strict.get(TASK.format(**tasks), params={"wait": "1" * 33})
    [error] = assert_problem(answer, 422, document)["errors"]
    assert (error["field"], "32" in error["message"]) == ("wait", True)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/workflows/hello/execute", {"variables": {"y" * 3500: 1}}),
        ("/workflows/hello/execute", {"y" * 3500: 1}),
        ("/workflows/hello/execute", {"labels": {"y" * 3500: "x"}}),
        ("/workflows/hello/execute", {"priority": "y" * 3500}),
        (f"/workflows/{'y' * 3500}/execute", {}),
        (f"/{'y' * 3500}", {}),
        (f"/workflows/tasks/{'y' * 3500}/retry", {}),
    ],
)
def test_what_was_sent_is_not_repeated_at_length(strict: Server, path: str, body: object) -> None:
    answer = strict.post(path, body)
    assert answer.status_code in (404, 422)
    assert max(map(len, re.findall("y+", answer.text))) <= 200


@pytest.mark.parametrize("path", ["/workflows/hello/execute", "/files", "/workflows/validate"])
def test_a_body_in_chunks_is_counted(strict: Server, document: dict[str, Any], path: str) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(200):
            yield b"x" * 1000

    types = {"/files": "multipart/form-data; boundary=b", "/workflows/validate": "text/yaml"}
    headers = {"Content-Type": types.get(path, "application/json")}
    answer = strict.client.post(path, content=chunks(), headers=headers)
    problem = assert_problem(answer, 413, document)
    assert "MAX_" in problem["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status", "detail"),
    [
        ("GET", "/nothing", 404, "nothing is served at /nothing"),
        ("GET", "/api/workflows/tasks/x/nothing", 404, "nothing is served"),
        ("DELETE", "/workflows", 405, "DELETE"),
        ("GET", "/workflows/hello/execute", 405, "GET"),
    ],
)
def test_what_is_not_there(
    strict: Server, document: dict[str, Any], method: str, path: str, status: int, detail: str
) -> None:
    assert detail in assert_problem(strict.client.request(method, path), status, document)["detail"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:9999", 200),
        ("api.localhost", 200),
        ("127.0.0.1", 200),
        ("127.8.8.8:1", 200),
        ("[::1]:8000", 200),
        ("eu.shop.example", 200),
        ("shop.example", 421),
        ("evil.example", 421),
        ("evilshop.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("10.0.0.1", 421),
        ("localhost:port", 400),
        ("user@localhost", 400),
        ("localhost/path", 400),
        ("", 400),
    ],
)
def test_the_host_header_is_checked(strict: Server, document: dict[str, Any], host: str, status: int) -> None:
    answer = strict.client.get("/health", headers={"Host": host})
    assert answer.status_code == status
    if status != 200:
        assert_problem(answer, status, document)


@pytest.mark.parametrize("hosts", ["", "Host: localhost\r\nHost: evil.example\r\n"])
def test_a_request_has_one_host(strict: Server, hosts: str) -> None:
    url = httpx.URL(strict.url)
    with socket.create_connection((url.host, url.port or 0), timeout=30) as connection:
        connection.sendall(f"GET /health HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("localhost:8000", None, 200),
        ("localhost:8000", "http://localhost:8000", 200),
        ("LOCALHOST:8000", "http://localhost:8000", 200),
        ("localhost:8000", "http://localhost:3000", 403),
        ("localhost:8000", "http://localhost", 403),
        ("localhost:8000", "http://127.0.0.1:8000", 403),
        ("[::1]:8000", "http://[::1]:8000", 200),
        ("localhost", "http://localhost", 200),
        ("localhost:80", "http://localhost", 200),
        ("localhost:443", "https://localhost", 200),
        ("localhost:80", "https://localhost", 403),
        ("eu.shop.example", "https://eu.shop.example", 200),
        ("eu.shop.example", "https://us.shop.example", 403),
        ("localhost", "https://evil.example", 403),
        ("localhost", "http://localhost@evil.example", 403),
        ("localhost", "http://localhost:port", 403),
        ("localhost", "chrome-extension://localhost", 403),
        ("localhost", "null", 403),
        ("localhost", "", 403),
    ],
)
def test_pages_of_other_sites_change_nothing(strict: Server, host: str, origin: str | None, status: int) -> None:
    headers = {"Host": host} if origin is None else {"Host": host, "Origin": origin}
    assert strict.client.post("/workflows/hello/execute", headers=headers).status_code == status
    assert strict.client.get("/workflows", headers=headers).status_code == 200


def test_the_root_leads_to_the_documentation(strict: Server) -> None:
    answer = strict.client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")
    assert strict.client.get("/docs").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "name", "hint"),
    [
        ("POST", "/workflows/hello/execute?async_exec=true", "async_exec", "async_execute"),
        ("GET", "/workflows/tasks?statuss=failed", "statuss", "status"),
        ("POST", "/workflows/tasks/x/retry?fromstep=a", "fromstep", "from_step"),
    ],
)
def test_misspelt_query_parameters_are_refused(shared: Server, method: str, path: str, name: str, hint: str) -> None:
    answer = shared.client.request(method, f"/api{path}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == name
    assert f"did you mean '{hint}'?" in answer.json()["errors"][0]["message"]
