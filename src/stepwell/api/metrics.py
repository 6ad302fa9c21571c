"""`GET /metrics`: what Prometheus reads, gathered from the store when it asks."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import PlainTextResponse, Response

from stepwell.errors import Unavailable
from stepwell.wiring import System

log = logging.getLogger(__name__)

router = APIRouter(tags=["operations"])

ENDINGS = ("completed", "failed", "cancelled")
STATES = {"queue_length": "queued", "running": "running", "delayed": "pending", "waiting": "waiting"}


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=PlainTextResponse,
    response_description="In Prometheus' text format.",
)
def show_metrics(request: Request) -> Response:
    """Counts come from the store, so every server of one deployment tells the same; ask only one of them."""
    registry: CollectorRegistry = request.app.state.metrics
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def registry_of(system: System) -> CollectorRegistry:
    """What `/metrics` of a system tells."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_OfSystem(system))
    return registry


class _OfSystem(Collector):
    """Reads the statistics once for each scrape."""

    def __init__(self, system: System) -> None:
        self._system = system

    def describe(self) -> Iterable[Metric]:
        """Nothing is read before the first scrape."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics; without those of a store that does not answer."""
        yield from _of_process(self._system)
        try:
            stats, workers = self._system.operations.stats(), self._system.operations.workers()
        except Unavailable as error:
            log.warning("metrics lack what the store would tell: %s", error)
            yield GaugeMetricFamily("stepwell_store_up", "Whether the store answers.", value=0)
            return
        yield GaugeMetricFamily("stepwell_store_up", "Whether the store answers.", value=1)
        yield from _of_queues(stats["queues"])
        yield GaugeMetricFamily("stepwell_workers", "Workers that are alive.", value=len(workers))
        states = Counter(horse.state for worker in workers for horse in worker.horses)
        yield _family("stepwell_work_horses", "Work-horses by state.", ["state"], [((s,), states[s]) for s in states])


def _of_process(system: System) -> Iterator[Metric]:
    pool = system.pool.stats()
    away = 0 if system.away() is None else 1
    yield GaugeMetricFamily("stepwell_degraded", "Whether tasks run in this process instead of workers.", value=away)
    name, help_ = "stepwell_diverted_tasks", "Tasks that ran in this process because no worker could be rung for."
    yield CounterMetricFamily(name, help_, value=system.diverted())
    yield GaugeMetricFamily("stepwell_inline_running", "Tasks that run here.", value=pool["current_processing"])
    yield GaugeMetricFamily("stepwell_inline_waiting", "Tasks that wait here.", value=pool["queue_size"])


def _of_queues(queues: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    def gauge(name: str, help_: str, value: Callable[[Mapping[str, Any]], float]) -> GaugeMetricFamily:
        return _family(name, help_, ["queue"], [((queue,), value(stats)) for queue, stats in queues.items()])

    yield _family(
        "stepwell_tasks",
        "Tasks by state.",
        ["queue", "status"],
        [((queue, state), stats[name]) for queue, stats in queues.items() for name, state in STATES.items()],
    )
    yield _family(
        "stepwell_queued_tasks",
        "Queued tasks by priority.",
        ["queue", "priority"],
        [((queue, level), count) for queue, stats in queues.items() for level, count in stats["by_priority"].items()],
    )
    yield gauge("stepwell_dead_letters", "Dead letters.", lambda stats: stats["dead_letters"])
    help_ = "Age of the oldest queued task, 0 without one."
    yield gauge("stepwell_oldest_queued_seconds", help_, lambda stats: stats["oldest_seconds"] or 0)
    yield gauge("stepwell_queue_paused", "Whether a queue is paused.", lambda stats: float(stats["paused"]))
    yield from _totals(queues)


def _totals(queues: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    for name, help_ in (
        ("created", "Tasks that were created."),
        ("timeout", "Tasks that failed by their time limit."),
        ("retried", "Retries of whole tasks."),
    ):
        family = CounterMetricFamily(f"stepwell_tasks_{name}", help_, labels=["queue"])
        for queue, stats in queues.items():
            family.add_metric([queue], stats[f"total_{name}"])
        yield family
    ended = CounterMetricFamily("stepwell_tasks_ended", "Tasks that ended.", labels=["queue", "status"])
    for queue, stats in queues.items():
        for ending in ENDINGS:
            ended.add_metric([queue, ending], stats[f"total_{ending}"])
    yield ended


def _family(
    name: str, help_: str, labels: list[str], values: Iterable[tuple[tuple[str, ...], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_, labels=labels)
    for labelled, value in values:
        family.add_metric(list(labelled), value)
    return family
