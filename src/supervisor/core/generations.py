"""Generations, and the loader that each of them has: one that serves, at most one that tries to, some on their way out.

Only what concerns the loaders themselves is decided here; what a loader's fate means for workers, and whether a
generation is given up, `supervisor.core.arbiter` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from supervisor.core import policy
from supervisor.core.actions import AbortLoader, Action, LoaderLost, StartLoader, StopLoader
from supervisor.core.events import Failure, Limits


class Load(Enum):
    """What the loader of a generation is up to."""

    LOADING = "loading"
    LOADED = "loaded"
    LOST = "lost"  # died; to be started again at ``not_before``
    ABORTING = "aborting"  # told to say where it is stuck, and to die, until ``deadline``
    STOPPING = "stopping"  # told to go


@dataclass(slots=True)
class Generation:
    """One version of configuration and code, and the loader that forks workers of it.

    ``wanted`` is how many workers it shall have once it serves, ``crashes`` how often it died unexplained before.
    """

    number: int
    limits: Limits
    started_at: float
    wanted: int
    load: Load = Load.LOADING
    deadline: float | None = None
    not_before: float = 0.0
    loaded_at: float | None = None
    loader_failures: int = 0
    failure: Failure | None = None
    crashes: int = 0
    placeholder: bool = False  # serves only until there is something to serve
    reported: bool = False  # "ready" or "reload finished" has been said
    stalled: bool = False  # "reload incomplete" has been said


class Generations:
    """Those whose loader is not gone for good. What is to be done is handed to ``do``."""

    def __init__(self, do: Callable[[Action], None]) -> None:
        self._do = do
        self._all: dict[int, Generation] = {}
        self._last_number = 0
        self.serving: Generation | None = None
        self.candidate: Generation | None = None

    def __iter__(self) -> Iterator[Generation]:
        return iter(list(self._all.values()))

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, number: int) -> Generation:
        return self._all[number]

    @property
    def next_number(self) -> int:
        return self._last_number + 1

    def add_candidate(self, limits: Limits, now: float, *, placeholder: bool = False) -> None:
        """A new generation, which loads from now on, and takes over when it proves itself."""
        self._last_number += 1
        candidate = Generation(self._last_number, limits, now, wanted=limits.workers, placeholder=placeholder)
        self._all[candidate.number] = candidate
        self.candidate = candidate
        self._start_loader(candidate, now)

    def promote_candidate(self) -> tuple[Generation | None, Generation]:
        """The candidate serves. Returns the generation that did so before, if any, and the one that does now."""
        assert self.candidate is not None
        previous, serving = self.serving, self.candidate
        self.serving, self.candidate = serving, None
        return previous, serving

    def next_deadline(self) -> float | None:
        """When `overdue` or `restart_lost` will next have something to do."""
        times = [generation.deadline for generation in self._all.values() if generation.deadline is not None]
        times += [generation.not_before for generation in self._all.values() if generation.load is Load.LOST]
        return min(times, default=None)

    def give_time_back(self, seconds: float) -> None:
        """Move the deadlines of loaders that are loading or being aborted."""
        for generation in self._all.values():
            if generation.deadline is not None:
                generation.deadline += seconds

    # Loaders

    def stop_loader(self, generation: Generation) -> None:
        """Stop it. A generation whose loader is lost is thereby gone; one that is being aborted is left to that."""
        if generation.load in (Load.LOADING, Load.LOADED):
            self._kill_loader(generation)
        elif generation.load is Load.LOST:
            del self._all[generation.number]

    def abort_loader(self, generation: Generation, failure: Failure, now: float) -> None:
        """Have a loader that is stuck say where, and end it, because of ``failure``."""
        if generation.load in (Load.LOADING, Load.LOADED):
            generation.failure = generation.failure or failure
            generation.load = Load.ABORTING
            generation.deadline = now + policy.ABORT_GRACE
            self._do(AbortLoader(generation.number))

    def kill_stubborn(self, now: float) -> None:
        """Kill those that did not die of their abort."""
        for generation in self:
            if generation.load is Load.ABORTING and generation.deadline is not None and generation.deadline <= now:
                self._kill_loader(generation)

    def _kill_loader(self, generation: Generation) -> None:
        generation.deadline = None
        generation.load = Load.STOPPING
        self._do(StopLoader(generation.number))

    def stop_all(self) -> None:
        """Stop all loaders, for good."""
        self.candidate = None
        for generation in self:
            self.stop_loader(generation)

    def loaded(self, generation: Generation, now: float) -> None:
        """Its loader can fork. One that was told to go may say so nevertheless: the word crosses the signal."""
        if generation.load is Load.LOADING:
            generation.load = Load.LOADED
            generation.loaded_at = now
            generation.deadline = None

    def overdue(self, now: float) -> list[Generation]:
        """Those that should have loaded by now."""
        loading = [generation for generation in self if generation.load is Load.LOADING]
        return [each for each in loading if each.deadline is not None and each.deadline <= now]

    def exited(self, generation: Generation) -> None:
        """Its loader is gone. Then either `restart_later`, `stop_loader` or `forget` the generation."""
        generation.load = Load.LOST
        generation.deadline = None

    def restart_later(self, generation: Generation, failure: Failure, *, jitter: float, now: float) -> None:
        """Back off and then start a lost loader again: the first time at once, if it had loaded."""
        loaded = generation.loaded_at is not None
        if generation.loaded_at is not None and now - generation.loaded_at >= policy.STABLE_UPTIME:
            generation.loader_failures = 0
        generation.loader_failures += 1
        wait = policy.back_off(generation.loader_failures, served=loaded, jitter=jitter)
        generation.not_before = now + wait
        self._do(LoaderLost(generation.number, wait, failure))

    def forget(self, generation: Generation) -> None:
        """Its loader is gone, and needed no more."""
        del self._all[generation.number]

    def restart_lost(self, now: float) -> None:
        """Start those lost loaders whose time has come."""
        for generation in self._all.values():
            if generation.load is Load.LOST and generation.not_before <= now:
                self._start_loader(generation, now)

    def _start_loader(self, generation: Generation, now: float) -> None:
        generation.load = Load.LOADING
        generation.loaded_at = None
        generation.failure = None
        generation.deadline = now + generation.limits.boot_timeout
        self._do(StartLoader(generation.number))
