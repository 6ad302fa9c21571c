"""Everything that a caller can ask about tasks."""

from stepwell.service.service import HIDDEN, Service
from stepwell.service.submission import Defaults, Submission

__all__ = ["HIDDEN", "Defaults", "Service", "Submission"]
