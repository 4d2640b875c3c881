"""Transcripts: what happened (``>``, with its time in seconds) and what the arbiter did about it (``<``).

Lines that begin with ``#`` explain. Worker N has the pid 100 + N; jitter is always 0.5, which changes nothing.
The player plays a shell that does its duty: it refuses an event before which a tick was due, and an action for a worker
or a loader that is not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from supervisor.core import actions, events
from supervisor.core.actions import Action
from supervisor.core.arbiter import Arbiter
from supervisor.core.events import Event, Failure, Limits
from supervisor.core.status import describe

FIRST_PID = 100


class Player:
    """Plays the events of one transcript to a fresh arbiter."""

    def __init__(self) -> None:
        self._arbiter = Arbiter(jitter=lambda: 0.5)
        self._limits = Limits()
        self._loaders: set[int] = set()
        self._unborn: set[int] = set()
        self._alive: set[int] = set()

    def play(self, text: str) -> str:
        """The same transcript, with what the arbiter does today."""
        lines: list[str] = []
        for line in text.splitlines():
            if line.startswith(">"):
                lines += [line, *(f"<   {said}" for said in self._react(line))]
            elif not line.startswith("<"):
                lines.append(line)
        return "\n".join(lines) + "\n"

    def _react(self, line: str) -> Iterator[str]:
        clock, _, what = line.removeprefix(">").strip().partition(" ")
        now = float(clock)
        for event in self._parse(what.strip()):
            due = self._arbiter.next_deadline()
            assert due is None or due > now or isinstance(event, events.Tick), f"{line}: a tick is due at {due:g}"
            self._note_event(event)
            for action in self._arbiter.handle(event, now):
                self._note_action(action)
                yield say(action)
            if isinstance(event, events.Tick):
                due = self._arbiter.next_deadline()
                assert due is None or due > now, f"{line}: the tick has not consumed its deadline {due:g}"

    def _parse(self, what: str) -> Iterator[Event]:
        match re.split(r"[ :]+", what, maxsplit=2):
            case ["start", *settings]:
                self._limits = changed(Limits(), settings)
                yield events.Started(self._limits)
            case ["HUP", *settings]:
                self._limits = changed(self._limits, settings)
                yield events.ReloadRequested(self._limits)
            case ["placeholder"]:
                yield events.ReloadRequested(self._limits, placeholder=True)
            case ["TERM"]:
                yield events.StopRequested(graceful=True)
            case ["QUIT"]:
                yield events.StopRequested(graceful=False)
            case ["TTIN"]:
                yield events.ScaleRequested(+1)
            case ["TTOU"]:
                yield events.ScaleRequested(-1)
            case ["WINCH"]:
                yield events.StandDownRequested()
            case ["tick", *beats]:
                pairs = (pair.split("=") for pair in " ".join(beats).split())
                yield events.Tick({int(worker): float(beat) for worker, beat in pairs})
            case ["loader", number, rest]:
                yield loader_event(int(number), rest)
            case ["worker" | "workers", numbers, rest]:
                first, _, last = numbers.partition("-")
                for number in range(int(first), int(last or first) + 1):
                    yield worker_event(number, rest)
            case _:
                raise ValueError(f"no such event: {what}")

    def _note_event(self, event: Event) -> None:
        match event:
            case events.LoaderExited(generation):
                self._loaders.remove(generation)
            case events.Forked(worker):
                self._unborn.remove(worker)
                self._alive.add(worker)
            case events.Exited(worker):
                assert worker in self._alive, f"worker {worker} cannot exit"

    def _note_action(self, action: Action) -> None:
        match action:
            case actions.StartLoader(generation):
                assert generation not in self._loaders
                self._loaders.add(generation)
            case actions.StopLoader(generation) | actions.AbortLoader(generation):
                assert generation in self._loaders
            case actions.Spawn(worker, generation):
                assert generation in self._loaders
                self._unborn.add(worker)
            case actions.Reap(worker):
                self._alive.remove(worker)
            case actions.Drain(worker, pid) | actions.Quit(worker, pid) | actions.Abort(worker, pid):
                assert worker in self._alive
                assert pid == FIRST_PID + worker
            case actions.Kill(worker, pid):
                assert worker in self._alive
                assert pid == FIRST_PID + worker


def changed(limits: Limits, settings: list[str]) -> Limits:
    pairs = (pair.split("=") for pair in " ".join(settings).split())
    values = {name: float(value) for name, value in pairs}
    for name in values.keys() & {"workers", "surge"}:
        values[name] = int(values[name])
    return replace(limits, **values)  # type: ignore[arg-type]  # the names are checked by replace itself


def failure(text: str) -> Failure:
    """``text [exit 4]``; without the bracket, the exit code is 3."""
    found = re.fullmatch(r"(.*) \[exit (\d)\]", text)
    return Failure(found[1], "Traceback …", int(found[2])) if found else Failure(text, "Traceback …")


def loader_event(number: int, rest: str) -> Event:
    word, _, detail = rest.partition(" ")
    match word.rstrip(":"):
        case "ready":
            return events.LoaderReady(number)
        case "failed":
            return events.LoaderFailed(number, failure(detail))
        case "exited":
            return events.LoaderExited(number, int(detail))
        case _:
            raise ValueError(f"no such event of a loader: {rest}")


def worker_event(number: int, rest: str) -> Event:
    what, _, detail = rest.partition(": ")
    match what.split():
        case ["forked"]:
            return events.Forked(number, FIRST_PID + number)
        case ["not", "forked"]:
            return events.ForkFailed(number, detail)
        case ["ready"]:
            return events.Ready(number)
        case ["draining"]:
            return events.Draining(number)
        case ["boot", "failed"]:
            return events.BootFailed(number, failure(detail))
        case ["wants", "retirement"]:
            return events.RetirementWanted(number, detail)
        case ["exited", status]:
            return events.Exited(number, int(status))
        case _:
            raise ValueError(f"no such event of a worker: {rest}")


def say(action: Action) -> str:
    """One line for an action."""
    match action:
        case actions.StartLoader(generation):
            return f"start loader {generation}"
        case actions.StopLoader(generation):
            return f"stop loader {generation}"
        case actions.AbortLoader(generation):
            return f"ABRT loader {generation}"
        case actions.Spawn(worker, generation, slot):
            return f"spawn worker {worker}, generation {generation}, slot {slot}"
        case actions.Drain(worker, _, reason):
            return f"TERM worker {worker}: {reason}"
        case actions.AnnounceStop(seconds):
            return f"STOPPING in {seconds:g} s"
        case actions.Seal():
            return "seal the listeners"
        case actions.Quit(worker):
            return f"QUIT worker {worker}"
        case actions.Abort(worker, _, reason):
            return f"ABRT worker {worker}: {reason}"
        case actions.Kill(worker, _, reason):
            return f"KILL worker {worker}: {reason}"
        case actions.Reap(worker, _, status, expected):
            return f"reap worker {worker}, {'' if expected else 'un'}expected: {describe(status)}"
        case actions.WorkersChanged(new, old):
            return f"wanted: {new}" if old is None else f"wanted: {old} → {new}"
        case actions.AnnounceReady(workers, seconds):
            return f"READY: {workers} serving after {seconds:.2f} s"
        case actions.GenerationTakesOver(generation, previous):
            return f"generation {generation} takes over from {previous}"
        case actions.ReloadFinished(generation, workers, seconds):
            return f"RELOADED: generation {generation}, {workers} serving after {seconds:.2f} s"
        case actions.ReloadStalled(generation, serving, workers, seconds, why):
            return f"INCOMPLETE: generation {generation}, {serving} of {workers} after {seconds:.2f} s: {why.summary}"
        case actions.GenerationDropped(generation, serving, why, superseded):
            return (
                f"generation {generation} {'superseded' if superseded else 'DROPPED'}, {serving} serves: {why.summary}"
            )
        case actions.BackOff(slot, seconds, failures, why):
            return f"slot {slot} waits {seconds:.2f} s after failure {failures}: {why.summary}"
        case actions.LoaderLost(generation, seconds, why):
            return f"loader {generation} lost, to be started in {seconds:.2f} s: {why.summary}"
        case actions.BootAbandoned(why):
            return f"BOOT ABANDONED: {why.summary}"
        case actions.Exit(code):
            return f"exit {code}"
