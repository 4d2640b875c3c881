"""The setting ``reload``: a watcher is kept while it is on, and changed files are answered as HUP is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from supervisor.config.load import Inputs
from supervisor.config.settings import Settings
from supervisor.config.validators import working_directory
from supervisor.core import actions
from supervisor.core.actions import Action
from supervisor.core.events import ReloadRequested
from supervisor.core.status import describe
from supervisor.placeholder import Placeholder
from supervisor.reporting import count
from supervisor.runtime import staleness
from supervisor.runtime.system import (
    FilesChanged,
    FilesImported,
    Plan,
    System,
    WatcherExited,
    WatcherSaid,
    limits_of,
)
from supervisor.runtime.watched import Watch, watch_of

MOST_FILES = 20_000
"""So many imported files are watched: nothing that a worker says may fill the arbiter."""

DEATHS = 5
"""So often in a row a watcher may die before it is given up."""

FIRST_WAIT = 0.5
"""Seconds until it is started again; then twice as long each time."""

STABLE = 10.0
"""Seconds after which one that dies has not failed to start."""

ECHOES = 5
"""So often in a row the same files may change while the application loads before it is taken for their author."""


class Reloading:
    """Follows the settings in force, and what happens.

    ``reload`` is called when files have changed. ``inputs`` are those that a reload reads again, if it does.
    """

    def __init__(
        self, system: System, inputs: Inputs | None, *, log: Callable[[], logging.Logger], reload: Callable[[], None]
    ) -> None:
        self._system = system
        self._log = log
        self._reload = reload
        self._rereads = inputs is not None
        # Names of files are relative to where the arbiter was started, whatever chdir is.
        self._directory = working_directory() if inputs is None else inputs.cwd
        self._watch: Watch | None = None
        self._proc_name = ""
        self._refused = ""
        self._imported: dict[str, None] = {}
        self._healthy = False
        self._started_at = 0.0
        self._deaths = 0
        self._died_at = 0.0  # of the wall clock
        self.next_deadline: float | None = None
        self._given_up = False
        self._loads: tuple[float, float] = (0.0, float("inf"))
        self._echo: frozenset[str] = frozenset()
        self._echoes = 0

    def follow(self, settings: Settings) -> None:
        """These settings are in force: start the watcher that they want, or stop the one that they do not."""
        self._proc_name = settings.proc_name
        wanted = watch_of(settings, self._directory) if settings.reload and self._is_possible(settings) else None
        if wanted == self._watch and not self._given_up:
            return
        self._system.watchers.stop()
        self._watch, self._deaths, self._died_at, self._given_up = wanted, 0, 0.0, False
        self.next_deadline = None
        if wanted is not None:
            self._start()

    def stop(self) -> None:
        """The arbiter stops."""
        self._watch = self.next_deadline = None
        self._system.watchers.stop()

    def _is_possible(self, settings: Settings) -> bool:
        why = staleness.why_stale(settings.app, rereads=self._rereads)
        if why and why != self._refused:
            self._log().warning("reload has no effect. %s: changed code could not be loaded", why)
        self._refused = why
        return not why

    # What happens

    def take(self, occurrence: FilesImported | FilesChanged | WatcherSaid | WatcherExited) -> None:
        """Act on it."""
        match occurrence:
            case FilesImported(files):
                self._note_imported(files)
            case FilesChanged():
                self._changed(occurrence)
            case WatcherSaid(level, text):
                self._log().log(level, "%s", text)
            case WatcherExited(status):
                self._died(status)

    def action(self, action: Action) -> None:
        """Follow a decision: while the newest code does not run, it is not known which files it would import."""
        match action:
            case actions.StartLoader():
                self._loads = (self._system.now(), float("inf"))
            case actions.AnnounceReady() | actions.ReloadFinished():
                self._end_load(healthy=True)
            case actions.GenerationDropped(superseded=False) | actions.ReloadStalled():
                self._end_load(healthy=False)
            case _:
                pass

    def _end_load(self, *, healthy: bool) -> None:
        self._loads = (self._loads[0], self._system.now())
        if healthy != self._healthy:
            self._healthy = healthy
            self._tell_health()

    def tick(self, now: float) -> None:
        """Start the watcher again, when it is time."""
        if self.next_deadline is not None and self.next_deadline <= now:
            self.next_deadline = None
            self._start()

    def _note_imported(self, files: Iterable[str]) -> None:
        room = MOST_FILES - len(self._imported)
        news = [file for file in files if file not in self._imported][:room]
        self._imported |= dict.fromkeys(news)
        self._system.watchers.tell_imported(news)
        if news and self._healthy:
            self._tell_health()

    def _tell_health(self) -> None:
        # Nothing is known of what a worker class imports that is not derived from ours.
        self._system.watchers.tell_health(healthy=self._healthy and bool(self._imported))

    def placeholder(
        self, dropped: actions.GenerationDropped, plans: dict[int, Plan], number: int
    ) -> list[ReloadRequested]:
        """Where a generation has failed and none serves the application: plan one that serves the reason.

        It gets this ``number``, and is to be asked for with the events that are returned.
        """
        plan = plans[dropped.generation]
        serves = dropped.serving and plans[dropped.serving].placeholder is None
        if dropped.superseded or serves or plan.placeholder is not None:
            return []
        plans[number] = replace(plan, placeholder=Placeholder(dropped.failure))
        return [ReloadRequested(limits_of(plan.settings), placeholder=True)]

    # Changes

    def _changed(self, change: FilesChanged) -> None:
        if self._is_an_echo(change):
            return
        first = change.files[0] if change.files else "a file"
        more = f" and {count(change.count - 1, 'other file')}" if change.count > 1 else ""
        self._log().info("Changed: %s%s. Reloading", first, more)
        self._reload()

    def _is_an_echo(self, change: FilesChanged) -> bool:
        """Whether the application itself seems to write these files, each time that it is loaded."""
        begun, ended = self._loads
        files = frozenset(change.files)
        if not begun <= self._system.now() - change.age <= ended:
            self._echoes = 0
            return False
        self._echoes = self._echoes + 1 if files == self._echo else 1
        self._echo = files
        if self._echoes == ECHOES:
            self._log().warning(
                "%s has changed %d times in a row while the application was loading, which seems to write it: "
                "such changes are not heeded any more. Do not name it in reload_extra_files, or write it elsewhere",
                *(", ".join(sorted(files)), ECHOES),
            )
        return self._echoes >= ECHOES

    # The watcher

    def _start(self) -> None:
        if self._watch is None:
            return
        self._started_at = self._system.now()
        try:
            self._system.watchers.start(self._watch, proc_name=self._proc_name, since=self._died_at)
        except OSError as error:
            self._fail(f"cannot be forked: {error.strerror}")
            return
        self._system.watchers.tell_imported(self._imported)
        self._tell_health()

    def _died(self, status: int) -> None:
        if self._watch is not None:
            self._fail(f"died ({describe(status)})")

    def _fail(self, what: str) -> None:
        now = self._system.now()
        if now - self._started_at >= STABLE:
            self._deaths = 0
        self._deaths += 1
        self._died_at = self._died_at if self._deaths > 1 else time.time()
        if self._deaths >= DEATHS:
            self._given_up = True
            self._log().error(
                "The watcher %s, for the %d. time in a row: changed files are not noticed until HUP", what, self._deaths
            )
            return
        wait = FIRST_WAIT * 2.0 ** (self._deaths - 1)
        self.next_deadline = now + wait
        self._log().warning("The watcher %s; the next one starts in %.1f s", what, wait)
