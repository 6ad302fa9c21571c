"""Operations for those who run the server."""

from __future__ import annotations

from fastapi import APIRouter

import stepwell
from stepwell.api import answers
from stepwell.api.json_response import Json
from stepwell.api.openapi import refusals
from stepwell.api.problems import without_address
from stepwell.api.requests import Asked
from stepwell.errors import Unavailable

router = APIRouter(tags=["operations"])

AWAY = "Redis is away, and tasks run in this process"
"""All that is told without a key; the log tells where Redis is, and why."""


@router.get("/health", summary="Whether the process lives", response_model=answers.Health)
async def show_health(system: Asked) -> Json:
    """Asks nothing else, so that a store that is away does not get the process restarted; `degraded` tells what this
    process knows to be away, and tasks run here meanwhile."""
    degraded = None if system.away() is None else AWAY
    return Json(answers.Health(status="ok", version=stepwell.__version__, degraded=degraded))


@router.get("/ready", summary="Whether it can take work", response_model=answers.Ready, responses=refusals(503))
def show_ready(system: Asked) -> Json:
    """Asks the store; 503 also while the server stops."""
    if not system.pool.stats()["is_running"]:
        raise Unavailable("this server is stopping", retry_after=5)
    with without_address():
        system.service.ping()
    return Json(answers.Ready(status="ready"))
