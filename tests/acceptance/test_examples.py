"""Every workflow in `workflows/` is loaded and run, through the real command line."""

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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.serving import PATIENCE, ROOT, environment

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
