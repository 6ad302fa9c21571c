"""Task records for tests that need nothing but a record."""

from __future__ import annotations

from stepwell.task import Status, Task


def queued(task_id: str, priority: int = 1, created_at: float = 0.0) -> Task:
    """A task that waits to be run."""
    return Task(
        task_id=task_id,
        workflow_id="w",
        definition="0" * 64,
        status=Status.QUEUED,
        queue="workflow_execute",
        priority=priority,
        variables="{}",
        created_at=created_at,
        updated_at=created_at,
        timeout=60.0,
        max_retries=0,
    )
