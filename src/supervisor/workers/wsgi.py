"""How a worker serves a WSGI application: which of gunicorn's two ways, and what follows from that for the rest of it.

==========================  ==================================  =======================================
                            as gunicorn's ``sync``              as gunicorn's ``gthread``
==========================  ==================================  =======================================
when                        ``threads`` is 1                    more threads, or ``worker_class`` says so
requests at the same time   1                                   ``threads``
the application runs in     the main thread                     threads of its own
the event loop runs in      a thread of its own                 the main thread
``timeout``                 bounds each request                 does not: the event loop goes on
connections                 closed after a response             kept for ``keepalive`` seconds
==========================  ==================================  =======================================

A thread that hangs is all that a worker of the first kind has: its heartbeat stops, so that it is reported, aborted and
replaced, as people expect of gunicorn. In a worker of the second kind others go on, and requests may take their time.
Where there is one thread, a connection that is kept would bind its client to it, however long that thread is busy.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from types import FrameType
from typing import Any, ClassVar, Final

from supervisor.errors import BootError
from supervisor.workers.base import Stop
from supervisor.workers.environ import EnvironMaker
from supervisor.workers.gateway import Gateway
from supervisor.workers.interface import is_async
from supervisor.workers.journal import Exchange
from supervisor.workers.reqhooks import RequestHooks
from supervisor.workers.streams import ErrorLog
from supervisor.workers.threads import MainThread
from supervisor.workers.uvicorn import UvicornWorker

LAST_HOOKS: Final = 0.5
"""Seconds in which calls of ``post_request`` come to their end when the worker does."""

STOPS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT)
"""Signals that end a worker."""

OWN_FAULTS: Final = {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE}
"""Signals that go to the thread that has caused them; blocked, they end the process without a word of its handler."""


class WSGIWorker(UvicornWorker):
    """Serves WSGI applications only, and whatever does not look like one as if it did."""

    @classmethod
    def load_ahead(cls, settings: Any) -> None:
        """Import a2wsgi as well. If it is missing, the worker says so."""
        super().load_ahead(settings)
        try:
            import a2wsgi  # noqa: F401 - for its effect
        except ImportError:
            return

    @classmethod
    def speaks_wsgi(cls, app: Any) -> bool:
        if is_async(app):
            raise BootError(
                "the application is an ASGI application, and worker_class names a worker for WSGI: "
                'leave worker_class out, or set it to "uvicorn"'
            )
        return True


class ThreadWorker(WSGIWorker):
    """gunicorn's ``gthread``: ``timeout`` does not bound requests, and connections are kept, with one thread too."""

    TIMED: ClassVar[bool | None] = False


def make_gateway(worker: UvicornWorker) -> Gateway:
    """The gateway to ``worker.wsgi``. Raises `BootError` where a2wsgi is missing."""
    settings = worker.cfg
    threads = max(1, settings.threads)
    timed = threads == 1 if worker.TIMED is None else worker.TIMED
    environ = EnvironMaker(
        settings,
        threads=threads,
        errors=ErrorLog(worker.error_log),
        forwarded=worker.forwarded,
    )
    timeout = (settings.timeout or None) if timed else None
    return Gateway(worker.wsgi, threads=threads, alone=timed, timeout=timeout, environ=environ, log=worker.error_log)


def serve_beside(worker: UvicornWorker, main: MainThread, serve: Callable[[], int]) -> int:
    """Run the event loop, which is ``serve``, in a thread, and the application in this one, the main thread.

    Returns or raises what ``serve`` does. A request that goes on after that is left: the process ends around it.
    """
    outcome: Future[int] = Future()
    # Held by the thread that ends the process: the other one waits for that.
    last = threading.Lock()

    def beside() -> None:
        # They are for the main thread, which a signal has to wake, whatever it waits for (signal(7): any thread may
        # be chosen that does not block it).
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - OWN_FAULTS)
        try:
            outcome.set_result(serve())
        except BaseException as error:  # noqa: BLE001 - raised in the main thread
            outcome.set_exception(error)
        main.close()
        if not main.ended.wait(LAST_HOOKS) and last.acquire(blocking=False):
            if failure := outcome.exception():
                worker.error_log.critical("the worker failed", exc_info=failure)
            worker.end(1 if failure else 0)

    for number in STOPS:
        _have_exits_heeded(worker, number)
    threading.Thread(target=beside, name="event-loop", daemon=True).start()
    main.serve()
    last.acquire()
    return outcome.result()


def _have_exits_heeded(worker: UvicornWorker, number: signal.Signals) -> None:
    """Let a handler that raises SystemExit end the worker, as gunicorn's own do, and not the request it interrupts.

    After TERM, there is time for that.
    """
    handler = signal.getsignal(number)
    if not callable(handler):
        return

    def heed(signum: int, frame: FrameType | None) -> None:
        worker.handling += 1
        try:
            handler(signum, frame)
        except SystemExit:
            if os.getpid() != worker.pid:  # a child that the application has forked ends
                raise
            if number == signal.SIGABRT:
                worker.end(1)
            worker.request_stop(Stop.GRACEFUL if number == signal.SIGTERM else Stop.QUICK)
        finally:
            worker.handling -= 1

    signal.signal(number, heed)
    if number == signal.SIGTERM:
        signal.siginterrupt(number, False)


def settle(worker: UvicornWorker, gateway: Gateway, hooks: RequestHooks | None) -> RequestHooks | None:
    """Fit the worker to the gateway before it serves; return the request hooks as the connections call them."""
    if gateway.alone:
        worker.config.timeout_keep_alive = 0
    gateway.hooks = hooks
    gateway.told = lambda: worker.shared is not None and worker.shared.told.is_set()
    return None if hooks is None else HooksInThreads(hooks, gateway)


class HooksInThreads(RequestHooks):
    """The request hooks, called where the application is: they share thread-local values with it, and may block.

    ``pre_request`` is called by the gateway, in the thread of the request.
    """

    def __init__(self, hooks: RequestHooks, gateway: Gateway) -> None:
        super().__init__(hooks.worker, hooks.log, hooks.pre, hooks.post)
        self._runner = gateway.runner
        self._running: set[Future[None]] = set()

    def before(self, exchange: Exchange) -> None:
        """Leave it to the gateway."""

    def after(self, exchange: Exchange) -> None:
        if self.post is not None:
            running: Future[None] = Future()
            self._running.add(running)
            try:
                self._runner.run(partial(self._after, exchange, running))
            except RuntimeError:
                self._running.discard(running)
                self.log.exception("the hook post_request has no thread to run in and is left out")

    def _after(self, exchange: Exchange, running: Future[None]) -> None:
        if not running.running() and not running.done():
            running.set_running_or_notify_cancel()
            super().after(exchange)
        if not running.done():
            running.set_result(None)
        self._running.discard(running)

    def finish(self) -> None:
        """Wait until those that were called are done, but not for long."""
        wait(list(self._running), timeout=LAST_HOOKS)
