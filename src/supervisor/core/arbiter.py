"""The arbiter's mind: every event goes in through `Arbiter.handle`, what is to be done comes out.

No clock, no process, no log: ``now`` is an argument (seconds of any clock that never goes back), randomness is a
function given at the start, and actions are values. Nothing here loops or waits. A reload is no procedure either: it
puts a candidate generation beside the serving one, and from then on `_settle` moves slot after slot, event after event.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from supervisor.core import policy
from supervisor.core.actions import (
    Abort,
    Action,
    AnnounceReady,
    BackOff,
    BootAbandoned,
    Drain,
    Exit,
    GenerationDropped,
    GenerationTakesOver,
    Kill,
    LoaderLost,
    Quit,
    Reap,
    ReloadFinished,
    Spawn,
    StartLoader,
    StopLoader,
    WorkersChanged,
)
from supervisor.core.capacity import Capacity
from supervisor.core.events import (
    BootFailed,
    Draining,
    Event,
    Exited,
    Failure,
    Forked,
    ForkFailed,
    Limits,
    LoaderExited,
    LoaderFailed,
    LoaderReady,
    Ready,
    ReloadRequested,
    RetirementWanted,
    ScaleRequested,
    StandDownRequested,
    Started,
    StopRequested,
    Tick,
)
from supervisor.core.lifecycle import WATCHED, Cause, State
from supervisor.core.workers import Generation, Load, Parting, Slot, Worker, WorkerTable


class Phase(Enum):
    """What the arbiter as a whole is doing."""

    NEW = "new"
    RUNNING = "running"
    STOPPING = "stopping"
    DONE = "done"


class Arbiter:
    """Decides which workers there should be, and what each one is told.

    ``jitter`` returns numbers in [0, 1); it spreads the back-off of slots that fail together.
    """

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._phase = Phase.NEW
        self._exit_code = 0
        self._workers = WorkerTable()
        self._slots: dict[int, Slot] = {}
        self._generations: dict[int, Generation] = {}
        self._last_generation = 0
        self._serving: Generation | None = None
        self._candidate: Generation | None = None
        self._wanted = 0
        self._ready_announced = False
        self._now = 0.0
        self._actions: list[Action] = []

    # What can be asked

    @property
    def done(self) -> bool:
        """`Exit` was decided; nothing more will be."""
        return self._phase is Phase.DONE

    @property
    def stopping(self) -> bool:
        """A stop was requested, or the boot abandoned."""
        return self._phase in (Phase.STOPPING, Phase.DONE)

    @property
    def wanted(self) -> int:
        """How many workers there should be."""
        return self._wanted

    @property
    def next_generation(self) -> int:
        """The number that the next reload will give to its generation."""
        return self._last_generation + 1

    @property
    def workers(self) -> WorkerTable:
        """The workers that are not gone. To be read only."""
        return self._workers

    def next_deadline(self) -> float | None:
        """When a `Tick` is due at the latest, or None while there is nothing to wait for."""
        times: list[float] = []
        for worker in self._workers:
            times += [at for at in (worker.deadline, worker.look_at) if at is not None]
        for generation in self._generations.values():
            if generation.deadline is not None:
                times.append(generation.deadline)
            if generation.load is Load.LOST and not self.stopping:
                times.append(generation.not_before)
        if self._phase is Phase.RUNNING:
            times += self._capacity().waking_times(self._now)
        return min(times, default=None)

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take one event in, and return what to do about it, in order."""
        if self.done:
            return []
        self._actions = []
        self._now = now
        match event:
            case Started(limits):
                self._phase = Phase.RUNNING
                self._set_wanted(limits.workers, first=True)
                self._start_candidate(limits, now)
            case LoaderReady(number):
                self._loader_ready(number)
            case LoaderFailed(number, failure):
                self._loader_failed(number, failure, now)
            case LoaderExited(number, status):
                self._loader_exited(number, status, now)
            case Forked(number, pid):
                self._forked(self._workers[number], pid, now)
            case ForkFailed(number, reason):
                self._fork_failed(self._workers[number], reason, now)
            case Ready(number):
                self._ready(number, now)
            case BootFailed(number, failure):
                if worker := self._workers.get(number):
                    worker.failure = failure
            case RetirementWanted(number, reason):
                if worker := self._workers.get(number):
                    worker.retirement = worker.retirement or reason
            case Draining(number):
                if worker := self._workers.get(number):
                    self._leaving(worker, now)
            case Exited(number, status):
                self._exited(self._workers[number], status, now)
            case Tick(beats):
                self._tick(dict(beats), now)
            case StopRequested(graceful):
                self._stop(now, graceful=graceful)
            case ReloadRequested(limits):
                self._reload(limits, now)
            case ScaleRequested(delta):
                if self._phase is Phase.RUNNING:
                    self._set_wanted(max(1, self._wanted + delta))
            case StandDownRequested():
                if self._phase is Phase.RUNNING:
                    self._stand_down()
        self._settle(now)
        return self._actions

    # Generations

    def _start_candidate(self, limits: Limits, now: float) -> None:
        self._last_generation += 1
        candidate = Generation(self._last_generation, limits, started_at=now)
        self._generations[candidate.number] = candidate
        self._candidate = candidate
        self._start_loader(candidate, now)

    def _start_loader(self, generation: Generation, now: float) -> None:
        generation.load = Load.LOADING
        generation.failure = None
        generation.loader_started_at = now
        generation.deadline = now + generation.limits.boot_timeout
        self._do(StartLoader(generation.number))

    def _stop_loader(self, generation: Generation) -> None:
        generation.deadline = None
        if generation.load in (Load.LOADING, Load.LOADED):
            generation.load = Load.STOPPING
            self._do(StopLoader(generation.number))
        elif generation.load is Load.LOST:
            del self._generations[generation.number]

    def _loader_ready(self, number: int) -> None:
        generation = self._generations[number]
        if generation.load is Load.LOADING:
            generation.load = Load.LOADED
            generation.deadline = None
            if generation is self._candidate and not generation.limits.workers:
                self._take_over(generation)  # nobody has to get ready

    def _loader_failed(self, number: int, failure: Failure, now: float) -> None:
        generation = self._generations[number]
        generation.failure = failure
        if generation is self._candidate:
            self._give_up(generation, failure, now)

    def _loader_exited(self, number: int, status: int, now: float) -> None:
        generation = self._generations[number]
        failure = generation.failure or Failure(f"the loader of generation {number} died ({describe(status)})")
        generation.load = Load.LOST
        generation.deadline = None
        for worker in self._workers.of_generation(number):
            if worker.state is State.SPAWNING:
                self._bury(worker, Cause.FORK_FAILED)
        if generation is self._candidate:
            self._give_up(generation, failure, now)
        elif generation is self._serving and not self.stopping:
            if now - generation.loader_started_at >= policy.STABLE_UPTIME:
                generation.loader_failures = 0
            generation.loader_failures += 1
            wait = policy.back_off(generation.loader_failures, served=True, jitter=self._jitter())
            generation.not_before = now + wait
            self._do(LoaderLost(number, wait, failure))
        else:
            del self._generations[number]

    def _give_up(self, generation: Generation, failure: Failure, now: float) -> None:
        """The candidate will not get ready: without a generation that serves, that is the end."""
        if self._serving is not None:
            self._drop_candidate(failure)
        elif not self.stopping:
            self._do(BootAbandoned(failure))
            self._exit_code = failure.exit_code
            self._stop(now, graceful=False)

    def _drop_candidate(self, failure: Failure) -> None:
        candidate, self._candidate = self._candidate, None
        if candidate is None:
            return
        if self._serving is not None:
            self._do(GenerationDropped(candidate.number, self._serving.number, failure))
        for worker in self._workers.of_generation(candidate.number):
            if worker.state is State.SPAWNING:
                worker.parting = Parting.KILL
            elif worker.state in (State.BOOTING, State.SERVING, State.DRAINING):
                self._kill(worker, Cause.DROPPED, "its generation was dropped")
        self._stop_loader(candidate)

    def _take_over(self, candidate: Generation) -> None:
        """Its first worker is ready: the candidate serves, and what came before it is on its way out."""
        previous, self._serving, self._candidate = self._serving, candidate, None
        if previous is not None:
            self._do(GenerationTakesOver(candidate.number, previous.number))
            self._set_wanted(candidate.limits.workers)
            self._stop_loader(previous)

    def _reload(self, limits: Limits, now: float) -> None:
        if self._phase is not Phase.RUNNING:
            return
        self._drop_candidate(Failure("superseded by a newer reload"))
        if self._serving is None:
            self._set_wanted(limits.workers)
        self._start_candidate(limits, now)

    def _stand_down(self) -> None:
        if self._serving is not None:
            self._drop_candidate(Failure("superseded by a request for no workers"))
        self._set_wanted(0)

    # The life of a worker

    def _forked(self, worker: Worker, pid: int, now: float) -> None:
        worker.move(Cause.FORKED)
        worker.pid = pid
        worker.deadline = now + worker.limits.boot_timeout
        worker.look_at = now + worker.limits.timeout if worker.limits.timeout else None
        if worker.parting is Parting.KILL:
            self._kill(worker, Cause.DROPPED, "its generation was dropped")
        elif worker.parting is Parting.DRAIN:
            self._drain(worker, "no longer wanted", now)

    def _fork_failed(self, worker: Worker, reason: str, now: float) -> None:
        self._bury(worker, Cause.FORK_FAILED)
        if worker.parting is None:
            self._failed(worker, Failure(f"worker {worker.number} could not be forked: {reason}"), now)

    def _ready(self, number: int, now: float) -> None:
        worker = self._workers.get(number)
        if worker is None:
            return
        worker.move(Cause.READY)
        if not worker.serving:
            return
        worker.ready_at = now
        worker.deadline = None
        if self._candidate is not None and worker.generation == self._candidate.number:
            self._take_over(self._candidate)

    def _leaving(self, worker: Worker, now: float) -> None:
        was_live = worker.live
        worker.move(Cause.LEAVING)
        if was_live:
            worker.deadline = now + worker.limits.graceful_timeout + policy.DRAIN_MARGIN
            self._failed(worker, Failure(f"worker {worker.number} drains though nobody here told it to"), now)

    def _exited(self, worker: Worker, status: int, now: float) -> None:
        unexpected = worker.state in (State.BOOTING, State.SERVING)
        self._bury(worker, Cause.EXITED)
        self._do(Reap(worker.number, worker.pid, status, expected=not unexpected))
        if unexpected:
            self._failed(worker, worker.failure or Failure(f"worker {worker.number} died ({describe(status)})"), now)

    def _failed(self, worker: Worker, failure: Failure, now: float) -> None:
        """A worker left its slot without being told to."""
        if self.stopping:
            return
        candidate = self._candidate
        if candidate is not None and worker.generation == candidate.number:
            candidate.crashes += 1
            if self._serving is not None or worker.failure or candidate.crashes >= policy.BOOT_CRASHES:
                self._give_up(candidate, failure, now)
                return
        slot = self._slots.get(worker.slot)
        if slot is None:
            return
        served = worker.ready_at is not None
        if worker.ready_at is not None and now - worker.ready_at >= policy.STABLE_UPTIME:
            slot.failures = 0
        slot.failures += 1
        wait = policy.back_off(slot.failures, served=served, jitter=self._jitter())
        slot.not_before = now + wait
        if wait:
            self._do(BackOff(worker.slot, wait, slot.failures, failure))

    def _bury(self, worker: Worker, cause: Cause) -> None:
        worker.move(cause)
        worker.deadline = worker.look_at = None
        self._workers.remove(worker)

    # Telling workers to go

    def _drain(self, worker: Worker, reason: str, now: float) -> None:
        if worker.state is State.SPAWNING:
            worker.parting = worker.parting or Parting.DRAIN
            return
        worker.move(Cause.RETIRED)
        worker.deadline = now + worker.limits.graceful_timeout + policy.DRAIN_MARGIN
        self._do(Drain(worker.number, worker.pid, reason))

    def _quit(self, worker: Worker, now: float) -> None:
        if worker.quit_sent:
            return
        if worker.state is not State.DRAINING:
            worker.move(Cause.RETIRED)
        worker.quit_sent = True
        worker.deadline = now + policy.QUIT_GRACE
        self._do(Quit(worker.number, worker.pid))

    def _abort(self, worker: Worker, reason: str, now: float) -> None:
        was_live = worker.live
        worker.move(Cause.STUCK)
        worker.deadline = now + policy.ABORT_GRACE
        worker.look_at = None
        self._do(Abort(worker.number, worker.pid, reason))
        if was_live:
            worker.failure = worker.failure or Failure(f"worker {worker.number} was stuck: {reason}")
            self._failed(worker, worker.failure, now)

    def _kill(self, worker: Worker, cause: Cause, reason: str) -> None:
        worker.move(cause)
        worker.deadline = worker.look_at = None
        self._do(Kill(worker.number, worker.pid, reason))

    def _stop(self, now: float, *, graceful: bool) -> None:
        if self._phase is Phase.RUNNING:
            self._phase = Phase.STOPPING
            self._candidate = None
            for generation in list(self._generations.values()):
                self._stop_loader(generation)
        elif graceful:
            return
        for worker in self._workers:
            if worker.state is State.SPAWNING:
                worker.parting = Parting.KILL
            elif worker.state not in (State.BOOTING, State.SERVING, State.DRAINING):
                continue
            elif not graceful:
                self._quit(worker, now)
            elif worker.state is not State.DRAINING:
                self._drain(worker, "stop", now)

    # Time

    def _tick(self, beats: dict[int, float], now: float) -> None:
        for generation in list(self._generations.values()):
            if generation.deadline is not None and generation.deadline <= now:
                limit = generation.limits.boot_timeout
                self._stop_loader(generation)
                if generation is self._candidate:
                    failure = Failure(f"generation {generation.number} did not load within boot_timeout ({limit:g} s)")
                    self._give_up(generation, failure, now)
        for worker in self._workers:
            if worker.number in beats:
                worker.beat = beats[worker.number]
            if worker.deadline is not None and worker.deadline <= now:
                self._deadline_passed(worker, now)
            elif worker.look_at is not None and worker.look_at <= now:
                self._judge_heartbeat(worker, worker.look_at, now)

    def _deadline_passed(self, worker: Worker, now: float) -> None:
        match worker.state:
            case State.SPAWNING:
                worker.deadline = None
                self._stop_loader(self._generations[worker.generation])
            case State.BOOTING:
                self._abort(worker, f"not ready within boot_timeout ({worker.limits.boot_timeout:g} s)", now)
            case State.DRAINING if worker.quit_sent:
                self._kill(worker, Cause.OVERDUE, "did not quit in time")
            case State.DRAINING:
                limit = worker.limits.graceful_timeout
                self._kill(worker, Cause.OVERDUE, f"did not drain within graceful_timeout ({limit:g} s)")
            case _:
                self._kill(worker, Cause.OVERDUE, "did not die of the abort")

    def _judge_heartbeat(self, worker: Worker, look_at: float, now: float) -> None:
        timeout = worker.limits.timeout
        if worker.state not in WATCHED:
            worker.look_at = None
        elif not worker.beat:
            worker.look_at = now + timeout
        else:
            beat = policy.forgiven_beat(worker.beat, look_at=look_at, now=now, timeout=timeout)
            worker.look_at = beat + timeout + policy.BEAT_SLACK
            if worker.look_at <= now:
                silence = now - worker.beat
                self._abort(worker, f"its event loop has been silent for {silence:.1f} s (timeout {timeout:g} s)", now)

    # From what there is to what there should be

    def _capacity(self) -> Capacity:
        return Capacity(
            self._workers, self._slots, wanted=self._wanted, serving=self._serving, candidate=self._candidate
        )

    def _settle(self, now: float) -> None:
        if self._phase is Phase.STOPPING and not self._workers and not self._generations:
            self._phase = Phase.DONE
            self._do(Exit(self._exit_code))
        if self._phase is not Phase.RUNNING:
            return
        serving = self._serving
        if serving is not None and serving.load is Load.LOST and serving.not_before <= now:
            self._start_loader(serving, now)
        for departure in self._capacity().departures():
            self._drain(departure.worker, departure.reason, now)
        self._spawn_from(serving or self._candidate, self._capacity().vacancies(now), now)
        source = self._candidate or serving
        if serving is not None and source is not None:
            self._spawn_from(source, self._capacity().replacements(now, source.limits.surge), now)
        self._report_readiness(now)

    def _spawn_from(self, generation: Generation | None, slots: list[int], now: float) -> None:
        if generation is None or generation.load is not Load.LOADED:
            return
        for slot in slots:
            self._slots.setdefault(slot, Slot())
            worker = self._workers.add(
                slot=slot,
                generation=generation.number,
                limits=generation.limits,
                deadline=now + policy.SPAWN_TIMEOUT,
            )
            self._do(Spawn(worker.number, generation.number, slot))

    def _report_readiness(self, now: float) -> None:
        serving = self._serving
        if serving is None or serving.reported or self._candidate is not None:
            return
        if self._capacity().is_settled(serving):
            serving.reported = True
            seconds = now - serving.started_at
            if self._ready_announced:
                self._do(ReloadFinished(serving.number, self._wanted, seconds))
            else:
                self._ready_announced = True
                self._do(AnnounceReady(self._wanted, seconds))

    def _set_wanted(self, wanted: int, *, first: bool = False) -> None:
        old, self._wanted = self._wanted, wanted
        for slot in range(wanted):
            self._slots.setdefault(slot, Slot())
        for slot in [slot for slot in self._slots if slot >= wanted]:
            del self._slots[slot]
        if first or old != wanted:
            self._do(WorkersChanged(wanted, None if first else old))

    def _do(self, action: Action) -> None:
        self._actions.append(action)


def describe(status: int) -> str:
    """An exit status in words: ``exit code 3``, ``signal 9``."""
    return f"exit code {status}" if status >= 0 else f"signal {-status}"
