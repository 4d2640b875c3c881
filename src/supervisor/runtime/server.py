"""What gunicorn's hooks know as ``server`` and ``worker``, in the arbiter and, as far as it travels, in the worker.

Real configuration files set attributes on both and read them later: a well-known recipe numbers workers in
``pre_fork`` from ``server.WORKERS`` and reads the number in ``post_fork``. So in the arbiter these are ordinary
objects, always the same ones; what was set on them is pickled into each fork command, and set again in the worker.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from supervisor.compat.application import HookApplication
from supervisor.compat.surface import SERVER_LEFT_OUT, WORKER_LEFT_OUT, missing
from supervisor.config.settings import Settings
from supervisor.runtime.signals import HANDLED

BOOTING = "[booting]"
"""gunicorn's ``worker.pid`` before the fork."""


@dataclass(frozen=True, slots=True)
class Travelled:
    """What goes with a fork: attributes that hooks set on the worker and on the server, and who else is there."""

    worker: dict[str, Any] = field(default_factory=dict)
    server: dict[str, Any] = field(default_factory=dict)
    ages: dict[int, int] = field(default_factory=dict)  # pid → age
    num_workers: int = 0


class WorkerTmp:
    """gunicorn's ``worker.tmp`` in the arbiter: it tells the time of the last heartbeat (monotonic seconds)."""

    def __init__(self, last_update: Callable[[], float]) -> None:
        self.last_update = last_update


class WorkerRecord:
    """gunicorn's ``worker`` in the arbiter, from ``pre_fork`` to ``child_exit``.

    ``pid`` is ``"[booting]"`` before the fork. ``timeout`` is half of the setting, as with gunicorn: seconds after
    which a worker's own loop has to call ``notify``.
    """

    # Slots for what we set, so that ``__dict__`` holds just what hooks set.
    __slots__ = (
        *("age", "slot", "generation", "pid", "ppid", "nr", "cfg", "timeout"),
        *("alive", "booted", "aborted", "log", "tmp", "app", "sockets", "wsgi", "max_requests", "__dict__"),
    )

    def __init__(
        self,
        *,
        age: int,
        slot: int,
        generation: int,
        settings: Settings,
        log: Any,
        tmp: WorkerTmp,
        app: Any = None,
        sockets: Sequence[Any] = (),
    ) -> None:
        self.age = age
        self.slot = slot
        self.generation = generation
        self.pid: int | str = BOOTING
        self.ppid = os.getpid()
        self.nr = 0
        self.cfg = settings
        self.timeout = settings.timeout / 2
        self.alive = True
        self.booted = False
        self.aborted = False
        self.log = log
        self.tmp = tmp
        self.app = app
        self.sockets = sockets
        self.wsgi = None
        # Without the jitter, which is drawn in the worker.
        self.max_requests = settings.max_requests or sys.maxsize

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(missing("worker", name, WORKER_LEFT_OUT, "in the arbiter"))

    def __str__(self) -> str:
        return f"<Worker {self.pid}>"


class ServerBase:
    """The attributes of gunicorn's ``server`` that do not depend on the process.

    What is done by a signal in gunicorn (`reload`, `stop`) is that signal, sent to the arbiter.
    """

    WORKER_BOOT_ERROR = 3
    APP_LOAD_ERROR = 4
    SIGNALS = HANDLED
    master_name = "Master"
    master_pid = 0
    reexec_pid = 0
    systemd = False

    __slots__ = ("LISTENERS", "__dict__", "_workers", "app", "cfg", "log", "pid")

    LISTENERS: Sequence[Any]

    def __init__(
        self,
        settings: Settings,
        *,
        log: Any,
        pid: int,
        listeners: Sequence[Any],
        load_app: Callable[[], Any] | None = None,
    ) -> None:
        self.cfg = settings
        self.log = log
        self.pid = pid
        self.LISTENERS = listeners
        self._workers: dict[int | str, Any] = {}
        self.app = HookApplication(settings, load_app)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(missing("server", name, SERVER_LEFT_OUT))

    @property
    def WORKERS(self) -> dict[int | str, Any]:  # noqa: N802 - gunicorn's name
        """The workers by pid. In ``pre_fork`` also those that have none yet, each by a text."""
        return self._workers

    @property
    def address(self) -> Any:
        return self.cfg.address

    @property
    def timeout(self) -> Any:
        return self.cfg.timeout

    @property
    def proc_name(self) -> Any:
        return self.cfg.proc_name

    @property
    def worker_class(self) -> Any:
        return self.cfg.worker_class

    @property
    def pidfile(self) -> Any:
        return self.cfg.pidfile

    def kill_worker(self, pid: int, sig: int) -> None:
        """Send a signal to one worker. A pid that is not a worker's is refused with `ValueError`."""
        if pid not in self.WORKERS:
            raise ValueError(f"{pid} is not the pid of a worker")
        os.kill(pid, signal.Signals(sig))

    def kill_workers(self, sig: int) -> None:
        """Send a signal to all workers."""
        for pid in [pid for pid in self.WORKERS if isinstance(pid, int)]:
            try:
                os.kill(pid, signal.Signals(sig))
            except ProcessLookupError:
                continue

    def reload(self) -> None:
        """Read the settings again and renew the workers: HUP."""
        os.kill(self.pid, signal.SIGHUP)

    def stop(self, graceful: bool = True) -> None:
        """Stop the service: TERM, or INT where it is not to be graceful."""
        os.kill(self.pid, signal.SIGTERM if graceful else signal.SIGINT)

    def wakeup(self) -> None:
        """The arbiter's loop needs no waking."""


class Server(ServerBase):
    """``server`` in the arbiter. ``num_workers`` can be set, and is acted upon after the hook."""

    __slots__ = ("_left_behind", "num_workers", "worker_age")

    def __init__(self, settings: Settings, *, log: Any, listeners: Sequence[Any]) -> None:
        super().__init__(settings, log=log, pid=os.getpid(), listeners=listeners)
        self._left_behind: set[tuple[str, str]] = set()
        self.num_workers: int = settings.workers
        self.worker_age = 0

    def attachments(self, worker: WorkerRecord) -> bytes:
        """All that travels with the fork of ``worker``. What cannot be pickled is left out, and said once."""
        travelled = Travelled(
            worker=self._picklable("worker", worker.__dict__),
            server=self._picklable("server", self.__dict__),
            ages={pid: record.age for pid, record in self.WORKERS.items() if isinstance(pid, int)},
            num_workers=self.num_workers,
        )
        return pickle.dumps(travelled)

    def _picklable(self, owner: str, attributes: dict[str, Any]) -> dict[str, Any]:
        kept = {}
        for name, value in attributes.items():
            try:
                pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes; what does not come back must stay here
            except BaseException as error:  # noqa: BLE001 - user objects fail to pickle in any way they like
                if (owner, name) not in self._left_behind:
                    self._left_behind.add((owner, name))
                    self.log.warning("%s.%s, set by a hook, cannot travel to the workers: %s", owner, name, error)
            else:
                kept[name] = value
        return kept


class ServerView(ServerBase):
    """``server`` as hooks in a worker see it: a picture taken at the fork."""

    __slots__ = ("num_workers", "worker_age")

    def __init__(
        self,
        settings: Settings,
        travelled: Travelled,
        *,
        listeners: Sequence[Any],
        log: Any,
        pid: int,
        load_app: Callable[[], Any],
    ) -> None:
        super().__init__(settings, log=log, pid=pid, listeners=listeners, load_app=load_app)
        self.num_workers = travelled.num_workers
        self.worker_age = max(travelled.ages.values(), default=0)
        for worker_pid, age in travelled.ages.items():
            record = WorkerRecord(age=age, slot=0, generation=0, settings=settings, log=log, tmp=WorkerTmp(lambda: 0.0))
            record.pid, record.ppid = worker_pid, pid
            self.WORKERS[worker_pid] = record
        for name, value in travelled.server.items():
            setattr(self, name, value)
