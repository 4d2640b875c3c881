"""Worker classes that derive from gunicorn's or Uvicorn's, made to work in a process of ours.

`adopt` runs in the loader, so that what it changes on classes is changed in the loader and its workers, and nowhere
else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable
from typing import Any, ClassVar

from supervisor.compat import bases
from supervisor.compat.config import default_hook
from supervisor.config.settings import HOOKS, Settings
from supervisor.hooks import call_hook
from supervisor.protocols import WorkerContext
from supervisor.workers.base import Heartbeat
from supervisor.workers.uvicorn import UvicornWorker

MINIMUM_NOTIFY = 0.1
"""Seconds: the least time between two calls of ``callback_notify``."""


def adopt(cls: type) -> Callable[[WorkerContext], Any]:
    """A factory for workers of a class that may derive from gunicorn's or Uvicorn's; ``cls`` itself if it does not."""
    if not bases.is_foreign(cls):
        return cls
    base = bases.seat(cls, bases.UVICORN | bases.THREADED)
    if base is None or bases.replaced_loop(cls):
        return Guests(cls)
    _move(base, MovedThreadWorker if base.__name__ == "ThreadWorker" else MovedWorker)
    return Moved(cls)


def _move(base: type, home: type) -> None:
    """Put ``home`` in the place of what ``base`` does: a shell is left, from which subclasses still derive.

    Methods of the class itself go. What others have set on it stays, and so does its ``CONFIG_KWARGS``.
    """
    if home in base.__mro__:
        return
    for name, value in list(vars(base).items()):
        if getattr(value, "__module__", None) == base.__module__ and hasattr(value, "__code__"):
            delattr(base, name)
    base.__bases__ = (home,)


class Moved:
    """Makes workers of a class that was moved onto `MovedWorker`, with the arguments that gunicorn would give."""

    def __init__(self, cls: type) -> None:
        self.cls: Any = cls

    def __call__(self, context: WorkerContext) -> Any:
        worker = self.cls.__new__(self.cls)
        worker.context = context
        settings = context.settings
        application, timeout = context.server.app, settings.timeout / 2
        worker.__init__(
            context.age,
            context.arbiter_pid,
            list(context.listeners),
            application,
            timeout,
            settings,
            context.server.log,
        )
        return worker

    def load_ahead(self, settings: Settings) -> None:
        self.cls.load_ahead(settings)


class MovedWorker(UvicornWorker):
    """This package's worker in the shape of Uvicorn's: what subclasses override is called when they expect it.

    There ``init_process`` ends in ``run``, which runs ``_serve`` in a new event loop. Here `live` boots, and the rest
    is the same from the outside: ``run`` serves, ``_serve`` is the coroutine in it.
    """

    def __init__(self, *_arguments: Any, **_more: Any) -> None:
        super().__init__(self.context)

    def live(self) -> int:
        """The life of the process."""
        return super().run()

    def serve(self) -> int:
        for number, handler in (
            (signal.SIGTERM, self.handle_exit),
            (signal.SIGINT, self.handle_quit),
            (signal.SIGQUIT, self.handle_quit),
        ):
            # An init_signals of the subclass may leave these to Uvicorn, which sets them itself.
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, handler)
        return int(self.run() or 0)

    def run(self) -> Any:
        return super().serve()

    async def _main(self, loop: asyncio.AbstractEventLoop) -> int:
        self._install_sigquit_handler()
        notify = loop.create_task(self._call_back()) if self._has_callback() else None
        try:
            return int(await self._serve() or 0)
        finally:
            if notify is not None:
                notify.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await notify

    async def _serve(self) -> Any:
        return await super()._main(asyncio.get_running_loop())

    def _install_sigquit_handler(self) -> None:
        """QUIT is handled already."""

    async def callback_notify(self) -> None:
        """Called while the event loop runs. The heartbeat does not depend on it."""

    def handle_winch(self, sig: int, frame: Any) -> None:
        """A terminal was resized: nothing to do."""

    def _has_callback(self) -> bool:
        return type(self).callback_notify is not MovedWorker.callback_notify

    async def _call_back(self) -> None:
        while True:
            await asyncio.sleep(max(self.timeout, MINIMUM_NOTIFY))
            await self.callback_notify()


class MovedThreadWorker(MovedWorker):
    """The same in the place of gunicorn's worker with threads: ``timeout`` does not bound requests."""

    TIMED: ClassVar[bool | None] = False


class Guests:
    """Makes workers of a class that serves in its own way. Such a worker drains and logs as its class does.

    It is ready when it enters its loop, and shows signs of life by calling ``notify``.
    """

    def __init__(self, cls: type) -> None:
        self.cls: Any = cls

    def __call__(self, context: WorkerContext) -> Any:
        if method := bases.replaced_loop(self.cls):
            context.log.warning(
                "%s replaces a part of how requests are served: this worker is run by the code of its own base class, "
                "without the drain and the access log of this package; remove the method to have them",
                method,
            )
        settings = context.settings
        worker = self.cls(
            context.age,
            context.arbiter_pid,
            list(context.listeners),
            context.server.app,
            settings.timeout / 2,
            GuestSettings(settings, context.log),
            context.server.log,
        )
        worker.pid = os.getpid()
        worker.tmp = GuestHeartbeat(context, worker.tmp)
        serve = worker.run
        # Found on the instance before the class's own.
        worker.run = lambda: _ready(worker, context, serve)
        worker.live = lambda: _live(worker, context)
        return worker


def _ready(worker: Any, context: WorkerContext, serve: Callable[[], Any]) -> Any:
    worker.booted = True
    context.row.beat()
    context.link.say_ready()
    return serve()


def _live(worker: Any, context: WorkerContext) -> int:
    try:
        worker.init_process()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        context.row.rest()
    return 0


class GuestHeartbeat(Heartbeat):
    """``worker.tmp`` of a guest: our heartbeat, with the file that gunicorn's code may ask for."""

    def __init__(self, context: WorkerContext, file: Any) -> None:
        super().__init__(context.row)
        self._file = file

    def fileno(self) -> int:
        number: int = self._file.fileno()
        return number

    def close(self) -> None:
        self._file.close()


class GuestSettings:
    """The settings as gunicorn's own code reads them: hooks are always callable, and none of them is fatal.

    User and group are those of the process already.
    """

    def __init__(self, settings: Settings, log: logging.Logger) -> None:
        self._settings = settings
        self._log = log

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._settings, name)
        if name not in HOOKS:
            return value
        hook = value if value is not None else default_hook(name)
        if name == "ssl_context":
            return hook
        return lambda *arguments: call_hook(self._log, name, hook, *arguments)

    initgroups = False
    reload = False

    @property
    def uid(self) -> int:
        return os.geteuid()

    @property
    def gid(self) -> int:
        return os.getegid()
