"""Anything may happen, in any order: the arbiter against a small model of the world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from supervisor.core import actions, events, policy
from supervisor.core.actions import Action
from supervisor.core.arbiter import Arbiter
from supervisor.core.events import Event, Failure, Limits

MANY_STEPS = 5000


@dataclass
class Loader:
    """A loader process. ``fails``: it said that it cannot load, and is about to exit."""

    loaded: bool = False
    fails: bool = False
    stopped: bool = False
    aborted: bool = False


@dataclass
class Process:
    """A worker: before its fork is known (``pid`` 0), in its life, and dying, until it is reaped."""

    number: int
    generation: int
    pid: int = 0
    ready: bool = False
    early: bool = False  # said that it is ready before its fork was known
    failed: bool = False  # said that it cannot boot
    beats: bool = True
    last_beat: float = 0.0
    stubborn: bool = False  # ignores all but KILL
    leaving: bool = False
    retiring: bool = False
    drained: bool = False
    quit: bool = False
    aborted: bool = False
    killed: bool = False

    @property
    def told(self) -> bool:
        return self.drained or self.quit or self.aborted or self.killed

    @property
    def serves(self) -> bool:
        return bool(self.pid) and self.ready and not self.told and not self.leaving

    @property
    def will_exit(self) -> bool:
        obeys = (self.drained or self.quit or self.aborted or self.leaving or self.failed) and not self.stubborn
        return bool(self.pid) and (self.killed or obeys)


class World(RuleBasedStateMachine):
    """The shell, loaders and workers, as bad as they may be; `calm_down` makes them good."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.loaders: dict[int, Loader] = {}
        self.processes: dict[int, Process] = {}
        self.started: set[int] = set()
        self.dropped: set[int] = set()
        self.placeholders: set[int] = set()
        self.put_up_placeholder = False
        self.held = False  # nothing serves, and nothing will before the next reload
        self.outcomes: set[tuple[str, int]] = set()
        self.spawned: set[int] = set()
        self.harmed = False
        self.exit_code: int | None = None

    @initialize(
        workers=st.integers(0, 4),
        surge=st.integers(1, 2),
        timeout=st.sampled_from([0, 10]),
        patient=st.booleans(),
        jitter=st.floats(0, 0.99),
    )
    def start(self, workers: int, surge: int, timeout: float, patient: bool, jitter: float) -> None:
        self.arbiter = Arbiter(jitter=lambda: jitter)
        self.limits = Limits(
            workers=workers, surge=surge, timeout=timeout, boot_timeout=60, graceful_timeout=20, patient=patient
        )
        self.feed(events.Started(self.limits))

    # What the shell does

    def feed(self, event: Event, *, serving: int | None = None) -> None:
        """Tell the arbiter, and do what it says. ``serving``: how many did before, if the event itself changes that."""
        before = len(self.serving()) if serving is None else serving
        wanted = self.arbiter.wanted
        done = self.arbiter.handle(event, self.now)
        for action in done:
            self.perform(action)
        if self.put_up_placeholder:
            self.put_up_placeholder = False
            self.placeholders.add(self.arbiter.next_generation)
            self.feed(events.ReloadRequested(self.limits, placeholder=True))
        sent_away = any(isinstance(action, actions.Drain) for action in done)
        if sent_away and not self.harmed and not self.arbiter.stopping:
            assert len(self.serving()) >= min(before, wanted, self.arbiter.wanted)

    def perform(self, action: Action) -> None:
        assert self.exit_code is None
        match action:
            case actions.StartLoader(generation):
                assert generation not in self.loaders
                assert not self.arbiter.stopping
                self.started.add(generation)
                self.loaders[generation] = Loader()
            case actions.StopLoader(generation):
                assert not self.loaders[generation].stopped
                self.loaders[generation].stopped = True
            case actions.AbortLoader(generation):
                assert not self.loaders[generation].stopped
                assert not self.loaders[generation].aborted
                self.loaders[generation].aborted = True
            case actions.Spawn(number, generation):
                assert self.loaders[generation].loaded
                assert not self.loaders[generation].stopped
                assert not self.loaders[generation].aborted
                assert number not in self.spawned
                self.spawned.add(number)
                self.processes[number] = Process(number, generation)
            case actions.Drain(number, pid):
                process = self.running(number, pid)
                assert not process.told
                assert not process.leaving
                process.drained = True
            case actions.Quit(number, pid):
                process = self.running(number, pid)
                assert not any([process.quit, process.aborted, process.killed])
                process.quit = True
            case actions.Abort(number, pid):
                process = self.running(number, pid)
                assert not any([process.aborted, process.killed])
                process.aborted = True
            case actions.Kill(number, pid):
                process = self.running(number, pid)
                assert not process.killed
                process.killed = True
            case actions.Reap(number, pid):
                del self.processes[self.running(number, pid).number]
            case actions.GenerationDropped(generation, serving, _, superseded):
                self.dropped.add(generation)
                if not superseded and not serving:
                    assert self.limits.patient
                    self.held = generation in self.placeholders
                    self.put_up_placeholder = not self.held
            case actions.BootAbandoned():
                assert not self.serving()
                assert not self.limits.patient
            case actions.AnnounceReady(workers):
                assert not {process.generation for process in self.serving()} & self.placeholders
                assert len(self.serving()) == workers == self.arbiter.wanted > 0
            case actions.ReloadFinished(generation, workers):
                assert {process.generation for process in self.serving()} <= {generation}
                assert len(self.serving()) == workers == self.arbiter.wanted
                assert not [p for p in self.processes.values() if p.pid and p.generation < generation]
                self.note_outcome("finished", generation)
            case actions.ReloadStalled(generation, serving):
                assert len([process for process in self.serving() if process.generation == generation]) == serving
                assert ("finished", generation) not in self.outcomes
                self.note_outcome("stalled", generation)
            case actions.Exit(code):
                assert self.arbiter.done
                self.exit_code = code

    def note_outcome(self, outcome: str, generation: int) -> None:
        assert (outcome, generation) not in self.outcomes
        self.outcomes.add((outcome, generation))

    def running(self, number: int, pid: int) -> Process:
        process = self.processes[number]
        assert process.pid == pid > 0
        return process

    def sleep_until(self, end: float, *, late: float = 0.0) -> None:
        """Let time pass, with a tick whenever one is due, or ``late`` seconds after that."""
        for _ in range(MANY_STEPS):
            due = self.arbiter.next_deadline()
            if due is None or due > end:
                break
            self.now = max(self.now, due + late)
            self.feed(events.Tick(self.heartbeats()))
            due = self.arbiter.next_deadline()
            assert due is None or due > self.now, "the tick has not consumed its deadline"
        else:
            raise AssertionError("the arbiter does not come to rest")
        self.now = max(self.now, end)

    def heartbeats(self) -> dict[int, float]:
        for process in self.processes.values():
            if process.pid and process.beats and not process.killed:
                process.last_beat = self.now - 0.01
        return {number: process.last_beat for number, process in self.processes.items()}

    # Who there is

    def serving(self) -> list[Process]:
        return [process for process in self.processes.values() if process.serves]

    def some(self, data: st.DataObject, condition: str) -> Process | None:
        """One of the workers that fulfil the condition, if there are any."""
        tests: dict[str, Callable[[Process], bool]] = {
            "unborn": lambda process: not process.pid,
            "booting": lambda process: bool(process.pid) and not process.ready and not process.failed,
            "alive": lambda process: bool(process.pid),
            "ready": lambda process: bool(process.pid) and process.ready,
            "exiting": lambda process: process.will_exit,
        }
        found = [process for process in self.processes.values() if tests[condition](process)]
        return data.draw(st.sampled_from(found), label=condition) if found else None

    def some_loader(self, data: st.DataObject, **state: bool) -> int | None:
        found = [
            generation
            for generation, loader in self.loaders.items()
            if all(getattr(loader, name) == value for name, value in state.items())
        ]
        return data.draw(st.sampled_from(found), label="loader") if found else None

    # What may happen

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 4.0, 11.0, 35.0]))
    def time_passes(self, seconds: float) -> None:
        self.sleep_until(self.now + seconds)

    @rule(seconds=st.sampled_from([0.5, 2.0, 50.0, 500.0]))
    def arbiter_is_held_up(self, seconds: float) -> None:
        self.sleep_until(self.now + 0.02, late=seconds)

    @rule(data=st.data())
    def loader_loads(self, data: st.DataObject) -> None:
        number = self.some_loader(data, loaded=False, fails=False)
        if number is not None:
            self.loaders[number].loaded = True
            self.feed(events.LoaderReady(number))

    @rule(data=st.data())
    def loader_fails(self, data: st.DataObject) -> None:
        number = self.some_loader(data, loaded=False, fails=False)
        if number is not None:
            self.loaders[number].fails = True
            self.feed(events.LoaderFailed(number, Failure("cannot load", exit_code=4)))

    @rule(data=st.data())
    def loader_dies(self, data: st.DataObject) -> None:
        number = self.some_loader(data)
        if number is not None:
            self.loader_exits(number)

    def loader_exits(self, number: int) -> None:
        del self.loaders[number]
        unborn = [p.number for p in self.processes.values() if p.generation == number and not p.pid]
        for worker in unborn:
            del self.processes[worker]
        self.feed(events.LoaderExited(number, -9))

    @rule(data=st.data(), stubborn=st.booleans())
    def worker_is_forked(self, data: st.DataObject, stubborn: bool) -> None:
        if process := self.some(data, "unborn"):
            process.stubborn = stubborn
            self.fork(process)

    def fork(self, process: Process) -> None:
        serving = len(self.serving())
        process.pid = 100 + process.number
        process.ready = process.early
        self.feed(events.Forked(process.number, process.pid), serving=serving)

    @rule(data=st.data())
    def fork_fails(self, data: st.DataObject) -> None:
        process = self.some(data, "unborn")
        if process and not process.early:
            del self.processes[process.number]
            self.harmed = True
            self.feed(events.ForkFailed(process.number, "no memory"))

    @rule(data=st.data())
    def worker_is_heard_before_its_fork(self, data: st.DataObject) -> None:
        process = self.some(data, "unborn")
        if process and not process.early:
            process.early = True
            self.feed(events.Ready(process.number))

    @rule(data=st.data())
    def worker_gets_ready(self, data: st.DataObject) -> None:
        if process := self.some(data, "booting"):
            self.get_ready(process)

    def get_ready(self, process: Process) -> None:
        serving = len(self.serving())
        process.ready = True
        self.feed(events.Ready(process.number), serving=serving)

    @rule(data=st.data())
    def worker_cannot_boot(self, data: st.DataObject) -> None:
        if process := self.some(data, "booting"):
            self.harmed = process.failed = True
            self.feed(events.BootFailed(process.number, Failure("lifespan startup failed")))

    @rule(data=st.data())
    def worker_wants_to_retire(self, data: st.DataObject) -> None:
        if process := self.some(data, "alive"):
            process.retiring = True
            self.feed(events.RetirementWanted(process.number, "max_requests"))

    @rule(data=st.data())
    def worker_drains(self, data: st.DataObject) -> None:
        if process := self.some(data, "alive"):
            self.harmed = self.harmed or not process.told
            process.leaving = True
            self.feed(events.Draining(process.number))

    @rule(data=st.data())
    def worker_is_wedged(self, data: st.DataObject) -> None:
        if process := self.some(data, "ready"):
            self.heartbeats()
            self.harmed = True
            process.beats = False

    @rule(data=st.data(), status=st.sampled_from([0, 1, 3, 4, -9, -11]))
    def worker_dies(self, data: st.DataObject, status: int) -> None:
        if process := self.some(data, "alive"):
            self.harmed = self.harmed or not process.will_exit
            self.feed(events.Exited(process.number, status))

    @rule(data=st.data())
    def worker_does_as_it_is_told(self, data: st.DataObject) -> None:
        if process := self.some(data, "exiting"):
            self.feed(events.Exited(process.number, -9 if process.killed else 0))

    @rule()
    def last_words(self) -> None:
        """What the dead said before they died may be read after it."""
        gone = self.spawned - self.processes.keys()
        for worker in gone:
            self.feed(events.Ready(worker))
            self.feed(events.RetirementWanted(worker, "max_requests"))
            self.feed(events.Draining(worker))
            self.feed(events.BootFailed(worker, Failure("too late")))

    @rule(workers=st.integers(0, 4))
    def hup(self, workers: int) -> None:
        self.limits = replace(self.limits, workers=workers)
        self.held = False
        self.feed(events.ReloadRequested(self.limits))

    @rule(delta=st.sampled_from([-2, -1, 1, 2]))
    def scale(self, delta: int) -> None:
        self.feed(events.ScaleRequested(delta))

    @rule()
    def winch(self) -> None:
        self.feed(events.StandDownRequested())

    @precondition(lambda self: len(self.spawned) > 4)
    @rule(graceful=st.booleans())
    def stop(self, graceful: bool) -> None:
        self.feed(events.StopRequested(graceful))

    @precondition(lambda self: len(self.spawned) > 2)
    @rule()
    def all_is_well_again(self) -> None:
        """Without further failures there are soon the wanted workers, all of the newest code that was not dropped."""
        self.calm_down()
        if self.arbiter.stopping:
            assert self.exit_code is not None
            return
        serving = self.serving()
        assert len(serving) == self.arbiter.wanted == len(self.processes)
        assert {process.generation for process in serving} <= {max(self.started - self.dropped)}
        self.harmed = False

    def calm_down(self) -> None:
        if self.held and not self.arbiter.stopping:
            self.hup(self.limits.workers)
        for _ in range(MANY_STEPS):
            if not self.one_good_thing():
                if self.is_well():
                    return
                due = self.arbiter.next_deadline()
                assert due is not None, "nothing is under way"
                self.sleep_until(due)
        raise AssertionError("no rest")

    def one_good_thing(self) -> bool:
        """Something that has to happen, happens; False if there is nothing."""
        for number, loader in list(self.loaders.items()):
            if loader.stopped or loader.aborted or loader.fails:
                self.loader_exits(number)
                return True
            if not loader.loaded:
                loader.loaded = True
                self.feed(events.LoaderReady(number))
                return True
        for process in list(self.processes.values()):
            if not process.pid:
                self.fork(process)
            elif process.will_exit:
                self.feed(events.Exited(process.number, 0))
            elif not process.ready and not process.failed and not process.told and not process.leaving:
                self.get_ready(process)
            else:
                continue
            return True
        return False

    def is_well(self) -> bool:
        if self.arbiter.stopping:
            return self.exit_code is not None
        if self.limits.timeout == 0:
            for process in self.processes.values():
                process.beats = True  # a wedge that nobody looks for may end by itself
        fresh = all(process.serves and process.beats and not process.retiring for process in self.processes.values())
        return fresh and len(self.processes) == self.arbiter.wanted

    # What always holds

    @invariant()
    def nobody_waits_long_for_the_first_of_all(self) -> None:
        loading = any(not loader.loaded for loader in self.loaders.values())
        if not self.processes and not loading and not self.held and self.arbiter.wanted and not self.arbiter.stopping:
            due = self.arbiter.next_deadline()
            assert due is not None
            assert due <= self.now + policy.DESERTED_CAP + 0.001

    @invariant()
    def never_more_than_wanted_and_surge(self) -> None:
        if not hasattr(self, "arbiter"):
            return
        parting = {worker.number for worker in self.arbiter.workers if worker.parting}
        live = [p for p in self.processes.values() if not (p.told or p.leaving) and p.number not in parting]
        assert self.arbiter.stopping or len(live) <= self.arbiter.wanted + self.limits.surge

    @invariant()
    def both_know_the_same_workers(self) -> None:
        if hasattr(self, "arbiter"):
            assert {worker.number: worker.pid for worker in self.arbiter.workers} == {
                process.number: process.pid for process in self.processes.values()
            }

    @invariant()
    def after_exit_nothing_is_left(self) -> None:
        if self.exit_code is not None:
            assert not self.processes
            assert not self.loaders
            assert self.arbiter.next_deadline() is None

    def teardown(self) -> None:
        """Every stop ends, whatever went before."""
        if hasattr(self, "arbiter"):
            self.feed(events.StopRequested(graceful=True))
            self.calm_down()
            assert self.exit_code is not None
            self.after_exit_nothing_is_left()


TestWorld = World.TestCase
TestWorld.settings = settings(
    max_examples=60,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
