"""The application: operations, guards and problems, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

import stepwell
from stepwell.api import execution, files, inside, operations, tasks, workflows
from stepwell.api.draining import Drain
from stepwell.api.guards import HostGuard, SizeGuard
from stepwell.api.openapi import DESCRIPTION, describe, refusals
from stepwell.api.problems import answer_problems
from stepwell.api.requests import known_query
from stepwell.wiring import System

ROUTERS = (operations.router, files.router, tasks.router, inside.router, workflows.router, execution.router)
"""In this order: `/workflows/tasks` and `/workflows/queue` stand before `/workflows/{workflow_id}`."""


def create_app(system: System) -> FastAPI:
    """The API of a system, which it starts and stops."""
    app = FastAPI(
        title="Stepwell",
        version=stepwell.__version__,
        description=DESCRIPTION,
        lifespan=_lifespan,
        responses=refusals("default"),
    )
    app.state.system, app.state.drain = system, Drain(system)
    for router in ROUTERS:
        app.include_router(router, prefix="/api", dependencies=[Depends(known_query)])
        app.include_router(router, include_in_schema=False, dependencies=[Depends(known_query)])
    app.add_api_route("/", _docs, include_in_schema=False)
    answer_problems(app)
    describe(app)
    settings = system.settings
    app.add_middleware(SizeGuard, limit=settings.max_request_bytes, upload_limit=settings.max_upload_bytes)
    app.add_middleware(HostGuard, hosts=(settings.host, *settings.allowed_hosts))
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    system: System = app.state.system
    await run_in_threadpool(system.start)
    yield
    await run_in_threadpool(app.state.drain.wait)
    system.store.close()


async def _docs() -> RedirectResponse:
    return RedirectResponse("/docs")
