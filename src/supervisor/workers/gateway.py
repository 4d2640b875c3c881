"""A WSGI application (PEP 3333) behind the ASGI interface that the worker's connections speak.

a2wsgi answers the lifespan and refuses WebSockets. Requests take another way, since its own loses some of them: a body
that was cut off looks complete, a response that the server refuses leaves its thread waiting for ever, a stream goes on
when its client has gone, ``X_Forwarded_For`` becomes ``X-Forwarded-For``, and each piece of a response waits twice for
the event loop (3,800 requests a second, and 20,000 without that).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from supervisor.errors import BootError
from supervisor.workers.call import Call
from supervisor.workers.capacity import Capacity
from supervisor.workers.complaints import Complaints
from supervisor.workers.environ import EnvironMaker
from supervisor.workers.threads import MainThread, Runner, Threads

if TYPE_CHECKING:
    from supervisor.workers.reqhooks import RequestHooks

MISSING: Final = (
    "the application is a WSGI application, and serving it needs a2wsgi, which is not installed: "
    "pip install 'asgi-supervisor[wsgi]'"
)


def middleware() -> Any:
    """a2wsgi's class. Raises `BootError` where it is not installed."""
    try:
        from a2wsgi import WSGIMiddleware
    except ImportError:
        raise BootError(MISSING) from None
    return WSGIMiddleware


class Gateway:
    """The ASGI application in front of a WSGI application. One per worker.

    ``threads`` is how many requests run at the same time, the others wait. ``alone`` says that a request has its worker
    to itself, as gunicorn's ``sync`` has it. ``timeout`` is how many seconds a thread may wait for a client, None for
    ever. Raises `BootError` where a2wsgi is not installed.
    """

    def __init__(
        self,
        app: Any,
        *,
        threads: int,
        alone: bool,
        timeout: float | None,
        environ: EnvironMaker,
        log: logging.Logger,
    ) -> None:
        self.app = app
        self.threads = threads
        self.alone = alone
        self.timeout = timeout
        self.environ = environ
        self.log = log
        self.complaints = Complaints(log)
        self.hooks: RequestHooks | None = None
        self.told: Callable[[], bool] = lambda: False
        self.freed: Callable[[], None] = lambda: None
        self.active = 0
        self._pid = os.getpid()
        self._beyond: Any = middleware()(app, workers=threads)
        self.main = MainThread(log) if alone and threads == 1 else None
        self.runner: Runner = self.main or Threads(threads, log)
        # When a thread last took up a request, or took or gave something.
        self.moved = 0.0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            await self._beyond(scope, receive, send)
            return
        if not self.active:
            self.moved = monotonic()
        self.active += 1
        call = Call(self, receive, send)
        try:
            self.runner.run(call.work)
        except RuntimeError:
            self.over()
            raise
        await call.deliver()

    def capacity(self) -> Capacity:
        """What bounds the connections that the worker takes."""
        return Capacity(self.threads, lambda: self.active)

    def is_here(self) -> bool:
        """Whether this is the worker's process, and not one that the application has forked: that has no event loop."""
        return os.getpid() == self._pid

    def is_stuck(self, seconds: float) -> bool:
        """Whether there are requests, and for so many seconds the only thread has not taken or given anything."""
        return self.threads == 1 and self.active > 0 and monotonic() - self.moved > seconds

    def over(self) -> None:
        """A thread is free again. Called in the event loop."""
        self.active -= 1
        self.freed()
