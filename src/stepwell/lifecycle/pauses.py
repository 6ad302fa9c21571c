"""How long to pause before a retry."""

from __future__ import annotations

from tenacity import RetryCallState, Retrying, wait_exponential

TASK_RETRY_DELAY = 2.0
TASK_RETRY_BACKOFF = 2.0
TASK_RETRY_MAX_DELAY = 300.0
"""The pauses before the retries of a whole task, in seconds: 2, 4, 8, …, 300."""


def pause_before(
    retry_number: int, delay: float, backoff: float, max_delay: float, jitter_random: float | None
) -> float:
    """Seconds to wait before a retry (counted from 1): `delay * backoff ** (retry_number - 1)`, at most `max_delay`.

    `jitter_random`, from 0 to 1, spreads it over its upper half; None leaves it exact.
    """
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = retry_number
    pause = wait_exponential(multiplier=delay, exp_base=backoff, max=max_delay)(state)
    return pause if jitter_random is None else pause * (1 + jitter_random) / 2
