"""A small scheduler of coroutines: the steps of one task, each read from top to bottom, driven by one thread.

A fiber awaits a `Promise`; whoever keeps the promise makes the fiber ready again. Nothing here blocks, starts
threads or knows the time: `Fibers.run` returns when every fiber waits for something from outside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar, cast

from stepwell.errors import StepwellError

T = TypeVar("T")


class Promise(Generic[T]):
    """A value that comes later; awaiting it gives the value, or raises the error it was broken with."""

    __slots__ = ("_callbacks", "_error", "_value", "done")

    def __init__(self) -> None:
        self.done = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[], None]] = []

    def keep(self, value: T) -> None:
        """Give the value; a promise that is done already stays as it is."""
        self._settle(value, None)

    def break_(self, error: BaseException) -> None:
        """Give an error instead."""
        self._settle(None, error)

    def when_done(self, callback: Callable[[], None]) -> None:
        """Call this once the promise is done (at once if it is)."""
        if self.done:
            callback()
        else:
            self._callbacks.append(callback)

    def result(self) -> T:
        """The value of a promise that is done, or its error raised."""
        if self._error is not None:
            raise self._error
        return cast(T, self._value)

    def __await__(self) -> Generator[Promise[Any], None, T]:
        if not self.done:
            yield self
        return self.result()

    def _settle(self, value: T | None, error: BaseException | None) -> None:
        if self.done:
            return
        self.done, self._value, self._error = True, value, error
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


class Fibers:
    """The coroutines of one task that can go on."""

    def __init__(self) -> None:
        self._ready: deque[tuple[Coroutine[Promise[Any], None, Any], Promise[Any]]] = deque()

    def spawn(self, coroutine: Coroutine[Promise[Any], None, T]) -> Promise[T]:
        """Have a coroutine run from the next `run` on; the promise is its result."""
        ended: Promise[T] = Promise()
        self._ready.append((coroutine, ended))
        return ended

    @property
    def ready(self) -> bool:
        """Whether some fiber can go on."""
        return bool(self._ready)

    def close(self) -> None:
        """Go on with none of them any more."""
        while self._ready:
            self._ready.popleft()[0].close()

    def run(self) -> None:
        """Let every fiber go on until all of them wait for something from outside."""
        while self._ready:
            self._resume(*self._ready.popleft())

    def _resume(self, coroutine: Coroutine[Promise[Any], None, Any], ended: Promise[Any]) -> None:
        try:
            awaited = coroutine.send(None)
        except StopIteration as stop:
            ended.keep(stop.value)
        except StepwellError as error:  # anything else is a defect of ours and ends the run
            ended.break_(error)
        else:
            awaited.when_done(lambda: self._ready.append((coroutine, ended)))


class Mailbox:
    """Fibers that ended, in the order they did."""

    def __init__(self) -> None:
        self._ended: deque[tuple[int, Promise[Any]]] = deque()
        self._bell: Promise[None] = Promise()

    def expect(self, number: int, fiber: Promise[Any]) -> None:
        """Have this fiber delivered when it ends."""
        fiber.when_done(lambda: self._deliver(number, fiber))

    async def next(self) -> tuple[int, Promise[Any]]:
        """The next one that ended; waits for it."""
        if not self._ended:
            self._bell = Promise()
            await self._bell
        return self._ended.popleft()

    def _deliver(self, number: int, fiber: Promise[Any]) -> None:
        self._ended.append((number, fiber))
        self._bell.keep(None)
