"""What the arbiter tells the people who run it: one line for each thing that matters, detail behind it."""

from __future__ import annotations

import logging
import signal

from supervisor.core import actions, events
from supervisor.core.actions import Action
from supervisor.core.events import Failure
from supervisor.core.status import describe
from supervisor.runtime.system import HazardFound, LoaderWords, Occurrence, SourcesChanged, StrangerReaped


class Reporter:
    """Turns occurrences and actions into log records.

    A failure's traceback is written once; when the same failure comes again, only its line is.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._told: set[str] = set()
        self._pids: dict[int, int] = {}

    def use(self, log: logging.Logger) -> None:
        """Write to this logger from now on."""
        self._log = log

    def forget(self) -> None:
        """A new attempt begins: what fails again is told in full again."""
        self._told.clear()

    def occurrence(self, occurrence: Occurrence) -> None:
        """Report what happened, where it is worth a line before anything is decided about it."""
        match occurrence:
            case events.Forked(worker, pid):
                self._pids[worker] = pid
                self._log.info("Booting worker %d with pid %d", worker, pid)
            case events.Ready(worker):
                self._log.info("Worker %d (pid %d) is ready", worker, self._pids.get(worker, 0))
            case events.ForkFailed(worker, reason):
                self._log.error("Worker %d could not be forked: %s", worker, reason)
            case events.RetirementWanted(worker, reason):
                self._log.info("Worker %d (pid %d) asks to be replaced: %s", worker, self._pids.get(worker, 0), reason)
            case HazardFound(generation, description):
                self._log.warning(
                    "Preloading generation %d left something behind that does not survive a fork: %s",
                    generation,
                    description,
                )
            case SourcesChanged(generation, first, changes):
                more = f" and {count(changes - 1, 'other file')}" if changes > 1 else ""
                self._log.warning(
                    "Generation %d was loaded again, from files that have changed since: %s%s. Workers forked from now "
                    "on run other code than those before; send HUP to renew them all",
                    *(generation, first, more),
                )
            case LoaderWords(generation, text):
                self._log.error(
                    "Where the loader of generation %d was, as its crash handler saw it:\n%s", generation, text
                )
            case StrangerReaped(pid):
                self._log.debug("Reaped pid %d, a process that the application left behind", pid)

    def action(self, action: Action, last_words: str = "") -> None:
        """Report a decision. ``last_words`` are what a dead worker's crash handler wrote."""
        match action:
            case actions.Drain(worker, pid, reason):
                self._log.info("Draining worker %d (pid %d): %s", worker, pid, reason)
            case actions.AnnounceStop(seconds):
                self._log.info("Stopping in %g s (drain_delay): serving on, but not ready any more", seconds)
            case actions.Abort(worker, pid, reason):
                self._log.critical("WORKER TIMEOUT: aborting worker %d (pid %d): %s", worker, pid, reason)
            case actions.Kill(worker, pid, reason):
                self._log.warning("Killing worker %d (pid %d): %s", worker, pid, reason)
            case actions.Reap():
                self._reap(action, last_words)
            case actions.AnnounceReady(workers, seconds):
                self._log.info("Ready: %s serving after %.2f s", count(workers, "worker"), seconds)
            case actions.GenerationTakesOver(generation, previous):
                self._log.info("Generation %d takes over from generation %d", generation, previous)
            case actions.ReloadFinished(generation, workers, seconds):
                self._log.info(
                    "Reloaded: generation %d, %s serving after %.2f s", generation, count(workers, "worker"), seconds
                )
            case actions.ReloadStalled(generation, serving, workers, seconds, failure):
                done = f"generation {generation} has {serving} of {count(workers, 'worker')} after {seconds:.2f} s"
                self._failure(f"Reload incomplete: {done}, and goes on trying", failure)
            case actions.GenerationDropped(generation, superseded=True, failure=failure):
                self._log.info("Generation %d was dropped: %s", generation, failure.summary)
            case actions.GenerationDropped(generation, 0, failure):
                self._failure(f"Boot failed: generation {generation} was dropped; waiting for changed files", failure)
            case actions.GenerationDropped(generation, serving, failure):
                self._failure(f"Reload failed: generation {generation} was dropped, {serving} goes on serving", failure)
            case actions.BackOff(slot, seconds, failures, failure):
                times = count(failures, "failure")
                text = f"Worker place {slot + 1} waits {seconds:.1f} s after {times} in a row"
                self._failure(text, failure, self._log.warning)
            case actions.LoaderLost(generation, seconds, failure):
                text = f"The loader of generation {generation} is gone, its workers serve on; the next one loads"
                text += f" in {seconds:.1f} s" if seconds else " now"
                self._failure(text, failure)
            case actions.BootAbandoned(failure):
                self._failure("Boot failed, giving up", failure, self._log.critical)

    def _reap(self, reap: actions.Reap, last_words: str) -> None:
        self._pids.pop(reap.worker, None)
        who = f"Worker {reap.worker} (pid {reap.pid})"
        if reap.expected:
            self._log.info("%s exited (%s)", who, describe(reap.status))
        elif reap.status == -signal.SIGKILL:
            self._log.error("%s was killed by signal 9; out of memory?", who)
        else:
            self._log.error("%s died (%s)", who, describe(reap.status))
        if last_words:
            self._log.error("Where worker %d was, as its crash handler saw it:\n%s", reap.worker, last_words.rstrip())

    def _failure(self, text: str, failure: Failure, say: object = None) -> None:
        write = say if callable(say) else self._log.error
        known = failure.detail in self._told
        self._told.add(failure.detail)
        if failure.detail and not known:
            write("%s: %s\n%s", text, failure.summary, failure.detail.rstrip())
        else:
            write("%s: %s", text, failure.summary)


def count(number: int, noun: str) -> str:
    """``1 worker``, ``2 workers``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
