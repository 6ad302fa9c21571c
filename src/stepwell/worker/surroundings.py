"""What a step can change for all tasks after it in the same process, and nobody expects to last."""

from __future__ import annotations

import os
import signal
import threading

from stepwell.worker.forking import QUIET


class Surroundings:
    """The current folder and the handlers of the signals that a worker uses, as they were when this was made.

    The environment is left as steps leave it: modules set it when they are imported, which they are only once.
    """

    def __init__(self) -> None:
        self._folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)  # not its name, which a deployment may give away
        self._handlers = {number: signal.getsignal(number) for number in QUIET}

    def restore(self) -> None:
        """Put them back; handlers only in the main thread, as no other can change them."""
        os.fchdir(self._folder)
        if threading.current_thread() is not threading.main_thread():
            return
        for number, handler in self._handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
