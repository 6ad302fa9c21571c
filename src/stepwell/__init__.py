"""Stepwell: durable YAML workflows for Python teams."""

from stepwell.errors import Fail, Stop
from stepwell.listeners import on
from stepwell.ports import Context
from stepwell.registry import action

__all__ = ["Context", "Fail", "Stop", "action", "on"]
__version__ = "0.1.0"
