"""The arbiter as a process: takes what happens to the core, and does what the core decides.

Single-threaded, without asyncio, and it never imports the application. Nothing in here waits but `System.wait`.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from supervisor.config.load import Inputs
from supervisor.config.settings import Settings
from supervisor.config.validators import working_directory
from supervisor.core import actions
from supervisor.core.actions import Action
from supervisor.core.arbiter import Arbiter as Core
from supervisor.core.events import (
    Draining,
    Event,
    Failure,
    ForkFailed,
    LoaderExited,
    LoaderFailed,
    ReloadRequested,
    ScaleRequested,
    Started,
    StopRequested,
    Tick,
)
from supervisor.errors import SupervisorError
from supervisor.reporting import Reporter
from supervisor.runtime import nesting, opening, staleness, titles
from supervisor.runtime.binding import bind_patiently
from supervisor.runtime.heartbeat import default_directory
from supervisor.runtime.holdings import Holdings
from supervisor.runtime.notify import Notifier
from supervisor.runtime.posix import PosixSystem
from supervisor.runtime.reloading import Reloading
from supervisor.runtime.renewal import Renewal
from supervisor.runtime.signals import SignalWakeup
from supervisor.runtime.standing import Standing
from supervisor.runtime.surface import Surface
from supervisor.runtime.system import (
    FilesChanged,
    FilesImported,
    HazardFound,
    LoaderWords,
    Occurrence,
    Plan,
    PredecessorGone,
    Rehearsed,
    SignalArrived,
    SourcesChanged,
    StrangerReaped,
    SuccessorExited,
    SuccessorReady,
    System,
    WatcherExited,
    WatcherSaid,
    limits_of,
)
from supervisor.runtime.upgrade import Upgrade


class Arbiter:
    """Runs an application under supervised workers, until it is told to stop.

    ``settings`` is what to run with. ``inputs`` is where they came from: with it, HUP reads the configuration again;
    without it (a launcher that made its settings itself), HUP renews the workers with the same settings.
    ``jitter`` returns numbers in [0, 1) and spreads the back-off of failing slots. ``system`` makes the system to run
    on, from the keyword arguments of `PosixSystem`; tests give another one. ``ready`` is called when all workers serve.
    """

    def __init__(
        self,
        settings: Settings,
        inputs: Inputs | None = None,
        *,
        jitter: Callable[[], float] = random.random,
        system: Callable[..., System] = PosixSystem,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._inputs = inputs
        self._core = Core(jitter)
        self._make_system = system
        self._ready = ready
        self._holdings = Holdings()
        self._plans: dict[int, Plan] = {}
        self._early: list[Occurrence] = []
        self._pending: deque[Event] = deque()
        self._emptied: set[int] = set()
        self._closing = False
        self._exit_code = 0
        self._environ = dict(os.environ) if inputs is None else inputs.environ
        self._directory = working_directory() if inputs is None else inputs.cwd

    def run(self) -> int:
        """Serve until told to stop, and return the exit code: 0, or 3 or 4 where nothing ever got ready.

        Must be called in the main thread, since it handles signals. Raises `SupervisorError` when it cannot start:
        an address in use, a pidfile of somebody else, a log file that cannot be written; `BootError` in a worker.
        """
        nesting.refuse()
        if threading.current_thread() is not threading.main_thread():
            raise SupervisorError("the arbiter handles signals, so run() must be called in the main thread")
        # Before anything slow: from here on a signal waits for its turn, and none of them ends the process.
        signals = SignalWakeup()
        try:
            self._prepare(signals)
            try:
                if self._start():
                    self._serve()
            finally:
                self._clean_up()
        finally:
            signals.restore()
            self._holdings.environment.restore()
        return self._exit_code

    # Start and end

    def _prepare(self, signals: SignalWakeup) -> None:
        settings = self._settings
        self._holdings.open_logs(settings)
        self._reporter = Reporter(self._log)
        self._system = self._make_system(
            signals=signals,
            logs=lambda: self._holdings.logs,
            heartbeat_directory=default_directory(settings.worker_tmp_dir),
            close_in_child=self._holdings.close_in_child,
        )
        self._surface = Surface(
            settings,
            self._holdings.logs,
            scale=lambda delta: self._pending.append(ScaleRequested(delta)),
            last_beat=lambda number: self._system.heartbeats().get(number, 0.0),
            around=self._system.around_hooks,
        )
        self._notifier = Notifier(
            os.environ,
            self._core,
            now=self._system.now,
            log=lambda: self._log,
            successor=lambda: self._upgrade.successor,
        )
        self._upgrade = Upgrade(
            self._system,
            self._holdings,
            environ=self._environ,
            directory=self._directory,
            before_exec=lambda: self._surface.hook("pre_exec", self._surface.server),
            retire=lambda: self._feed(StopRequested(graceful=True, at_once=True)),
        )
        self._renewal = Renewal(
            self._system,
            self._holdings,
            self._inputs,
            settings=lambda: self._settings,
            accept=self._begin_generation,
            refuse=self._notifier.refused,
        )
        self._standing = Standing(self._core, self._renewal, feed=self._feed, settings=lambda: self._settings)
        self._reloading = Reloading(self._system, self._inputs, log=lambda: self._log, reload=self._reload)

    def _start(self) -> bool:
        """Everything before the first fork. False if it was told to stop meanwhile."""
        settings, log = self._settings, self._log
        titles.set_title("arbiter", settings.proc_name)
        opening.say_what_starts(log, settings, rereads=self._inputs is not None)
        self._upgrade.receive()
        if self._upgrade.suffix:
            self._notifier.stand_by()
        self._surface.workers_changed(settings.workers, None)
        self._holdings.take_pidfile(settings, self._upgrade.suffix)
        self._surface.hook("on_starting", self._surface.server)
        listeners = bind_patiently(self._system, self._holdings, settings, early=self._early)
        if listeners is None:
            return False
        self._holdings.listeners.keep_only([listeners])
        self._surface.server.LISTENERS = listeners
        opening.say_what_serves(log, settings, listeners)
        if not settings.workers:
            self._ready()
        self._plans[self._core.next_generation] = Plan(settings, listeners)
        self._surface.hook("when_ready", self._surface.server)
        return True

    def _clean_up(self) -> None:
        self._renewal.give_up()
        self._reloading.stop()
        self._surface.hook("on_exit", self._surface.server)
        self._holdings.release()
        self._system.close()
        self._log.info("Stopped")
        self._holdings.logs.close()

    @property
    def _log(self) -> logging.Logger:
        return self._holdings.logs.error

    # The loop

    def _serve(self) -> None:
        self._reloading.follow(self._settings)
        # First of all: a hook may have asked for another number of workers already.
        self._pending.appendleft(Started(limits_of(self._settings)))
        self._work_off()
        for occurrence in self._early:
            self._take(occurrence)
        while not self._core.done:
            deadline = self._core.next_deadline()
            due = [deadline, self._notifier.next_deadline()]
            parts = (self._upgrade, self._renewal, self._reloading, self._surface)
            due += [part.next_deadline for part in parts]
            for occurrence in self._system.wait(min((at for at in due if at is not None), default=None)):
                self._take(occurrence)
            now = self._system.now()
            if deadline is not None and now >= deadline:
                self._feed(Tick(self._system.heartbeats()))
            self._renewal.tick(now)
            self._reloading.tick(now)
            self._standing.up_again(self._log)
            self._upgrade.tick(now)
            self._notifier.tick(now)
            self._surface.tick(now)

    def _take(self, occurrence: Occurrence) -> None:
        match occurrence:
            case SignalArrived(number):
                self._handle_signal(number)
            case HazardFound() | SourcesChanged() | LoaderWords() | StrangerReaped():
                self._reporter.occurrence(occurrence)
            case SuccessorReady():
                self._upgrade.notice(occurrence)
                self._notifier.hand_over_late()
            case SuccessorExited():
                self._upgrade.notice(occurrence)
                self._standing.successor_gone()
            case Rehearsed():
                self._renewal.rehearsed(occurrence)
            case FilesChanged() | FilesImported() | WatcherSaid() | WatcherExited():
                self._reloading.take(occurrence)
            case PredecessorGone():
                self._upgrade.notice(occurrence)
                self._notifier.take_over()
            case _:
                self._feed(occurrence)

    def _feed(self, event: Event) -> None:
        self._pending.append(event)
        self._work_off()

    def _work_off(self) -> None:
        """One event to the core and its actions to the world, then what came of them: a hook may scale."""
        while self._pending:
            event = self._pending.popleft()
            self._reporter.occurrence(event)
            self._notifier.occurrence(event)
            self._surface.note(event)
            for action in self._core.handle(event, self._system.now()):
                self._perform(action)
            match event:
                case ForkFailed(worker):
                    self._system.release(worker)
                case LoaderExited():
                    alive = {worker.number for worker in self._core.workers}
                    self._surface.forget_unborn(self._surface.unborn - alive)
                case Draining(worker):
                    self._emptied.add(worker)
        self._close_when_emptied()

    def _perform(self, action: Action) -> None:
        last_words = ""
        if isinstance(action, actions.Reap) and action.status < 0:
            last_words = self._system.last_words(action.worker)
        if isinstance(action, actions.GenerationDropped):
            self._pending += self._reloading.placeholder(action, self._plans, self._core.next_generation)
            # First of all, so that the reason is told where the operator of the generation that serves will look.
            self._go_back_from(action.generation)
        self._reporter.action(action, last_words)
        self._notifier.action(action)
        self._reloading.action(action)
        match action:
            case actions.StartLoader(generation):
                self._start_loader(generation)
            case actions.StopLoader(generation):
                self._system.stop_loader(generation)
            case actions.AbortLoader(generation):
                self._system.abort_loader(generation)
            case actions.Spawn():
                self._spawn(action)
            case actions.Drain(worker):
                self._system.signal_worker(worker, signal.SIGTERM)
            case actions.Quit(worker):
                self._system.signal_worker(worker, signal.SIGQUIT)
            case actions.Abort(worker):
                self._surface.aborted(worker)
                self._system.signal_worker(worker, signal.SIGABRT)
            case actions.Kill(worker):
                self._system.signal_worker(worker, signal.SIGKILL)
            case actions.Reap(worker):
                self._emptied.discard(worker)
                self._surface.reaped(worker)
                self._system.release(worker)
            case actions.WorkersChanged(new, old) if old is not None:
                self._surface.workers_changed(new, old)
            case actions.GenerationTakesOver(generation):
                self._plans = {number: plan for number, plan in self._plans.items() if number >= generation}
                self._use_newest_plan()
            case actions.Seal():
                self._holdings.listeners.seal()
            case actions.AnnounceReady():
                self._upgrade.announce()
                self._ready()
            case actions.Exit(code):
                self._exit_code = code
            case _:
                pass  # what is only reported

    # Doing

    def _start_loader(self, generation: int) -> None:
        plan = self._plans[generation]
        if plan.settings.preload_app and isinstance(plan.settings.app, str) and plan.placeholder is None:
            self._log.info("Loading %s (generation %d)", plan.settings.app, generation)
        environment = self._holdings.environment
        environment.go_back(plan.settings)  # a loader that was lost may be an older generation's
        try:
            self._system.start_loader(generation, plan)
        except OSError as error:
            failure = Failure(f"the loader could not be forked: {error.strerror}")
            self._pending += [LoaderFailed(generation, failure), LoaderExited(generation, 1)]
        finally:
            environment.go_back(self._settings)

    def _spawn(self, spawn: actions.Spawn) -> None:
        birth = self._surface.birth(spawn, self._plans[spawn.generation].settings)
        try:
            self._system.spawn(birth)
        except (OSError, ValueError) as error:
            self._pending.append(ForkFailed(spawn.worker, str(error)))

    def _go_back_from(self, generation: int) -> None:
        """Undo what its settings have changed, unless those of a newer generation are in force already."""
        if len(self._plans) == 1:
            return  # not even a placeholder could be started
        dropped = self._plans.pop(generation).settings
        newest = self._plans[max(self._plans)].settings
        if dropped is self._settings and dropped is not newest:
            try:
                self._holdings.renew(newest)
            except SupervisorError as error:
                self._log.error("What generation %d has changed cannot be undone: %s", generation, error)
        self._use_newest_plan()

    def _use_newest_plan(self) -> None:
        """The settings of the newest generation that is still wanted are in force, and only used sockets stay open."""
        newest = self._plans[max(self._plans)]
        self._holdings.environment.go_back(newest.settings)
        self._use(newest.settings)
        self._surface.server.LISTENERS = newest.listeners
        self._holdings.listeners.keep_only(plan.listeners for plan in self._plans.values())

    def _use(self, settings: Settings) -> None:
        self._settings = settings
        titles.set_title("arbiter", settings.proc_name)
        self._surface.use(settings, self._holdings.logs)
        self._reporter.use(self._log)
        self._reloading.follow(settings)

    def _close_when_emptied(self) -> None:
        """A stop closes the listeners as soon as every worker has taken what waited in their queues, or is gone."""
        if self._core.stopping and not self._closing and all(w.number in self._emptied for w in self._core.workers):
            self._closing = True
            self._holdings.listeners.close()

    # Orders

    def _handle_signal(self, number: signal.Signals) -> None:
        self._log.info("Handling signal: %s", number.name.removeprefix("SIG").lower())
        match number:
            case signal.SIGTERM | signal.SIGINT | signal.SIGQUIT:
                self._renewal.give_up()
                self._feed(StopRequested(graceful=number is signal.SIGTERM))
            case signal.SIGHUP:
                self._reload()
            case signal.SIGUSR1:
                self._reopen_logs()
            case signal.SIGTTIN:
                self._feed(ScaleRequested(+1))
            case signal.SIGTTOU:
                self._feed(ScaleRequested(-1))
            case signal.SIGWINCH:
                self._standing.down(self._log)
            case signal.SIGUSR2 if not self._core.stopping:
                self._upgrade.start(self._settings)
            case _:
                self._log.info("%s ignored", number.name)

    def _reopen_logs(self) -> None:
        self._holdings.logs.reopen()
        self._system.reopen_logs()
        for worker in self._core.workers:
            if worker.has_process:
                self._system.signal_worker(worker.number, signal.SIGUSR1)

    def _reload(self) -> None:
        if not self._core.stopping:
            self._reporter.forget()
            self._notifier.reloading()
            self._renewal.begin()

    def _begin_generation(self, plan: Plan) -> None:
        """New settings are in force, and a new generation is to follow."""
        self._use(plan.settings)
        if why := staleness.why_stale(self._settings.app, rereads=self._inputs is not None):
            self._log.warning("%s: workers are renewed, but not with new code", why)
        self._plans[self._core.next_generation] = plan
        limits = limits_of(plan.settings)
        self._surface.hook("on_reload", self._surface.server)
        # The hook may have set something, or written rubbish.
        with suppress(Exception):
            limits = limits_of(self._settings)
        self._feed(ReloadRequested(limits))
