"""The catalog of the settings, with all actions and functions that files may name; without the weight of a store."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import stepwell.actions  # noqa: F401 - importing it registers the actions
from stepwell.actions.call import resolve
from stepwell.loader import Catalog
from stepwell.registry import Action, actions, load_plugins
from stepwell.settings import Settings


def open_catalog(settings: Settings) -> Catalog:
    """The workflows of `WORKFLOWS_DIR`; actions of installed packages are known from here on."""
    load_plugins()
    return Catalog(
        settings.workflows_dir,
        registry=actions,
        resolve_call=lambda target: function(target, settings.workflows_dir),
        expression_env=settings.expression_env,
    )


@lru_cache(maxsize=1000)
def function(target: str, folder: Path) -> Action:
    """The Python function that `call:` names, looked for in the project, in `folder`, and in what is installed."""
    return resolve(target, folder)
