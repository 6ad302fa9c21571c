"""What the API tells of the inside of a task, on a real server."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.serving import Server

TOUR = """
variables: {word: {type: string, default: hello}}
steps:
  - {id: say, uses: log, with: {message: "${{ variables.word }} one", level: warning}}
  - id: each
    foreach: {in: [1, 2, 3]}
    output: ${{ item * 10 }}
  - id: report
    run: |
      echo "report" > report.txt
      echo "log line"
    files: [report.txt]
  - {id: not_now, if: false, output: 1}
  - id: big
    output: ${{ range(20000) | list }}
outputs: {each: "${{ steps.each.output }}"}
"""
REPORTING = """
from stepwell import Context


def report(context: Context) -> None:
    context.progress(stage="fetching", message="half of it", filename="a.bin", current_bytes=50, total_bytes=200)
    raise RuntimeError("the line went dead")
"""


@pytest.fixture(scope="module")
def toured(shared: Server) -> dict[str, Any]:
    """A task that has all there is to show."""
    shared.write("tour", TOUR)
    task: dict[str, Any] = shared.post("/workflows/tour/execute").json()
    assert task["status"] == "completed", task
    return task


def of(task: dict[str, Any]) -> str:
    """The task's path."""
    return f"/workflows/tasks/{task['task_id']}"


def pages(shared: Server, path: str, limit: int = 2) -> list[dict[str, Any]]:
    """All items of a list, read so many at a time."""
    found: list[dict[str, Any]] = []
    params: dict[str, str] = {"limit": str(limit)}
    while True:
        page = shared.get(path, params=params).json()
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        params["cursor"] = page["next_cursor"]


def test_steps_in_order_of_the_definition(shared: Server, toured: dict[str, Any]) -> None:
    steps = shared.get(f"{of(toured)}/steps").json()["items"]
    assert [step["path"] for step in steps] == [
        "say",
        "each",
        "each[0]",
        "each[1]",
        "each[2]",
        "report",
        "not_now",
        "big",
    ]
    by_path = {step["path"]: step for step in steps}
    assert (by_path["each"]["output"], by_path["each[1]"]["output"]) == ([10, 20, 30], 20)
    assert (by_path["not_now"]["status"], by_path["not_now"]["output"]) == ("skipped", None)
    assert by_path["big"]["output"] == list(range(20000))
    assert (by_path["say"]["kind"], by_path["say"]["inputs"]["message"]) == ("uses", "hello one")
    [attempt] = by_path["report"]["history"]
    assert (attempt["number"], by_path["report"]["attempts"], attempt["error"]) == (1, 1, None)
    assert pages(shared, f"{of(toured)}/steps") == steps


def test_events_after_one_and_by_pages(shared: Server, toured: dict[str, Any]) -> None:
    events = shared.get(f"{of(toured)}/events?limit=1000").json()["items"]
    assert events[0]["kind"] == "task.created"
    assert events[-1]["kind"] == "task.completed"
    assert [event["id"] for event in events] == sorted({event["id"] for event in events})
    middle = events[4]["id"]
    assert shared.get(f"{of(toured)}/events?after={middle}").json()["items"] == events[5:]
    assert pages(shared, f"{of(toured)}/events") == events
    assert shared.get(f"{of(toured)}/events?after=10000").json() == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("query", [f"after={10**18}", f"cursor={'9' * 19}", f"cursor={'9' * 5000}", "cursor=²"])
def test_events_after_what_can_be_no_event(shared: Server, toured: dict[str, Any], query: str) -> None:
    assert shared.get(f"{of(toured)}/events?{query}").status_code == 422


def test_log_lines(shared: Server, toured: dict[str, Any]) -> None:
    lines = shared.get(f"{of(toured)}/logs").json()["items"]
    assert [(line["path"], line["level"], line["message"]) for line in lines] == [
        ("say", "warning", "hello one"),
        ("report", "info", "log line"),
    ]
    assert shared.get(f"{of(toured)}/logs?after={lines[0]['id']}").json()["items"] == lines[1:]
    assert shared.get(f"{of(toured)}/logs?limit=1").json()["items"] == lines[:1]
    assert pages(shared, f"{of(toured)}/logs") == lines


def test_kept_files_can_be_downloaded(shared: Server, toured: dict[str, Any]) -> None:
    [kept] = pages(shared, f"{of(toured)}/files")
    content = b"report\n"
    assert (kept["step"], kept["path"], kept["size"]) == ("report", "report.txt", len(content))
    assert kept["sha256"] == hashlib.sha256(content).hexdigest()
    answer = shared.client.get(kept["url"])
    assert answer.content == content
    assert answer.headers["content-disposition"] == 'attachment; filename="report.txt"'
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_only_the_tasks_own_files_are_given_out(shared: Server, toured: dict[str, Any]) -> None:
    uploaded = shared.client.post("/files", files={"file": ("secret.txt", b"another task's")}).json()
    assert shared.get(f"{of(toured)}/files/{uploaded['sha256']}").status_code == 404


def test_an_uploaded_file_is_a_variable(shared: Server) -> None:
    shared.write(
        "filed",
        "variables: {file: {type: file, required: true}}\nsteps: [{id: a, output: 1}]\n",
    )
    content = b"x" * 3_000_000
    answer = shared.client.post("/api/files", files={"file": ("däta.bin", content)})
    upload = answer.json()
    sha256 = hashlib.sha256(content).hexdigest()
    assert (answer.status_code, upload) == (201, {"sha256": sha256, "name": "däta.bin", "size": len(content)})
    task = shared.post("/workflows/filed/execute", {"variables": {"file": upload}}).json()
    assert task["result"]["variables"] == {"file": upload}


def test_progress_that_an_action_reported(shared: Server) -> None:
    shared.write("reporting.py", REPORTING)
    shared.write("reports", "steps: [{id: report, call: 'reporting:report'}]\n")
    task = shared.post("/workflows/reports/execute").json()
    progress = shared.get(f"{of(task)}/progress").json()
    assert progress == task["progress"]
    assert progress == {
        "status": "failed",
        "stage": "fetching",
        "progress_percent": 25.0,
        "message": "half of it",
        "filename": "a.bin",
        "current_bytes": 50,
        "total_bytes": 200,
        "speed": 0.0,
        "eta_seconds": 0.0,
        "error": task["error"]["message"],
    }
    assert "the line went dead" in progress["error"]


def test_a_workflow_shown(shared: Server) -> None:
    text = """
name: Shown
variables: {day: {type: date, required: true}}
steps:
  - {id: a, output: 1}
  - parallel:
      - {id: b, output: 1}
      - {id: c, output: 1}
  - id: d
    needs: [a]
    switch: [{if: true, steps: [{id: e, output: 1}]}]
finally: [{id: z, output: 1}]
"""
    shared.write("shown", text)
    shown = shared.get("/workflows/shown").json()
    assert (shown["name"], shown["valid"], shown["source"]) == ("Shown", True, text)
    assert shown["definition"]["steps"][0] == {"id": "a", "output": 1}
    assert shown["variables_schema"]["required"] == ["day"]
    assert [(node["path"], node["parent"], node["block"]) for node in shown["graph"]["nodes"]] == [
        ("a", None, "steps"),
        ("parallel-2", None, "steps"),
        ("parallel-2/b", "parallel-2", "parallel"),
        ("parallel-2/c", "parallel-2", "parallel"),
        ("d", None, "steps"),
        ("d/e", "d", "case 1"),
        ("finally/z", None, "finally"),
    ]
    assert shown["graph"]["edges"] == [{"source": "a", "target": "parallel-2"}, {"source": "a", "target": "d"}]
    assert [one["id"] for one in pages(shared, "/workflows")] == sorted(
        one["id"] for one in shared.get("/workflows").json()["items"]
    )


def test_files_that_share_an_id_are_all_shown(shared: Server) -> None:
    for name in ("same_1", "same_2"):
        shared.write(name, f"id: same\nsteps: [{{id: {name}, uses: lgo}}]\n")
    shown = shared.get("/workflows/same").json()
    assert [Path(problem["file"]).stem for problem in shown["problems"]] == ["same_1", "same_1", "same_2", "same_2"]
    assert {problem["message"].partition(" ")[0] for problem in shown["problems"]} == {"the", "unknown"}
    listed = pages(shared, "/workflows", 1)
    assert [Path(one["file"]).stem for one in listed if one["id"] == "same"] == ["same_1", "same_2"]


IMPORTED = """
from pathlib import Path

Path("imported").touch()
raise SystemExit("this ends the server's thread")
"""


def test_validate_imports_nothing_that_the_text_names(shared: Server) -> None:
    shared.write("posted.py", IMPORTED)
    answer = shared.post("/workflows/validate", {"text": "steps: [{call: 'posted:function', with: {a: 1}}]\n"})
    assert (answer.status_code, answer.json()) == (200, {"valid": True, "problems": []})
    assert not (shared.folder / "imported").exists()


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_validate(shared: Server, form: str) -> None:
    def validated(text: str) -> dict[str, Any]:
        if form == "json":
            answer = shared.post("/workflows/validate", {"text": text})
        else:
            headers = {"Content-Type": "text/yaml"}
            answer = shared.client.post("/workflows/validate", content=text.encode(), headers=headers)
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
        return found

    assert validated("steps: [{id: a, output: 1}]\n") == {"valid": True, "problems": []}
    broken = validated("steps:\n  - {id: a, output: 1}\n  - {id: b, output: ${{ steps.a.output }}}\n")
    assert broken["valid"] is False
    assert broken["problems"][0].keys() == {"message", "file", "line", "column", "source", "corrected"}
    assert broken["problems"][0]["line"] == 3
    assert '"${{ steps.a.output }}"' in broken["problems"][0]["corrected"]


def test_statistics(shared: Server) -> None:
    before = shared.get("/queue/stats").json()
    shared.post("/workflows/hello/execute", {"queue": "knowledge_search"})
    stats = shared.client.get("/workflows/queue/stats").json()
    assert stats["enabled"] is False
    assert stats["queues"].keys() == {"workflow_execute", "chat_process", "knowledge_search"}
    assert stats["total_processed"] == before["total_processed"] + 1
    assert stats["queues"]["knowledge_search"]["queue_length"] == 0
    assert (stats["max_workers"], stats["max_queue_size"], stats["is_running"]) == (3, 100, True)
