"""One attempt of a step: user code is called here, and here alone its failures become values."""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from stepwell.engine.context import StepContext
from stepwell.engine.threads import is_debugged, raise_in, shared_loop
from stepwell.engine.watchdog import Alarm, Watchdog
from stepwell.errors import Fail, Interrupted, Stop, TaskCancelled, TimeLimitReached
from stepwell.registry import Action
from stepwell.task import Error
from stepwell.values import decode

GRACE = 3.0
"""Seconds that interrupted code has to end before it is abandoned."""

GLANCE = 0.1
"""How often, in seconds, an interactive run looks whether a debugger holds the thread."""


@dataclass
class Outcome:
    """What came of an attempt: the JSON text of its output, or an error, or the wish to end the whole task."""

    output: str = "null"
    error: Error | None = None
    stop: Stop | None = None
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class TimeLimit:
    """How long an attempt may take, and what is said when it took longer."""

    seconds: float
    message: str


class Abandoned(BaseException):
    """Raised in the thread of an attempt that ended after it had been given up: another thread drives the run now."""


class Attempt:
    """One call of an action. `done` is called once, from any thread, when it has ended."""

    def __init__(
        self,
        resolve: Callable[[], Action],
        inputs: str,
        context: StepContext,
        limit: TimeLimit | None,
        done: Callable[[Attempt], None],
        interactive: bool = False,
    ) -> None:
        self.context, self.limit, self.interactive = context, limit, interactive
        self.outcome = Outcome()
        self.abandoned = False
        self._resolve, self._inputs, self._done = resolve, inputs, done
        self._lock = threading.Lock()
        self._ended = self._arrived = False
        self._action: Action
        self._thread: int | None = None
        self._future: Any = None
        self._interrupt: type[Interrupted] | None = None
        self._alarm: Alarm | None = None

    @property
    def is_async(self) -> bool:
        """Whether it runs on the shared loop; known once it is prepared."""
        return self._action.is_async

    def prepare(self) -> bool:
        """Find the action, which may import a module; if there is none the attempt has ended, and this is False."""
        with self._failures_become_values():
            self._action = self._resolve()
            return True
        self._end()
        return False

    def call(self) -> None:
        """Run a synchronous action in this thread, to its end. Raises `Abandoned` if it was given up meanwhile."""
        with self._failures_become_values():
            try:
                self._enter_user_code()
                self._keep(self._action.function(**self._arguments()))
            except Interrupted:
                self._arrived = True
                raise
            finally:
                self._leave_user_code()
        self._end()
        if self.abandoned:
            raise Abandoned

    def start(self) -> None:
        """Run an asynchronous action on the shared loop."""
        with self._lock:
            self._future = asyncio.run_coroutine_threadsafe(self._call_async(), shared_loop())

    def watch(self, watchdog: Watchdog) -> None:
        """Enforce the time limit. While a debugger holds the thread of an interactive run, its time stands still."""
        if self.limit is not None:
            self._tick(watchdog, self.limit.seconds, 0.0)

    def interrupt(self, error: type[Interrupted], watchdog: Watchdog) -> None:
        """Have the action end: raise `error` into it; if it does not yield, abandon it after `GRACE` seconds."""
        with self._lock:
            if self._ended or self._interrupt:
                return
            self._interrupt = error
            self.context.cancel()
            if self._future is not None:
                self._future.cancel()
            elif self._thread is not None:
                raise_in(self._thread, error)
        self._alarm = watchdog.after(GRACE, self._abandon)

    async def _call_async(self) -> None:
        with self._failures_become_values():
            try:
                if self._interrupt is not None:
                    raise self._interrupt
                self._keep(await self._action.function(**self._arguments()))
            except asyncio.CancelledError:
                raise (self._interrupt or TaskCancelled) from None
        self._end()

    def _arguments(self) -> dict[str, Any]:
        arguments = self._action.bind(decode(self._inputs))
        self.context.restore_files()
        return {**arguments, "context": self.context} if self._action.wants_context else arguments

    def _keep(self, value: object) -> None:
        self.outcome.output = self.context.encode(value, "the output")
        self.outcome.files = self.context.collect_files()

    @contextmanager
    def _failures_become_values(self) -> Iterator[None]:
        try:
            yield
        except Stop as stop:
            self.outcome = Outcome(stop=stop)
        except Fail as fail:
            self.outcome = Outcome(error=self._error(fail.code, fail.message, fail.retryable, fail))
        except TimeLimitReached:
            self.outcome = Outcome(error=self._time_error())
        except (TaskCancelled, KeyboardInterrupt):
            self.outcome = Outcome(error=self._error("cancelled", "it was interrupted", False))
        except BaseException as error:  # noqa: BLE001 - the one place where failures become values
            message = f"{type(error).__name__}: {error}"
            self.outcome = Outcome(error=self._error("step_failed", message, True, error))

    def _error(self, code: str, message: str, retryable: bool, cause: BaseException | None = None) -> Error:
        shown = "" if cause is None or isinstance(cause, Fail) else "".join(traceback.format_exception(cause))
        return Error(
            code=code,
            message=self.context.mask(message),
            step=self.context.step_id,
            path=self.context.path,
            attempt=self.context.attempt,
            retryable=retryable,
            status=getattr(cause, "status", None) if isinstance(cause, Fail) else None,
            retry_after=getattr(cause, "retry_after", None) if isinstance(cause, Fail) else None,
            traceback=self.context.mask(shown) or None,
        )

    def _time_error(self) -> Error:
        return self._error("timeout", self.limit.message if self.limit else "its time was over", True)

    def _enter_user_code(self) -> None:
        """From here on an interrupt is raised into this thread; one that came before is raised now."""
        with self._lock:
            self._thread = threading.get_ident()
            if self._interrupt is not None:
                raise self._interrupt

    def _leave_user_code(self) -> None:
        """From here on no interrupt is raised into this thread; one that is on its way is awaited."""
        with self._lock:
            self._thread = None
            coming = self._interrupt is not None and not self._arrived
        while coming:
            time.sleep(0.001)  # ended by the exception, which arrives at one of the next instructions

    def _end(self) -> None:
        self.context.close()
        with self._lock:
            if self._ended:
                return
            self._ended = True
        if self._alarm is not None:
            self._alarm.cancel()
        self._done(self)

    def _abandon(self) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = self.abandoned = True
            late = self._interrupt is TimeLimitReached
        self.outcome = Outcome(
            error=self._time_error() if late else self._error("cancelled", "it was abandoned", False)
        )
        self._done(self)

    def _tick(self, watchdog: Watchdog, left: float, counted: float) -> None:
        """Count down the limit: in one go, or in glances when a debugger may stop the clock."""
        thread = self._thread
        if not (self.interactive and counted and thread is not None and is_debugged(thread)):
            left -= counted
        if left <= 0:
            self.interrupt(TimeLimitReached, watchdog)
            return
        pause = min(left, GLANCE) if self.interactive else left
        self._alarm = watchdog.after(pause, lambda: self._tick(watchdog, left, pause))
