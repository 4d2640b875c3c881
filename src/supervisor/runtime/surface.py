"""The arbiter's hooks, and the objects that they are given, kept in step with what happens."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from supervisor.config.settings import Settings
from supervisor.core.actions import Spawn
from supervisor.core.events import Event, Exited, Forked, ForkFailed, Ready
from supervisor.hooks import run_hook
from supervisor.logs.setup import Logs
from supervisor.runtime.backlog import BacklogMeter
from supervisor.runtime.server import BOOTING, Server, WorkerRecord, WorkerTmp
from supervisor.runtime.system import Birth


class Surface:
    """Runs the hooks that belong to the arbiter. None of them can do it harm.

    ``scale`` is called with how many workers more a hook wants that wrote to ``server.num_workers``, ``last_beat``
    tells a worker's last heartbeat by its number, and ``around`` makes the context in which hooks run.
    """

    def __init__(
        self,
        settings: Settings,
        logs: Logs,
        *,
        scale: Callable[[int], None],
        last_beat: Callable[[int], float],
        around: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.server = Server(settings, log=logs.logger, listeners=())
        self._log = logs.error
        self._scale = scale
        self._last_beat = last_beat
        self._around = around
        self._records: dict[int, WorkerRecord] = {}
        self._counted = 0
        self._backlog = BacklogMeter()
        self._backlog.switch(on=bool(settings.enable_backlog_metric))

    def use(self, settings: Settings, logs: Logs) -> None:
        """These settings, and the hooks in them, are in force from now on."""
        self.server.cfg = self.server.app.cfg = settings
        self.server.log, self._log = logs.logger, logs.error
        self._backlog.switch(on=bool(settings.enable_backlog_metric))

    @property
    def next_deadline(self) -> float | None:
        """When there is something to be measured."""
        return self._backlog.next_deadline

    def tick(self, now: float) -> None:
        """Measure what is to be measured now."""
        self._backlog.tick(now, self.server.LISTENERS, self._log)

    def hook(self, name: str, *args: Any) -> None:
        """Run a hook, if there is one; then act on what it wrote to ``server.num_workers``."""
        before, threads = self.server.num_workers, threading.active_count()
        with self._around():
            run_hook(self._log, self.server.cfg, name, *args)
        if threading.active_count() > threads:
            self._log.warning("hook %s left a thread running in the arbiter: it will not be there after a fork", name)
        wanted, self.server.num_workers = self.server.num_workers, before
        if wanted != before and isinstance(wanted, int):
            self._scale(wanted - before)

    def workers_changed(self, new: int, old: int | None) -> None:
        """The wanted number is another one: ``server.num_workers`` says so before the hook runs."""
        self.server.num_workers = new
        self.hook("nworkers_changed", self.server, new, old)

    def birth(self, spawn: Spawn, settings: Settings) -> Birth:
        """Make the worker's record, show it to ``pre_fork``, and pack what that set."""
        number = spawn.worker
        record = WorkerRecord(
            age=number,
            slot=spawn.slot,
            generation=spawn.generation,
            settings=settings,
            log=self.server.log,
            tmp=WorkerTmp(lambda: self._last_beat(number)),
            app=self.server.app,
            sockets=self.server.LISTENERS,
        )
        # gunicorn forks one worker after the other, and files number them by what the others have: so the hook also
        # sees those that were asked for before this one and have no pid yet.
        unborn = {f"{BOOTING} {other}": self._records[other] for other in self.unborn}
        self._records[number] = record
        self.server.worker_age = number
        self.server.WORKERS.update(unborn)
        self.hook("pre_fork", self.server, record)
        for key in unborn:
            self.server.WORKERS.pop(key, None)
        return Birth(number, spawn.slot, spawn.generation, self.server.attachments(record))

    def note(self, event: Event) -> None:
        """Follow a worker's life in the objects that hooks know."""
        match event:
            case Forked(number, pid) if record := self._records.get(number):
                record.pid = pid
                self.server.WORKERS[pid] = record
            case Ready(number) if record := self._records.get(number):
                record.booted = True
            case ForkFailed(number):
                self._records.pop(number, None)
            case Exited(number) if record := self._records.get(number):
                record.alive = False
            case _:
                return
        self._count()

    def _count(self) -> None:
        """Tell the logger how many workers there are, if it is another number than before: a gauge, for StatsD."""
        count = sum(record.booted and record.alive for record in self._records.values())
        if count != self._counted:
            self._counted = count
            metric = {"metric": "gunicorn.workers", "value": count, "mtype": "gauge"}
            self._log.debug("%d workers", count, extra=metric)

    def aborted(self, number: int) -> None:
        """The worker was told to abort."""
        if record := self._records.get(number):
            record.aborted = True

    def reaped(self, number: int) -> None:
        """The worker is gone: ``child_exit``, with the object that ``pre_fork`` saw."""
        record = self._records.pop(number, None)
        if record is None:
            return
        if isinstance(record.pid, int):
            self.server.WORKERS.pop(record.pid, None)
        self.hook("child_exit", self.server, record)

    def forget_unborn(self, numbers: set[int]) -> None:
        """Drop the records of workers that will never be, because their loader died."""
        for number in numbers:
            self._records.pop(number, None)

    @property
    def unborn(self) -> set[int]:
        """Workers that were asked for and have no pid."""
        return {number for number, record in self._records.items() if record.pid == BOOTING}
