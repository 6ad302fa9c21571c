"""The one place where parts meet: `build(settings)` gives the whole system."""

from stepwell.wiring.engines import EngineParts, make_engine
from stepwell.wiring.system import System, build

__all__ = ["EngineParts", "System", "build", "make_engine"]
