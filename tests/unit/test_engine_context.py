"""What actions are given: context, logs, progress, secrets; and what is hidden of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.engine_harness import Harness, use

from stepwell.ports import Context
from stepwell.task import Status


def test_the_context_tells_where_it_is(harness: Harness) -> None:
    seen: list[Any] = []

    def look(context: Context) -> None:
        seen.append((context.step_id, context.path, context.attempt, context.idempotency_key, context.cancelled))

    use("look", look)
    task = harness.run("steps: [{id: each, foreach: [1, 2], uses: look}]")
    assert seen == [
        ("each", "each[0]", 1, f"{task.task_id}/each[0]", False),
        ("each", "each[1]", 1, f"{task.task_id}/each[1]", False),
    ]


def test_each_attempt_has_a_work_folder_that_is_gone_afterwards(harness: Harness) -> None:
    folders: list[Path] = []

    def work(context: Context) -> None:
        (context.work_folder / "x").write_text("x", encoding="utf-8")
        folders.append(context.work_folder)
        if len(folders) == 1:
            raise RuntimeError("again")

    use("work", work)
    assert harness.run("steps: [{uses: work, retry: 1}]").status is Status.COMPLETED
    assert len(set(folders)) == 2
    assert not any(folder.exists() for folder in folders)


def test_log_lines_become_events_of_the_task(harness: Harness) -> None:
    def talk(context: Context) -> None:
        context.logger.info("%d rows", 3)
        context.logger.warning("slow")

    use("talk", talk)
    task = harness.run("steps: [{id: a, uses: talk}, {uses: log, with: {message: done, level: error}}]")
    lines = [event for event in harness.store.events(task.task_id) if event.kind == "log"]
    assert [(line.path, line.data["level"], line.data["message"]) for line in lines] == [
        ("a", "info", "3 rows"),
        ("a", "warning", "slow"),
        ("uses-2", "error", "done"),
    ]


def test_progress_is_kept_in_the_record(harness: Harness) -> None:
    def load(context: Context) -> None:
        context.progress(filename="a.bin", current_bytes=50, total_bytes=200)
        context.progress(stage="unpack", message="half way", percent=50)

    use("load", load)
    task = harness.run("steps: [{uses: load}]")
    assert task.progress is not None
    assert {key: task.progress[key] for key in ("filename", "total_bytes", "stage", "progress_percent")} == {
        "filename": "a.bin",
        "total_bytes": 200,
        "stage": "unpack",
        "progress_percent": 50,
    }


def test_events_tell_the_story_in_order(harness: Harness) -> None:
    task = harness.run("steps: [{id: a, output: 1}, {id: b, uses: log, with: {message: hi}}]")
    told = [(event.kind, event.path) for event in harness.store.events(task.task_id)]
    assert told == [
        ("task.created", None),
        ("task.queued", None),
        ("task.started", None),
        ("step.completed", "a"),
        ("step.started", "b"),
        ("step.completed", "b"),
        ("log", "b"),
        ("task.completed", None),
    ]


@pytest.mark.parametrize("secret", ["s3cr3t-value", 'quo"ted\\secret'])
def test_secrets_reach_the_action_and_nothing_else(tmp_path: Path, secret: str) -> None:
    harness = Harness(tmp_path, secrets={"TOKEN": secret})
    got: list[str] = []

    def use_it(token: str, context: Context) -> dict[str, str]:
        got.extend([token, context.secrets["TOKEN"]])
        context.logger.info("token is %s", token)
        return {"echo": f"Bearer {token}"}

    def leak(token: str) -> None:
        raise RuntimeError(f"bad token {token}")

    use("use_it", use_it)
    use("leak", leak)
    task = harness.run(
        """
        secrets: [TOKEN]
        steps:
          - {id: a, uses: use_it, with: {token: "${{ secrets.TOKEN }}"}}
          - {id: b, uses: leak, with: {token: "${{ secrets.TOKEN }}"}}
        """
    )
    assert got == [secret, secret]
    assert harness.output(task, "a") == {"echo": "Bearer ***"}
    kept = repr((task, harness.steps(task), harness.store.events(task.task_id)))
    assert secret not in kept
    assert secret.replace("\\", "\\\\") not in kept
    assert "***" in (task.error.message if task.error else "")


def test_a_secret_that_is_not_listed_cannot_be_read(tmp_path: Path) -> None:
    harness = Harness(tmp_path, secrets={"TOKEN": "s3cr3t-value", "OTHER": "other-value"})
    task = harness.run("{secrets: [TOKEN], steps: [{id: a, output: '${{ secrets.OTHER }}'}]}")
    assert task.error is not None
    assert "secrets.OTHER" in task.error.message


def test_inputs_are_shown_in_the_record(harness: Harness) -> None:
    use("take", lambda data: data and None)
    task = harness.run(
        "steps: [{id: a, uses: take, with: {data: [1, 2]}}, {id: b, uses: take, with: {data: '${{ [0] * 99999 }}'}}]"
    )
    steps = harness.steps(task)
    assert steps["a"].inputs == '{"data":[1,2]}'
    assert steps["b"].inputs is not None
    assert steps["b"].inputs.startswith('{"size":')


def test_the_names_of_the_task_are_there(harness: Harness) -> None:
    task = harness.run(
        "steps: [{id: a, output: ['${{ task.id }}', '${{ task.workflow }}', '${{ task.attempt }}', '${{ env.HOME }}']}]"
    )
    assert harness.output(task, "a") == [task.task_id, "test", 1, "/home/ada"]


def test_a_task_whose_format_is_newer_is_handed_back(harness: Harness) -> None:
    from dataclasses import replace

    created = harness.create("steps: [{output: 1}]")
    entry = harness.store._entries[created.task_id]
    entry.task = replace(entry.task, format=99)
    assert harness.once(created.task_id) is None
    assert harness.store.get(created.task_id).status is Status.QUEUED


def test_progress_that_is_not_json_fails_only_the_step(harness: Harness) -> None:
    def work(context: Context) -> None:
        context.progress(stage=object())  # type: ignore[arg-type]

    use("work", work)
    task = harness.run("steps: [{id: a, uses: work, on_error: continue}, {id: b, output: 1}]")
    assert harness.statuses(task) == {"a": "failed", "b": "completed"}


def test_progress_and_tracebacks_in_the_log_are_masked(tmp_path: Path) -> None:
    harness = Harness(tmp_path, secrets={"TOKEN": "s3cr3t-value"})

    def work(token: str, context: Context) -> None:
        context.progress(stage=f"with {token}", filename=token)
        try:
            raise ValueError(token)
        except ValueError:
            context.logger.exception("failed with %s", token)
        context.logger.info("%(a)s is %(b)d", {"a": token, "b": 1})
        context.logger.info("wrong %d", "format")

    use("work", work)
    text = "{secrets: [TOKEN], steps: [{id: a, uses: work, with: {token: '${{ secrets.TOKEN }}'}}]}"
    task = harness.run(text)
    assert task.status is Status.COMPLETED
    assert task.progress is not None
    assert (task.progress["stage"], task.progress["filename"]) == ("with ***", "***")
    first, second, third = harness.logs(task)
    assert first.startswith("failed with ***\nTraceback")
    assert "ValueError: ***" in first
    assert second == "*** is 1"
    assert "wrong" in third
