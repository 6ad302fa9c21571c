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


@router.get("/health", summary="Whether the process lives", response_model=answers.Health)
async def show_health(system: Asked) -> Json:
    """Asks nothing else, so that a store that is away does not get the process restarted; `degraded` tells what this
    process knows to be away, and tasks run here meanwhile."""
    return Json(answers.Health(status="ok", version=stepwell.__version__, degraded=system.away()))


@router.get("/ready", summary="Whether it can take work", response_model=answers.Ready, responses=refusals(503))
def show_ready(system: Asked) -> Json:
    """Asks the store; 503 also while the server stops."""
    if not system.pool.stats()["is_running"]:
        raise Unavailable("this server is stopping", retry_after=5)
    system.service.ping()
    return Json(answers.Ready(status="ready"))
