"""gunicorn's and Uvicorn's worker classes by name, to derive from where these packages are not installed.

Nothing here is imported by a worker of ours: `supervisor.compat.bases` says what becomes of a class that derives from
one of these.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from types import FrameType
from typing import Any, ClassVar, Final

SUPPORTED_WORKERS: Final = {
    "sync": "gunicorn.workers.sync.SyncWorker",
    "gthread": "gunicorn.workers.gthread.ThreadWorker",
    "asgi": "gunicorn.workers.gasgi.ASGIWorker",
}


class WorkerTmp:
    """The heartbeat of a worker outside of a service: a file of its own."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the worker lives

    def notify(self) -> None:
        now = time.monotonic()
        os.utime(self._file.fileno(), (now, now))

    def last_update(self) -> float:
        return os.fstat(self._file.fileno()).st_mtime

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()


class Worker:
    """The base of workers that serve in a way of their own: ``run`` is the loop, and calls ``notify`` in each turn.

    The attributes are those that gunicorn's hooks know; ``init_process`` loads the application and calls ``run``.
    """

    SIGNALS: ClassVar[list[signal.Signals]] = [
        *(signal.SIGABRT, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT, signal.SIGTERM),
        *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGCHLD),
    ]
    PIPE: Any = ()

    def __init__(  # noqa: PLR0917 - gunicorn's own, by which subclasses call it
        self, age: int, ppid: int, sockets: Any, app: Any, timeout: float, cfg: Any, log: Any
    ) -> None:
        self.age = age
        self.pid: Any = "[booting]"
        self.ppid = ppid
        self.sockets = sockets
        self.app = app
        self.timeout = timeout
        self.cfg = cfg
        self.log = log
        self.wsgi: Any = None
        self.booted = False
        self.aborted = False
        self.alive = True
        self.reloader: Any = None
        self.nr = 0
        jitter = random.randint(0, max(0, cfg.max_requests_jitter))  # noqa: S311 - spreads load, hides nothing
        self.max_requests = cfg.max_requests + jitter if cfg.max_requests > 0 else sys.maxsize
        self.tmp: Any = WorkerTmp()

    def __str__(self) -> str:
        return f"<Worker {self.pid}>"

    def notify(self) -> None:
        """Show a sign of life."""
        self.tmp.notify()

    def run(self) -> Any:
        """Serve while ``alive``. To be overridden."""
        raise NotImplementedError

    def init_process(self) -> None:
        """Load the application, call ``post_worker_init``, and run. Overrides call it last."""
        random.seed()
        self.PIPE = os.pipe()
        for end in self.PIPE:
            os.set_blocking(end, False)
        self.wait_fds = [*self.sockets, self.PIPE[0]]
        self.init_signals()
        self.load_wsgi()
        self.cfg.post_worker_init(self)
        self.booted = True
        self.run()

    def load_wsgi(self) -> None:
        self.wsgi = self.app.wsgi()

    def init_signals(self) -> None:
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, self.handle_exit)
        for number in (signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self.handle_quit)
        signal.signal(signal.SIGABRT, self.handle_abort)
        signal.signal(signal.SIGUSR1, self.handle_usr1)
        signal.signal(signal.SIGWINCH, self.handle_winch)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.siginterrupt(number, False)
        if self.PIPE:
            signal.set_wakeup_fd(self.PIPE[1], warn_on_full_buffer=False)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.alive = False

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        self.alive = False
        self.cfg.worker_int(self)
        raise SystemExit(0)

    def handle_abort(self, sig: int, frame: FrameType | None) -> None:
        self.alive = False
        self.cfg.worker_abort(self)
        raise SystemExit(1)

    def handle_usr1(self, sig: int, frame: FrameType | None) -> None:
        self.log.reopen_files()

    def handle_winch(self, sig: int, frame: FrameType | None) -> None:
        """A terminal was resized: nothing to do."""


class SyncWorker(Worker):
    """gunicorn's worker for WSGI applications, by name."""


class ThreadWorker(Worker):
    """gunicorn's worker with threads for WSGI applications, by name."""


class UvicornWorker(Worker):
    """Uvicorn's worker by name. What a subclass changes is carried over to the worker class of this package."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"loop": "auto", "http": "auto"}


class UvicornH11Worker(UvicornWorker):
    """The same in pure Python."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"loop": "asyncio", "http": "h11"}
