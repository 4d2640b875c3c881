"""The threads that WSGI requests run in: several, or the process's main thread alone.

`concurrent.futures.ThreadPoolExecutor` does the same as `Threads` for anybody: a future for each call, and five locks
on its way. That costs a trivial request as much as its parsing does, so this is what is left of it if nobody asks for a
result.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Protocol

from supervisor.workers.complaints import Complaints

Work = Callable[[], object]


class Runner(Protocol):
    """Where work can be done, each piece of it in a context of its own (`contextvars`).

    Work that raises is called again until it returns: what is thrown into it at any point, by a signal handler of the
    application's, must not keep it from telling that it is over. So it has to know how far it has come.
    """

    def run(self, work: Work) -> None:
        """Have ``work`` called, when a thread is free. To be called by the event loop only.

        Raises `RuntimeError` if there is no thread, and none can be started; the work is then forgotten.
        """


class Threads:
    """A `Runner` of at most ``most`` threads, started when they are needed. They end with the process."""

    def __init__(self, most: int, log: logging.Logger) -> None:
        self.most = most
        self._log = log
        self._complaints = Complaints(log)
        self._work: SimpleQueue[Work] = SimpleQueue()
        self._started = 0
        # One entry for each thread that has come to the end of its work and was not counted on since.
        self._idle: deque[None] = deque()

    def run(self, work: Work) -> None:
        self._work.put(partial(contextvars.copy_context().run, work))
        try:
            self._idle.pop()
        except IndexError:
            if self._started < self.most:
                self._start()

    def _start(self) -> None:
        try:
            threading.Thread(target=self._serve, name=f"wsgi-{self._started + 1}", daemon=True).start()
        except RuntimeError as error:  # the system has none left (pthread_create(3), EAGAIN)
            if not self._started:
                self._work.get_nowait()
                raise
            self._complaints.warning("a request waits for one of %d of %d threads: %s", self._started, self.most, error)
        else:
            self._started += 1

    def _serve(self) -> None:
        work, rest = self._work, self._idle.append
        while True:
            _finish(work.get(), self._log)
            if work.empty():
                rest(None)


def _finish(work: Work, log: logging.Logger) -> None:
    while True:
        try:
            work()
            return
        except BaseException:
            log.exception("a thread was interrupted at the end of a request; going on")


class MainThread:
    """A `Runner` of the main thread, in which gunicorn's ``sync`` runs an application too.

    Timeouts by SIGALRM, `signal.signal` and an event loop of one's own work nowhere else. Signals are handled here as
    well, so the wait for work must end for them: it is a read from a pipe that they write to (`signal.set_wakeup_fd`).
    """

    def __init__(self, log: logging.Logger) -> None:
        self.ended = threading.Event()
        self._log = log
        self._work: deque[Work] = deque()
        self._closed = False
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)

    def run(self, work: Work) -> None:
        self._work.append(work)
        self._wake()

    def serve(self) -> None:
        """Do what there is to do, until `close` is called, and all that was given before it is done.

        To be called in the main thread.
        """
        while True:
            try:
                self._serve()
                self.ended.set()
                return
            except BaseException:  # noqa: BLE001 - SystemExit as well: it is not for the worker
                self._log.exception("a signal handler of the application has raised between two requests; going on")

    def _serve(self) -> None:
        while not self._closed or self._work:
            # Each time anew: an event loop that the application ran here may have taken it away.
            signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            if not self._work:
                os.read(self._read, 4096)
            while self._work:
                contextvars.copy_context().run(self._work[0])
                self._work.popleft()

    def close(self) -> None:
        """There will be no more work."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # whoever reads will be woken by what is in the pipe already
            os.write(self._write, b"\0")
