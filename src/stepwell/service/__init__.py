"""Everything that a caller can ask about tasks."""

from stepwell.service.service import HIDDEN, Service
from stepwell.service.signals import Signalled
from stepwell.service.submission import Amendment, Defaults, Submission
from stepwell.service.triggers import Triggers

__all__ = ["HIDDEN", "Amendment", "Defaults", "Service", "Signalled", "Submission", "Triggers"]
