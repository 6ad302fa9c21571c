"""Operations for those who run the server."""

from __future__ import annotations

from fastapi import APIRouter

import stepwell
from stepwell.api import answers
from stepwell.api.json_response import Json
from stepwell.api.openapi import refusals
from stepwell.api.requests import Asked
from stepwell.errors import Unavailable

router = APIRouter(tags=["operations"])


@router.get("/queue/stats", summary="Queue statistics (alias)", response_model=answers.Statistics)
@router.get("/workflows/queue/stats", summary="Queue statistics", response_model=answers.Statistics)
def show_statistics(system: Asked) -> Json:
    """Every queue, and the pool of this process; `enabled` tells whether tasks go to workers."""
    return Json(answers.Statistics(**system.service.stats()))


@router.get("/health", summary="Whether the process lives", response_model=answers.Health)
async def show_health() -> Json:
    """Asks nothing else, so that a store that is away does not get the process restarted."""
    return Json(answers.Health(status="ok", version=stepwell.__version__))


@router.get("/ready", summary="Whether it can take work", response_model=answers.Ready, responses=refusals(503))
def show_ready(system: Asked) -> Json:
    """Asks the store; 503 also while the server stops."""
    if not system.pool.stats()["is_running"]:
        raise Unavailable("this server is stopping", retry_after=5)
    system.service.ping()
    return Json(answers.Ready(status="ready"))
