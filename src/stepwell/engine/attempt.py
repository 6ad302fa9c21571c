"""One attempt of a step: user code is called here, and here alone its failures become values."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from stepwell.engine.context import StepContext
from stepwell.engine.forks import forks_end_here
from stepwell.engine.threads import forget_raised, is_debugged, raise_in, shared_loop
from stepwell.engine.watchdog import Alarm, Watchdog
from stepwell.errors import Fail, Interrupted, NotFound, Stop, TaskCancelled, TimeLimitReached
from stepwell.logs import bound
from stepwell.registry import Action
from stepwell.task import Error
from stepwell.values import decode

GRACE = 3.0
"""Seconds that interrupted code has to end before it is abandoned."""

GLANCE = 0.1
"""How often, in seconds, an interactive run looks whether a debugger holds the thread."""

LONGEST_MESSAGE, LONGEST_TRACEBACK = 10_000, 20_000
"""Characters that are kept of an error's message, and of the end of its traceback."""

LONGEST_WISH = 3600.0
"""Seconds that a remote side may ask us to wait at most."""


@dataclass
class Outcome:
    """What came of an attempt: the JSON text of its output, or an error, or the wish to end the whole task.

    `interrupted`: it was ended from outside, which is no failure of its own.
    """

    output: str = "null"
    error: Error | None = None
    stop: Stop | None = None
    interrupted: bool = False
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class TimeLimit:
    """How long an attempt may take, and what is said when it took longer; `own`: it is not that of something around."""

    seconds: float
    message: str
    own: bool


class Attempt:
    """One call of an action. `done` is called once, from any thread, when it has ended or was abandoned.

    `known` is false once it turned out that this process cannot find the action.
    """

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
        self.abandoned, self.known = False, True
        self._resolve, self._inputs, self._done = resolve, inputs, done
        self._lock = threading.Lock()
        self._ended = False
        self._action: Action
        self._thread: int | None = None
        self._future: Future[None] | None = None
        self._interrupt: type[Interrupted] | None = None
        self._alarm: Alarm | None = None

    @property
    def ended(self) -> bool:
        """Whether it has ended, or was abandoned."""
        return self._ended

    @property
    def is_async(self) -> bool:
        """Whether it runs on the shared loop; known once it is prepared."""
        return self._action.is_async

    def prepare(self) -> bool:
        """Find the action, which may import a module; if there is none the attempt has ended, and this is False."""
        with self._failures_become_values(), self._user_code():
            self._action = self._resolved()
            return True
        self._end()
        return False

    def call(self) -> None:
        """Run a synchronous action in this thread, to its end."""
        with self._bound(), self._failures_become_values(), self._user_code(), forks_end_here():
            self._keep(self._action.function(**self._arguments()))
        self._end()

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
            self._set_alarm(watchdog.after(GRACE, self._abandon))

    async def _call_async(self) -> None:
        """As `call`; whatever touches files is kept off the loop, which all async actions share."""
        with self._bound(), self._failures_become_values():
            try:
                self._raise_interrupt()
                arguments = await self._off_loop(self._arguments)
                value = await self._action.function(**arguments)
                await self._off_loop(lambda: self._keep(value))
            except asyncio.CancelledError:
                self._raise_interrupt()
                raise
        try:
            await self._off_loop(self.context.close)
        finally:
            self._end()

    async def _off_loop(self, function: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(function) if self.context.touches_files else function()

    def _resolved(self) -> Action:
        try:
            return self._resolve()
        except NotFound:
            self.known = False
            raise
        except Fail as fail:  # a module that is there and broken is broken everywhere
            self.known = fail.code != "not_found"
            raise

    def _arguments(self) -> dict[str, Any]:
        arguments = self._action.bind(decode(self._inputs))
        self.context.restore_files()
        return {**arguments, "context": self.context} if self._action.wants_context else arguments

    def _keep(self, value: object) -> None:
        self.outcome.output = self.context.encode(value, "the output")
        self.outcome.files = self.context.collect_files()

    def _bound(self) -> AbstractContextManager[None]:
        """Inside, log lines name the step, also those of libraries that the action uses."""
        return bound(task_id=self.context.task_id, step=self.context.path)

    @contextmanager
    def _failures_become_values(self) -> Iterator[None]:
        try:
            yield
        except Stop as stop:
            self.outcome = Outcome(stop=Stop(self.context.mask(stop.message), status=stop.status))
        except Fail as fail:
            self.outcome = Outcome(error=self._failed(fail))
        except TimeLimitReached:
            self.outcome = Outcome(error=self._late())
        except (TaskCancelled, KeyboardInterrupt):
            self.outcome = self._cancelled("it was interrupted")
        except BaseException as error:  # noqa: BLE001 - the one place where failures become values
            shown = "".join(traceback.format_exception(error))
            self.outcome = Outcome(error=self._error("step_failed", f"{type(error).__name__}: {error}", True, shown))

    def _failed(self, fail: Fail) -> Error:
        error = self._error(fail.code, fail.message, fail.retryable)
        wish = None if fail.retry_after is None else min(fail.retry_after, LONGEST_WISH)
        return replace(error, status=fail.status, retry_after=wish)

    def _late(self) -> Error:
        if self.limit is None:
            return self._error("timeout", "its time was over", True)
        return self._error("timeout", self.limit.message, self.limit.own)

    def _cancelled(self, message: str) -> Outcome:
        return Outcome(error=self._error("cancelled", message, False), interrupted=True)

    def _error(self, code: str, message: str, retryable: bool, shown: str = "") -> Error:
        mask = self.context.mask
        return Error(
            code=mask(code),
            message=mask(message)[:LONGEST_MESSAGE],
            step=self.context.step_id,
            path=self.context.path,
            attempt=self.context.attempt,
            retryable=retryable,
            traceback=mask(shown)[-LONGEST_TRACEBACK:] or None,
        )

    @contextmanager
    def _user_code(self) -> Iterator[None]:
        """Inside, an interrupt is raised into this thread; at the end one that has not arrived yet is taken back."""
        try:
            with self._lock:
                self._thread = threading.get_ident()
            self._raise_interrupt()
            yield
        finally:
            with self._lock:
                self._thread = None
                raised = self._interrupt is not None
            if raised:
                forget_raised()

    def _raise_interrupt(self) -> None:
        if self._interrupt is not None:
            raise self._interrupt

    def _end(self) -> None:
        self.context.close()
        with self._lock:
            if self._ended:
                return
            self._ended = True
            self._set_alarm(None)
        self._done(self)

    def _abandon(self) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = self.abandoned = True
            late = self._interrupt is TimeLimitReached
        self.outcome = Outcome(error=self._late()) if late else self._cancelled("it was abandoned")
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
        with self._lock:
            if not self._ended and not self._interrupt:
                self._set_alarm(watchdog.after(pause, lambda: self._tick(watchdog, left, pause)))

    def _set_alarm(self, alarm: Alarm | None) -> None:
        """Only one alarm at a time: an old one would keep the whole run in memory until it is due."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = alarm
