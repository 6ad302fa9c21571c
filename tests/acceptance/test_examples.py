"""Every workflow in `workflows/` is loaded and run, through the real command line; those that wait on servers, too."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import tarfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.acceptance.cluster import cluster
from tests.acceptance.serving import PATIENCE, ROOT, Server, environment, eventually, start
from tests.servers import RedisServer

WORKFLOWS = sorted((ROOT / "workflows").glob("*.yaml"))
SCHEMA_LINE = "# yaml-language-server: $schema=../schemas/workflow.json\n"

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def stepwell(tmp_path: Path) -> Command:
    """The program, in the project's folder, with its records in a folder of the test."""
    environ = environment(DATABASE_URL=f"sqlite:///{tmp_path}/tasks.db", FILES_URL=str(tmp_path / "files"))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stepwell", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    return run


def outputs(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What a completed `run --json` gave."""
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["result"]["outputs"]
    return found


def failed(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The task of a `run --json` that failed."""
    assert done.returncode == 1, done.stderr
    task: dict[str, Any] = json.loads(done.stdout)
    return task


def test_all_of_them_load(stepwell: Command) -> None:
    done = stepwell("validate")
    assert (done.returncode, done.stdout) == (0, f"{len(WORKFLOWS)} files, 0 problems\n"), done.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_editors_find_the_schema_and_a_test_runs_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(SCHEMA_LINE)
    assert f'stepwell("run", "{path.stem}"' in Path(__file__).read_text(encoding="utf-8")


def test_the_schema_is_the_one_of_the_language(stepwell: Command) -> None:
    kept = (ROOT / "schemas" / "workflow.json").read_text(encoding="utf-8")
    assert json.loads(kept) == json.loads(stepwell("schema").stdout), (
        "run: stepwell schema --write schemas/workflow.json"
    )


@pytest.mark.parametrize(("given", "greeting"), [((), "Hello, World!"), (("-v", "name=Ada"), "Hello, Ada!")])
def test_hello(stepwell: Command, given: tuple[str, ...], greeting: str) -> None:
    assert outputs(stepwell("run", "hello", *given, "--json")) == {"greeting": greeting}


def test_dependency_report(stepwell: Command, tmp_path: Path) -> None:
    found = outputs(stepwell("run", "dependency_report", "-v", f"output_dir={tmp_path}", "--json"))
    html, markdown = (Path(found[kind]).read_text(encoding="utf-8") for kind in ("html", "markdown"))
    assert found["packages"] > 20
    assert "pydantic" in html
    assert "| pydantic |" in markdown
    assert "http-equiv" not in html
    assert 'src="' not in html
    assert all(f"**{name}**" in markdown for name in found["flagged"])


def test_dependency_report_that_is_strict(stepwell: Command, tmp_path: Path) -> None:
    task = failed(
        stepwell(
            "run", "dependency_report", "-v", f"output_dir={tmp_path}", "-v", "allow=ISC", "-v", "strict=true", "--json"
        )
    )
    assert task["error"]["code"] == "licences"
    assert "pydantic" in task["error"]["message"]


def test_etl_csv(stepwell: Command, tmp_path: Path) -> None:
    target = tmp_path / "revenue.csv"
    found = outputs(stepwell("run", "etl_csv", "-v", f"target={target}", "--json"))
    rows = list(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8"))))
    assert found["orders"] == 12
    assert [row["order"] for row in found["rejected"]] == ["1005", "1007", "1011"]
    assert {"region": "eu", "category": "ware", "orders": "2", "amount": "135.00"} in rows
    assert len(rows) == len(found["revenue"]) == 8


def test_etl_csv_with_too_many_wrong_rows(stepwell: Command, tmp_path: Path) -> None:
    target = tmp_path / "revenue.csv"
    task = failed(stepwell("run", "etl_csv", "-v", f"target={target}", "-v", "max_rejected=10", "--json"))
    assert task["error"]["code"] == "too_many_rejected"
    assert not target.exists()


@pytest.fixture
def site() -> Iterator[str]:
    """A server that answers at /ok, at /flaky from the second request on, and nowhere else; its address."""
    asked: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked[self.path] += 1
            flaky = 200 if asked["/flaky"] > 1 else 503
            self.send_response({"/ok": 200, "/flaky": flaky}.get(self.path, 404))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not told."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_site_check(stepwell: Command, site: str) -> None:
    urls = [f"{site}/ok", f"{site}/flaky", f"{site}/gone"]
    found = outputs(stepwell("run", "site_check", "-v", f"urls={json.dumps(urls)}", "--json"))
    assert found["up"] == urls[:2]
    assert [one["url"] for one in found["down"]] == urls[2:]
    assert "404" in found["down"][0]["reason"]


def test_site_check_that_is_strict(stepwell: Command, site: str) -> None:
    task = failed(stepwell("run", "site_check", "-v", f"urls={site}/gone", "-v", "strict=true", "--json"))
    assert task["error"]["code"] == "site_down"


def test_nightly_backup(stepwell: Command, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "backups"
    for folder in (source, target):
        folder.mkdir()
    (source / "a file.txt").write_text("kept", encoding="utf-8")
    (target / "backup-2001-01-01.tgz").write_bytes(b"old")
    given = ("-v", f"source={source}", "-v", f"target={target}", "-v", "keep=1")
    found = outputs(stepwell("run", "nightly_backup", *given, "--json"))
    assert [str(path) for path in target.iterdir()] == [found["archive"]]
    assert found["size"] == Path(found["archive"]).stat().st_size
    with tarfile.open(found["archive"]) as archive:
        assert len(archive.getnames()) == found["entries"] == 2


def test_nightly_backup_of_what_is_not_there(stepwell: Command, tmp_path: Path) -> None:
    given = ("-v", f"source={tmp_path}/nowhere", "-v", f"target={tmp_path}/backups")
    task = failed(stepwell("run", "nightly_backup", *given, "--json"))
    logs = json.loads(stepwell("task", task["task_id"], "--logs", "--json").stdout)["logs"]
    said = [line["message"] for line in logs if line["path"] in ("on_failure/report", "finally/over")]
    assert task["error"]["code"] == "exit_code"
    assert said[0].startswith("the backup failed at pack: exit code")
    assert said[1] == f"backup of {tmp_path}/nowhere is over"


# -- undo ----------------------------------------------------------------------------------------------------------


def books(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What the services of the shop wrote: for each book its entries."""
    found = {book.name: sorted(book.iterdir()) for book in folder.iterdir()}
    return {
        name: [json.loads(entry.read_text(encoding="utf-8")) for entry in entries] for name, entries in found.items()
    }


def test_order_saga(stepwell: Command, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    found = outputs(stepwell("run", "order_saga", "-v", f"folder={shop}", "-v", "amount=12.5", "--json"))
    assert books(shop) == {
        "reservations": [{"order": "A-1001"}],
        "payments": [{"order": "A-1001", "amount": 12.5}],
        "parcels": [{"order": "A-1001", "address": "Harbour Street 1"}],
    }
    assert [path.stem for path in (shop / "payments").iterdir()] == [found["payment"]]


def test_order_saga_is_undone_once_in_reverse(stepwell: Command, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    task = failed(stepwell("run", "order_saga", "-v", f"folder={shop}", "-v", "address=", "--json"))
    assert task["error"]["code"] == "no_address"
    written = books(shop)
    payment, reservation = (next((shop / book).iterdir()).stem for book in ("payments", "reservations"))
    assert written["refunds"] == [{"payment": payment, "reason": "order A-1001 has no address"}]
    assert written["releases"] == [{"reservation": reservation}]
    assert set(written) == {"reservations", "payments", "refunds", "releases"}
    steps = json.loads(stepwell("task", task["task_id"], "--json").stdout)["steps"]
    undone = sorted((one for one in steps if "/compensate/" in one["path"]), key=lambda one: str(one["started_at"]))
    assert [(one["path"].partition("/")[0], one["attempts"]) for one in undone] == [("charge", 1), ("reserve", 1)]
    assert undone[0]["completed_at"] <= undone[1]["started_at"]


# -- waits, events and child tasks, inline and with a worker -----------------------------------------------------------


@pytest.fixture(params=["inline", "queued"])
def serving(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server of the project's workflows that runs tasks itself, or one with a worker."""
    folder = str(ROOT / "workflows")
    if request.param == "inline":
        server = start(tmp_path, {}, INLINE_ASYNC="background", WORKFLOWS_DIR=folder)
        yield server
        server.close()
        return
    with RedisServer(tmp_path / "redis") as redis, cluster(tmp_path, redis, {}, WORKFLOWS_DIR=folder) as made:
        yield made.api


def submitted(server: Server, workflow: str, **variables: Any) -> str:
    """The id of a task that runs in the background."""
    answer = server.post(f"/workflows/{workflow}/execute?async_execute=true", {"variables": variables})
    assert answer.status_code == 202, answer.text
    task_id: str = answer.json()["task_id"]
    return task_id


def outputs_of(server: Server, task_id: str) -> dict[str, Any]:
    """What a task gave, once it has completed."""
    task = server.ended(task_id)
    assert task["status"] == "completed", task["error"]
    found: dict[str, Any] = task["result"]["outputs"]
    return found


def published(server: Server, name: str) -> int:
    """How many events of a name there were."""
    return sum(one["published"] for one in server.get("/events").json()["items"] if one["name"] == name)


@pytest.mark.parametrize(
    ("answer", "decision"),
    [({"approved": True}, "published"), ({"approved": False, "comment": "too long"}, "rejected")],
)
def test_document_approval(serving: Server, answer: dict[str, Any], decision: str) -> None:
    task_id = submitted(serving, "document_approval", title="Prices", text="Tea is 8.90")
    assert serving.post(f"/workflows/tasks/{task_id}/signal/review", {"aproved": True}).status_code == 422
    assert serving.post(f"/workflows/tasks/{task_id}/signal/review", answer).json()["accepted"] is True
    assert outputs_of(serving, task_id) == {"decision": decision, "comment": answer.get("comment", "")}
    assert published(serving, "document.published") == (decision == "published")


def test_document_approval_that_nobody_gives(stepwell: Command) -> None:
    found = outputs(stepwell("run", "document_approval", "-v", "title=Prices", "-v", "patience=1s", "--json"))
    assert found == {"decision": "overdue", "comment": ""}


def texts(folder: Path, count: int) -> int:
    """Write texts of 1, 2, 3 … words; the sum."""
    folder.mkdir()
    for number in range(1, count + 1):
        (folder / f"{number:04}.txt").write_text("word " * number, encoding="utf-8")
    return count * (count + 1) // 2


def test_fan_out_files(stepwell: Command) -> None:
    assert outputs(stepwell("run", "fan_out_files", "--json")) == {"files": 3, "words": 19, "failed": []}


def test_fan_out_files_of_which_a_few_are_no_text(stepwell: Command, tmp_path: Path) -> None:
    words = texts(tmp_path / "texts", 40)
    broken = tmp_path / "texts" / "0040.txt"
    broken.write_bytes(b"\xff\xfe")
    found = outputs(stepwell("run", "fan_out_files", "-v", f"folder={tmp_path}/texts", "--json"))
    assert found == {"files": 40, "words": words - 40, "failed": [str(broken)]}


def test_fan_out_files_of_which_many_are_no_text(stepwell: Command, tmp_path: Path) -> None:
    texts(tmp_path / "texts", 10)
    (tmp_path / "texts" / "0003.txt").write_bytes(b"\xff\xfe")
    task = failed(stepwell("run", "fan_out_files", "-v", f"folder={tmp_path}/texts", "--json"))
    assert (task["error"]["code"], task["error"]["path"]) == ("no_text", "count[2]")


def test_fan_out_files_over_a_thousand(serving: Server, tmp_path: Path) -> None:
    words = texts(tmp_path / "texts", 1000)
    task_id = submitted(serving, "fan_out_files", folder=str(tmp_path / "texts"))
    assert outputs_of(serving, task_id) == {"files": 1000, "words": words, "failed": []}
    children = serving.get(f"/workflows/tasks/{task_id}/children?limit=1000").json()["items"]
    assert [one["index"] for one in children] == list(range(1000))
    assert {one["status"] for one in children} == {"completed"}


Answer = Callable[[str, str, Any], tuple[int, Any]]


@contextmanager
def service(answer: Answer) -> Iterator[str]:
    """A service that answers JSON: `answer` is given method, path and body. Its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, value = answer(self.command, self.path, json.loads(body) if body else None)
            text = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not told."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def jobs() -> Iterator[str]:
    """A service whose jobs are done at the third look, and whose job `bad` fails; its address."""
    looks: Counter[str] = Counter()

    def answer(method: str, path: str, body: object) -> tuple[int, Any]:
        if method == "POST":
            return 201, {"job": path.strip("/")}
        looks[path] += 1
        if looks[path] < 3:
            return (503 if looks[path] == 1 else 200), {"state": "running"}
        return 200, {"state": "failed"} if "bad" in path else {"state": "done", "result": looks[path]}

    with service(answer) as url:
        yield url


def test_poll_job(stepwell: Command, jobs: str) -> None:
    found = outputs(stepwell("run", "poll_job", "-v", f"url={jobs}/good", "-v", "every=10ms", "--json"))
    assert found == {"job": "good", "result": 3}


def test_poll_job_that_fails(stepwell: Command, jobs: str) -> None:
    task = failed(stepwell("run", "poll_job", "-v", f"url={jobs}/bad", "-v", "every=10ms", "--json"))
    assert (task["error"]["code"], task["error"]["message"]) == ("job_failed", "job bad failed")


def test_poll_job_that_takes_too_long(stepwell: Command, jobs: str) -> None:
    given = ("-v", f"url={jobs}/good", "-v", "every=10ms", "-v", "looks=1")
    assert failed(stepwell("run", "poll_job", *given, "--json"))["error"]["code"] == "max_times"


@pytest.mark.parametrize("early", [True, False], ids=["before it waits", "while it waits"])
def test_call_back(serving: Server, early: bool) -> None:
    asked: list[str] = []

    def call_back(where: str) -> None:
        httpx.post(where, json={"pages": 12}, timeout=PATIENCE, trust_env=False).raise_for_status()

    def answer(method: str, path: str, body: Any) -> tuple[int, Any]:
        asked.append(body["call_back"])
        if early:
            call_back(body["call_back"])
        return 202, None

    with service(answer) as url:
        task_id = submitted(serving, "call_back", url=url, api=f"{serving.url}/api")
        if not early:
            eventually(lambda: serving.get(f"/workflows/tasks/{task_id}").json()["status"] == "waiting")
            call_back(asked[0])
        assert outputs_of(serving, task_id) == {"answer": {"pages": 12}}
    assert asked == [f"{serving.url}/api/workflows/tasks/{task_id}/signal/rendered"]


def test_call_back_that_does_not_come(stepwell: Command) -> None:
    with service(lambda *_: (202, None)) as url:
        task = failed(stepwell("run", "call_back", "-v", f"url={url}", "-v", "patience=1s", "--json"))
    assert (task["error"]["code"], task["error"]["step"]) == ("timeout", "rendered")
