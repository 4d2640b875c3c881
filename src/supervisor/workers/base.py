"""`Worker`, the class to derive worker classes from, and `current`, the one that runs in this process.

A worker is made in its own process, after the fork, with one argument. The process then calls `Worker.run` and exits
with what it returns. A minimal class::

    class MyWorker(Worker):
        def serve(self) -> int:
            self.booted = True
            self.context.link.say_ready()
            while self.alive:
                self.notify()
                ...
            return 0

To change how the default worker serves, derive from `supervisor.workers.uvicorn.UvicornWorker` instead and set its
``CONFIG_KWARGS``.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import random
import signal
import socket
import sys
import threading
from enum import IntEnum
from types import FrameType
from typing import Any, NoReturn

from supervisor.application import explain
from supervisor.hooks import run_hook, run_worker_exit
from supervisor.imported import Imported
from supervisor.logs.setup import reopen_files
from supervisor.protocols import REQUESTS, Row, WorkerContext
from supervisor.workers.journal import Exchange
from supervisor.workers.report import abort_report

ALIVE_UNSET = "worker.alive was set to False"

_current: Worker | None = None


def current() -> Worker | None:
    """The worker that runs in this process, or None in any other process."""
    return _current


class Stop(IntEnum):
    """How urgently a worker was told to stop."""

    NO = 0
    GRACEFUL = 1
    QUICK = 2


class StoppedInBoot(BaseException):
    """A stop that came before the worker had anything to drain. Unwinds the import of the application."""


class Heartbeat:
    """gunicorn's ``worker.tmp``, over the worker's row of shared memory."""

    def __init__(self, row: Row) -> None:
        self._row = row

    def notify(self) -> None:
        """Show a sign of life."""
        self._row.beat()

    def last_update(self) -> float:
        """When the last sign of life was, in seconds of the monotonic clock."""
        return self._row.last_beat


class Worker:
    """A worker process: signals, the application, the hooks, and what gunicorn's hooks expect to find on ``worker``.

    ``age`` number of the worker, in order of birth · ``pid``, ``ppid`` its process and the arbiter's · ``timeout``
    half of the seconds of silence after which it is aborted: how often a loop of one's own has to call `notify` ·
    ``max_requests`` requests after which it wants to be replaced, jitter included, ``sys.maxsize`` for never · ``nr``
    requests answered · ``cfg`` the settings · ``app`` gunicorn's application object · ``wsgi`` the application, once it
    is loaded · ``sockets`` the listeners · ``alive`` false once it was told to stop; a hook or a thread that sets it to
    False has the worker replaced, and then drained · ``booted`` true once it serves · ``aborted`` true once it was
    aborted.
    """

    def __init__(self, context: WorkerContext) -> None:
        settings = context.settings
        self.context = context
        self.cfg: Any = settings
        self.age = context.age
        self.slot = context.slot
        self.generation = context.generation
        self.pid = os.getpid()
        self.ppid = context.arbiter_pid
        self.timeout = settings.timeout / 2
        self.sockets: list[socket.socket] = list(context.listeners)
        self.error_log: logging.Logger = context.log
        self.log: Any = context.logger
        self.app: Any = getattr(context.server, "app", None)
        self.wsgi: Any = None
        self.reloader: Any = None
        self.tmp = Heartbeat(context.row)
        self._alive = True
        self.booted = False
        self.aborted = False
        # Two flags, which only rise: several threads, and handlers that interrupt each other, can tell to stop.
        self._told_to_drain = False
        self._told_to_quit = False
        self._last_resort = False
        self._interruption = threading.Lock()
        self._booting = False
        self._imported = Imported() if settings.reload else None
        jitter = random.randint(0, max(0, settings.max_requests_jitter))  # noqa: S311 - spreads load, hides nothing
        self.max_requests = settings.max_requests + jitter if settings.max_requests > 0 else sys.maxsize

    def __str__(self) -> str:
        return f"<Worker {self.pid}>"

    @property
    def nr(self) -> int:
        """How many requests were answered. A worker class that counts by itself may set it."""
        return self.context.row.counters[REQUESTS]

    @nr.setter
    def nr(self, value: int) -> None:
        self.context.row.counters[REQUESTS] = value

    @property
    def stop(self) -> Stop:
        """How urgently the worker was told to stop."""
        if self._told_to_quit:
            return Stop.QUICK
        return Stop.GRACEFUL if self._told_to_drain else Stop.NO

    @property
    def alive(self) -> bool:
        """False once the worker was told to stop."""
        return self._alive

    @alive.setter
    def alive(self, value: bool) -> None:
        leaves = self._alive and not value
        self._alive = bool(value)
        if leaves and not self.stop:
            self.wants_to_leave()

    def notify(self) -> None:
        """Show a sign of life. To be called more often than every ``timeout`` seconds once the worker has booted."""
        self.context.row.beat()

    # -- to be overridden

    @classmethod
    def load_ahead(cls, settings: Any) -> None:
        """Import what each worker of this class will need. Called in the loader, from which they are forked.

        What is imported here is shared by all workers, and is there when one begins. The application is not.
        """

    def serve(self) -> int:
        """Serve until told to stop, and return the exit code. The application is in ``wsgi``.

        Set ``booted`` and call ``context.link.say_ready()`` when connections are accepted. `BootError` may be raised
        until then.
        """
        raise NotImplementedError

    def init_process(self) -> None:
        """Load the application and call the hook ``post_worker_init``. Overrides call it last."""
        self.load_wsgi()
        # Once more: an application that took signals for itself at its import would not hear that it is to stop.
        # Handlers that the hook wraps around ours stay.
        self.init_signals()
        run_hook(self.error_log, self.cfg, "post_worker_init", self)

    def load_wsgi(self) -> None:
        """Load the application into ``wsgi``."""
        self.wsgi = self.context.load_app()
        if self.app is not None:
            self.app.callable = self.wsgi

    def stop_changed(self) -> None:
        """``stop`` has become more urgent. Called by a signal handler, in the main thread, at any moment."""

    def silent_part(self) -> str:
        """What has given no sign of life, for the report of a worker that is aborted."""
        return "the event loop"

    def live_requests(self) -> list[Exchange]:
        """The requests in flight, for the report of a worker that is aborted."""
        return []

    # -- the life of the process

    def run(self) -> int:
        """Boot, serve, and return the exit code: 0, or 3 or 4 if the worker could not boot."""
        global _current  # noqa: PLW0603 - a process has one worker
        _current = self
        self._booting = True
        try:
            self.init_signals()
            self.init_process()
            self.tell_imported()
            if self.stop:
                return 0
            return self.serve()
        except StoppedInBoot:
            return 0
        except BaseException as error:  # noqa: BLE001 - the application may raise anything, SystemExit included
            # Nothing is left to be stopped: a signal that comes now has nobody to catch what it would raise.
            self._booting = False
            if self.booted:
                self.error_log.critical("the worker failed", exc_info=error)
                return 1
            return self.boot_failed(error)
        finally:
            self.context.row.rest()

    def boot_failed(self, error: BaseException) -> int:
        """Tell the arbiter why the worker cannot boot; return the exit code. The arbiter writes the log."""
        self.tell_imported(error)
        summary, detail, code = explain(error)
        self.context.link.say_boot_failed(summary, detail, code)
        return code

    def tell_imported(self, error: BaseException | None = None) -> None:
        """Under ``reload``: tell the arbiter which files were imported since the last time, or are named by an error.

        Called when the application is loaded; to be called again, now and then, by a class that serves.
        """
        if self._imported is not None and (files := self._imported.news(error)):
            self.context.link.say_imported(files)

    # -- signals

    def init_signals(self) -> None:
        """Install the handlers: TERM graceful, INT and QUIT quick, USR1 reopens the logs, ABRT reports and exits."""
        signal.signal(signal.SIGTERM, self.handle_exit)
        signal.signal(signal.SIGINT, self.handle_quit)
        signal.signal(signal.SIGQUIT, self.handle_quit)
        signal.signal(signal.SIGUSR1, self.handle_usr1)
        signal.signal(signal.SIGABRT, self.handle_abort)
        for name in (signal.SIGTERM, signal.SIGUSR1):
            signal.siginterrupt(name, False)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """TERM: drain. A second one changes nothing."""
        self.request_stop(Stop.GRACEFUL)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """INT and QUIT: call the hook ``worker_int``, and stop without waiting for requests."""
        self.interrupt()
        self.request_stop(Stop.QUICK)

    def interrupt(self) -> None:
        """Call the hook ``worker_int``, once: the hook itself may send the signal to this process again."""
        if self._interruption.acquire(blocking=False):
            run_hook(self.error_log, self.cfg, "worker_int", self)

    def handle_usr1(self, sig: int, frame: FrameType | None) -> None:
        """USR1: reopen the log files."""
        reopen_files(self.log, self.error_log)

    def handle_abort(self, sig: int, frame: FrameType | None) -> None:
        """ABRT: write where the worker is stuck, call the hook ``worker_abort``, and exit with 1."""
        self.aborted = True
        self._alive = False
        try:
            self.error_log.error(
                "%s", abort_report(self.context.row.last_beat, frame, self.live_requests(), self.silent_part())
            )
            run_hook(self.error_log, self.cfg, "worker_abort", self)
        finally:
            self.end(1)

    def end(self, code: int) -> NoReturn:
        """Call the hook ``worker_exit`` and end the process, whatever else goes on in it."""
        try:
            run_worker_exit(self.error_log, self.cfg, self.context.server, self)
            self.flush_logs()
        finally:
            os._exit(code)

    def request_stop(self, level: Stop) -> None:
        """Stop as urgently as ``level`` says, unless it was already told to at least as urgently."""
        self._alive = False
        if os.getppid() != self.context.arbiter_pid:
            self._arm_last_resort()
        if level <= self.stop:
            return
        if level == Stop.QUICK:
            self._told_to_quit = True
        else:
            self._told_to_drain = True
        if self._booting and not self.booted and self.wsgi is None:
            raise StoppedInBoot
        self.stop_changed()

    def wants_to_leave(self) -> None:
        """``alive`` was set to False: ask for a replacement, or stop at once where nothing is served yet."""
        if self.booted:
            self.context.link.say_retirement_wanted(ALIVE_UNSET)
        elif threading.current_thread() is threading.main_thread():
            self.request_stop(Stop.GRACEFUL)
        else:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    def orphan_patience(self) -> int:
        """Seconds after which the kernel ends a worker that was told to stop and has no arbiter left to kill it."""
        return 2 + math.ceil(float(self.cfg.graceful_timeout))

    def _arm_last_resort(self) -> None:
        if threading.current_thread() is threading.main_thread():
            # Whichever thread has set the alarm: the application may have a handler.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        if not self._last_resort:
            self._last_resort = True
            signal.alarm(self.orphan_patience())

    def flush_logs(self) -> None:
        """Write out what logging handlers hold."""
        for handler in (*self.error_log.handlers, *self.context.access_log.handlers):
            with contextlib.suppress(BaseException):  # they are anybody's
                handler.flush()
