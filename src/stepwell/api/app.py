"""The application: operations, guards and problems, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

import stepwell
from stepwell.api import audit, events, execution, files, inside, metrics, operations, queues, tasks, workflows
from stepwell.api.access import Gate
from stepwell.api.draining import Drain
from stepwell.api.guards import HostGuard, SizeGuard
from stepwell.api.openapi import DESCRIPTION, describe, refusals
from stepwell.api.problems import answer_problems
from stepwell.api.requests import known_query
from stepwell.api_keys import Keyring
from stepwell.settings import Settings
from stepwell.wiring import System

ROUTERS = (
    operations.router,
    metrics.router,
    queues.router,
    audit.router,
    events.router,
    files.router,
    tasks.router,
    inside.router,
    workflows.router,
    execution.router,
)
"""In this order: `/workflows/tasks` and `/workflows/queue` stand before `/workflows/{workflow_id}`."""


def create_app(system: System) -> FastAPI:
    """The API of a system, which it starts and stops. Raises `SettingsError` for wrong `API_KEYS`."""
    settings = system.settings
    keyring = Keyring(settings.api_keys)
    app = FastAPI(
        title="Stepwell",
        version=stepwell.__version__,
        description=DESCRIPTION,
        lifespan=_lifespan,
        responses=refusals("default"),
    )
    app.state.system, app.state.drain = system, Drain(system)
    app.state.metrics = metrics.registry_of(system)
    for router in ROUTERS:
        app.include_router(router, prefix="/api", dependencies=[Depends(known_query)])
        app.include_router(router, include_in_schema=False, dependencies=[Depends(known_query)])
    app.add_api_route("/", _docs, include_in_schema=False)
    answer_problems(app)
    describe(app)
    app.add_middleware(SizeGuard, limit=settings.max_request_bytes, upload_limit=settings.max_upload_bytes)
    app.add_middleware(Gate, keyring=keyring, store=system.store, public_stats=settings.public_stats)
    app.add_middleware(HostGuard, hosts=_hosts(settings))
    return app


def _hosts(settings: Settings) -> tuple[str, ...]:
    """The names that the API answers to: any, where every caller needs a key and none are listed.

    A page that had its own name resolve to this server has no key, so all it can read is what is public.
    """
    if settings.api_keys and not settings.allowed_hosts:
        return ("*",)
    return (settings.host, *settings.allowed_hosts)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    system: System = app.state.system
    await run_in_threadpool(system.start)
    yield
    await run_in_threadpool(app.state.drain.wait)
    system.close()


async def _docs() -> RedirectResponse:
    return RedirectResponse("/docs")
