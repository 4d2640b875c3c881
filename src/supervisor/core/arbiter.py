"""The arbiter's mind: every event goes in through `Arbiter.handle`, what is to be done comes out.

No clock, no process, no log: ``now`` is an argument (seconds of any clock that never goes back), randomness is a
function given at the start, and actions are values. Nothing here loops or waits. A reload is no procedure either: it
puts a candidate generation beside the serving one, and from then on `_settle` moves slot after slot, event after event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

from supervisor.core import actions, deadlines, events, heartbeats, orders, policy
from supervisor.core.actions import Action
from supervisor.core.capacity import Capacity
from supervisor.core.events import Event, Failure, Limits
from supervisor.core.generations import Generation, Generations, Load
from supervisor.core.lifecycle import Cause, State
from supervisor.core.readiness import Readiness
from supervisor.core.slots import SlotTable
from supervisor.core.status import describe
from supervisor.core.workers import Worker, WorkerTable


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
        self._stop_at: float | None = None
        self._workers = WorkerTable()
        self._slots = SlotTable()
        self._generations = Generations(self._do)
        self._readiness = Readiness()
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
    def reloading(self) -> bool:
        """A new generation has been asked for, and has neither taken over nor been dropped."""
        return self._generations.candidate is not None

    @property
    def wanted(self) -> int:
        """How many workers there should be."""
        return len(self._slots)

    @property
    def next_generation(self) -> int:
        """The number that the next reload will give to its generation."""
        return self._generations.next_number

    @property
    def workers(self) -> WorkerTable:
        """The workers that are not gone. To be read only."""
        return self._workers

    def next_deadline(self) -> float | None:
        """When a `Tick` is due at the latest, or None while there is nothing to wait for."""
        due = deadlines.earliest(self._workers, self._generations)
        times = [] if due is None else [due]
        if self._phase is Phase.RUNNING and self._slots.some_wait(self._now):
            times += self._capacity().waking_times(self._now)
        if self._phase is Phase.RUNNING and self._stop_at is not None:
            times.append(self._stop_at)
        return min(times, default=None)

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take one event in, and return what to do about it, in order."""
        if self.done:
            return []
        self._actions = []
        self._now = now
        match event:
            case events.Started(limits):
                self._start(limits, now)
            case events.LoaderReady(number):
                self._loader_ready(self._generations[number], now)
            case events.LoaderFailed(number, failure):
                self._loader_failed(self._generations[number], failure, now)
            case events.LoaderExited(number, status):
                self._loader_exited(self._generations[number], status, now)
            case events.Forked(number, pid):
                self._forked(self._workers[number], pid, now)
            case events.ForkFailed(number, reason):
                self._fork_failed(number, reason, now)
            case events.Ready(number):
                self._heard(number, Cause.READY, now)
            case events.Draining(number):
                self._heard(number, Cause.LEAVING, now)
            case events.BootFailed(number, failure):
                self._boot_failed(number, failure, now)
            case events.RetirementWanted(number, reason):
                if worker := self._workers.get(number):
                    worker.retirement = worker.retirement or reason
            case events.Exited(number, status):
                self._exited(self._workers[number], status, now)
            case events.Tick(beats):
                self._tick(beats, now)
            case events.StopRequested(graceful, at_once):
                self._stop_requested(now, graceful=graceful, at_once=at_once)
            case events.ReloadRequested(limits, placeholder):
                self._reload(limits, now, placeholder=placeholder)
            case events.ScaleRequested(delta):
                self._scale(delta)
            case events.StandDownRequested():
                self._stand_down()
        self._settle(now)
        return self._actions

    # What operators ask for

    def _start(self, limits: Limits, now: float) -> None:
        if self._phase is Phase.NEW:  # a stop may have come first
            self._phase = Phase.RUNNING
            self._set_wanted(limits.workers, first=True)
            self._generations.add_candidate(limits, now)

    def _reload(self, limits: Limits, now: float, *, placeholder: bool) -> None:
        if self._phase is Phase.RUNNING:
            self._drop_candidate(Failure("superseded by a newer reload"), superseded=True)
            if self._generations.serving is None:
                self._slots.forgive()
                self._set_wanted(limits.workers)
            self._generations.add_candidate(limits, now, placeholder=placeholder)

    def _scale(self, delta: int) -> None:
        if self._phase is Phase.RUNNING:
            if candidate := self._generations.candidate:
                candidate.wanted = policy.scaled(candidate.wanted, delta)
            self._set_wanted(policy.scaled(self.wanted, delta))

    def _stand_down(self) -> None:
        if self._phase is Phase.RUNNING:
            if self._generations.serving is not None:
                self._drop_candidate(Failure("superseded by a request for no workers"), superseded=True)
            self._set_wanted(0)

    def _stop_requested(self, now: float, *, graceful: bool, at_once: bool) -> None:
        """A graceful stop waits for ``drain_delay``; being asked again, it does not."""
        serving = self._generations.serving
        delay = serving.limits.drain_delay if serving is not None and not at_once else 0.0
        if graceful and delay and self._stop_at is None and self._phase is Phase.RUNNING:
            self._stop_at = now + delay
            self._do(actions.AnnounceStop(delay))
        else:
            self._stop(now, graceful=graceful)

    def _stop(self, now: float, *, graceful: bool) -> None:
        if self.stopping and graceful:
            return
        if graceful:
            self._do(actions.Seal())
        self._phase = Phase.STOPPING
        self._generations.stop_all()
        for worker in self._workers:
            if graceful and worker.state in (State.BOOTING, State.SERVING):
                self._actions += orders.drain(worker, "stop", now)
            elif not graceful or worker.state is State.SPAWNING:
                self._actions += orders.quit_now(worker, now)

    def _set_wanted(self, wanted: int, *, first: bool = False) -> None:
        old = self.wanted
        self._slots.resize(wanted, self._capacity().slots_by_worth())
        if first or old != wanted:
            self._do(actions.WorkersChanged(wanted, None if first else old))

    # The life of a generation

    def _loader_ready(self, generation: Generation, now: float) -> None:
        self._generations.loaded(generation, now)
        if generation is self._generations.candidate and not generation.wanted:
            self._take_over()  # nobody has to get ready

    def _loader_failed(self, generation: Generation, failure: Failure, now: float) -> None:
        generation.failure = failure
        if generation is self._generations.candidate:
            self._give_up(generation, failure, now)

    def _loader_exited(self, generation: Generation, status: int, now: float) -> None:
        for worker in self._workers.of_generation(generation.number):
            if worker.state is State.SPAWNING:
                self._bury(worker, Cause.FORK_FAILED)
        explained = generation.failure is not None
        died = Failure(f"the loader of generation {generation.number} died ({describe(status)})")
        failure = generation.failure or died
        self._generations.exited(generation)
        if generation is self._generations.candidate:
            generation.crashes += 1
            if self._is_hopeless(generation, explained=explained):
                self._give_up(generation, failure, now)
                return
        elif generation is not self._generations.serving or self.stopping:
            self._generations.forget(generation)
            return
        self._generations.restart_later(generation, failure, jitter=self._jitter(), now=now)
        if generation.not_before > now:
            self._stall(generation.number, failure, now)

    def _is_hopeless(self, candidate: Generation, *, explained: bool) -> bool:
        """Whether a candidate is not worth another try: behind it stands one that serves, or it will fail again."""
        return self._generations.serving is not None or explained or candidate.crashes >= policy.BOOT_CRASHES

    def _give_up(self, candidate: Generation, failure: Failure, now: float) -> None:
        """The candidate will not get ready: without a generation that serves, or patience, that is the end."""
        if self._generations.serving is not None or candidate.limits.patient:
            self._drop_candidate(failure)
        else:
            self._do(actions.BootAbandoned(failure))
            self._exit_code = failure.exit_code
            self._stop(now, graceful=False)

    def _drop_candidate(self, failure: Failure, *, superseded: bool = False) -> None:
        candidate, self._generations.candidate = self._generations.candidate, None
        if candidate is None:
            return
        serving = self._generations.serving
        self._do(actions.GenerationDropped(candidate.number, serving.number if serving else 0, failure, superseded))
        for worker in self._workers.of_generation(candidate.number):
            self._actions += orders.drop(worker, "its generation was dropped")
        self._generations.stop_loader(candidate)

    def _take_over(self) -> None:
        """The candidate has proven itself: it serves, and what came before it is on its way out."""
        previous, serving = self._generations.promote_candidate()
        if previous is not None:
            self._do(actions.GenerationTakesOver(serving.number, previous.number))
            self._slots.forgive()
            self._set_wanted(serving.wanted)
            self._generations.stop_loader(previous)

    # The life of a worker

    def _forked(self, worker: Worker, pid: int, now: float) -> None:
        worker.move(Cause.FORKED)
        worker.pid = pid
        worker.deadline = now + worker.limits.boot_timeout
        heartbeats.watch(worker, now)
        self._actions += orders.part(worker, now)
        for cause in worker.heard:
            self._heard(worker.number, cause, now)
        if worker.failure is not None:
            self._boot_failed(worker.number, worker.failure, now)

    def _fork_failed(self, number: int, reason: str, now: float) -> None:
        worker = self._workers.get(number)
        if worker is None:
            return  # its loader is known to be gone
        self._bury(worker, Cause.FORK_FAILED)
        if worker.parting is None:
            self._failed(worker, Failure(f"worker {number} could not be forked: {reason}"), now)

    def _heard(self, number: int, cause: Cause, now: float) -> None:
        worker = self._workers.get(number)
        if worker is None:
            return
        if worker.state is State.SPAWNING:
            worker.heard.append(cause)
        elif cause is Cause.READY:
            self._ready(worker, now)
        else:
            self._leaving(worker, now)

    def _ready(self, worker: Worker, now: float) -> None:
        booted = worker.state is State.BOOTING
        worker.move(Cause.READY)
        if booted:
            worker.ready_at = now
            worker.deadline = None
            candidate = self._generations.candidate
            if candidate is not None and worker.generation == candidate.number:
                self._take_over()

    def _boot_failed(self, number: int, failure: Failure, now: float) -> None:
        if worker := self._workers.get(number):
            worker.failure = failure
            if worker.state is State.BOOTING:
                worker.deadline = now + policy.QUIT_GRACE

    def _leaving(self, worker: Worker, now: float) -> None:
        was_live = worker.live
        worker.move(Cause.LEAVING)
        if was_live:
            worker.deadline = orders.drain_deadline(worker, now)
            self._failed(worker, Failure(f"worker {worker.number} drains though nobody here told it to"), now)

    def _exited(self, worker: Worker, status: int, now: float) -> None:
        unexpected = worker.live
        self._bury(worker, Cause.EXITED)
        self._do(actions.Reap(worker.number, worker.pid, status, expected=not unexpected))
        if unexpected:
            # A worker class of somebody else may know gunicorn's exit code 4 (application not found), not our words.
            died = Failure(f"worker {worker.number} died ({describe(status)})", exit_code=4 if status == 4 else 3)
            self._failed(worker, worker.failure or died, now)

    def _abort(self, worker: Worker, reason: str, now: float) -> None:
        was_live = worker.live
        self._actions += orders.abort(worker, reason, now)
        if was_live:
            worker.failure = worker.failure or Failure(f"worker {worker.number} was stuck: {reason}")
            self._failed(worker, worker.failure, now)

    def _failed(self, worker: Worker, failure: Failure, now: float) -> None:
        """A worker left its slot without being told to."""
        if self.stopping:
            return
        candidate = self._generations.candidate
        if candidate is not None and worker.generation == candidate.number:
            candidate.crashes += 1
            if self._is_hopeless(candidate, explained=worker.failure is not None):
                self._give_up(candidate, failure, now)
                return
        served_for = worker.served_for(now)
        slot = self._slots.failed(worker.slot, served_for=served_for, jitter=self._jitter(), now=now)
        if slot is not None and self._capacity().is_deserted():
            longest = policy.desertion(slot.failures, booted_in=worker.booted_in)
            slot.not_before = min(slot.not_before, now + longest)
        if slot is not None and slot.not_before > now:
            self._do(actions.BackOff(worker.slot, slot.not_before - now, slot.failures, failure))
            if worker.failure is not None or slot.failures >= policy.STALL_CRASHES:
                self._stall(worker.generation, failure, now)

    def _stall(self, number: int, failure: Failure, now: float) -> None:
        """A reload does not get done for now, if it is one that has taken over."""
        serving = self._generations.serving
        if serving is not None and serving.number == number:
            count = sum(worker.serving for worker in self._workers.of_generation(number))
            self._actions += self._readiness.stall(serving, failure, serving=count, wanted=self.wanted, now=now)

    def _bury(self, worker: Worker, cause: Cause) -> None:
        worker.move(cause)
        worker.deadline = worker.look_at = None
        self._workers.remove(worker)

    # Time

    def _tick(self, beats: Mapping[int, float], now: float) -> None:
        due = deadlines.earliest(self._workers, self._generations)
        late = 0.0 if due is None else now - due
        if late > policy.PAUSED:
            deadlines.give_back(self._workers, self._generations, late + policy.MOMENT)
        if self._stop_at is not None and self._stop_at <= now:
            self._stop(now, graceful=True)
        self._generations.kill_stubborn(now)
        for generation in self._generations.overdue(now):
            limit = generation.limits.boot_timeout
            failure = Failure(f"generation {generation.number} did not load within boot_timeout ({limit:g} s)")
            self._generations.abort_loader(generation, failure, now)
            if generation is self._generations.candidate:
                self._give_up(generation, failure, now)
        for worker in self._workers:
            if worker.deadline is not None and worker.deadline <= now:
                self._overdue(worker, now)
            silence = heartbeats.silence(worker, beats.get(worker.number, worker.beat), late=late, now=now)
            if silence is not None:
                limit = worker.limits.timeout
                self._abort(worker, f"its event loop has been silent for {silence:.1f} s (timeout {limit:g} s)", now)

    def _overdue(self, worker: Worker, now: float) -> None:
        complaint = deadlines.complaint(worker)
        match worker.state:
            case State.SPAWNING:
                worker.deadline = None
                self._generations.abort_loader(self._generations[worker.generation], Failure(complaint), now)
            case State.BOOTING:
                self._abort(worker, complaint, now)
            case _:
                self._actions += orders.kill(worker, Cause.OVERDUE, complaint)

    # From what there is to what there should be

    def _capacity(self) -> Capacity:
        return Capacity(self._workers, self._slots, self._generations)

    def _settle(self, now: float) -> None:
        if self._phase is Phase.STOPPING and not self._workers and not self._generations:
            self._phase = Phase.DONE
            self._do(actions.Exit(self._exit_code))
        if self._phase is not Phase.RUNNING:
            return
        self._generations.restart_lost(now)
        capacity = self._capacity()
        departures = list(capacity.departures())
        for departure in departures:
            self._slots.left(departure.worker.slot, served_for=departure.worker.served_for(now))
            self._actions += orders.drain(departure.worker, departure.reason, now)
        # A look costs some microseconds for each worker, so it is taken again only if it would show something else.
        capacity = self._capacity() if departures else capacity
        serving, candidate = self._generations.serving, self._generations.candidate
        if self._spawn_from(serving or candidate, capacity.vacancies(now), now):
            capacity = self._capacity()
        if serving is None:
            return
        source = candidate or serving
        spawned = self._spawn_from(source, capacity.replacements(now, source.limits.surge), now)
        if candidate is None and not spawned:
            self._actions += self._readiness.report(serving, capacity, self.wanted, now)

    def _spawn_from(self, generation: Generation | None, slots: list[int], now: float) -> bool:
        if generation is None or generation.load is not Load.LOADED:
            return False
        for slot in slots:
            worker = self._workers.add(
                slot=slot,
                generation=generation.number,
                limits=generation.limits,
                deadline=now + policy.SPAWN_TIMEOUT,
                now=now,
            )
            self._do(actions.Spawn(worker.number, generation.number, slot))
        return bool(slots)

    def _do(self, action: Action) -> None:
        self._actions.append(action)
