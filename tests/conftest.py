"""What all tests share: how hypothesis runs."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# No deadlines: machines are shared. The same examples each time: a red test shall be red again.
settings.register_profile(
    "stepwell", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("stepwell")
