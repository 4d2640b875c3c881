"""The table of a worker's life: what can happen, can; what cannot, raises; and nobody is caught in it."""

from __future__ import annotations

import itertools

import pytest

from supervisor.core.events import Limits
from supervisor.core.lifecycle import LIVE, TRANSITIONS, WATCHED, Cause, State, step
from supervisor.core.workers import Worker

HAS_PROCESS: set[State] = {State.BOOTING, State.SERVING, State.DRAINING, State.ABORTING, State.KILLING}

CAN_HAPPEN = {
    State.SPAWNING: {Cause.FORKED, Cause.FORK_FAILED},
    State.BOOTING: {Cause.READY, Cause.LEAVING, Cause.EXITED, Cause.RETIRED, Cause.STUCK, Cause.DROPPED},
    State.SERVING: {Cause.READY, Cause.LEAVING, Cause.EXITED, Cause.RETIRED, Cause.STUCK},
    State.DRAINING: {Cause.READY, Cause.LEAVING, Cause.EXITED, Cause.STUCK, Cause.OVERDUE, Cause.DROPPED},
    State.ABORTING: {Cause.READY, Cause.LEAVING, Cause.EXITED, Cause.OVERDUE},
    State.KILLING: {Cause.READY, Cause.LEAVING, Cause.EXITED},
    State.GONE: set(),
}


def name(value: State | Cause) -> str:
    return str(value.value)


PAIRS = list(itertools.product(State, Cause))


@pytest.mark.parametrize(("state", "cause"), PAIRS, ids=name)
def test_every_pair_is_in_the_table_or_raises(state: State, cause: Cause) -> None:
    worker = Worker(1, slot=0, generation=1, limits=Limits(), state=state)
    if cause in CAN_HAPPEN[state]:
        worker.move(cause)
        assert worker.state is step(state, cause)
    else:
        with pytest.raises(KeyError):
            worker.move(cause)
        assert worker.state is state


@pytest.mark.parametrize("state", list(CAN_HAPPEN)[1:-1], ids=name)
def test_whoever_has_a_process_can_exit_and_be_heard(state: State) -> None:
    assert step(state, Cause.EXITED) is State.GONE
    assert step(state, Cause.READY) is not State.GONE
    assert step(state, Cause.LEAVING) is not State.GONE
    assert Worker(1, slot=0, generation=1, limits=Limits(), state=state).has_process


@pytest.mark.parametrize("state", [State.SPAWNING, State.GONE], ids=name)
def test_others_have_none(state: State) -> None:
    assert not Worker(1, slot=0, generation=1, limits=Limits(), state=state).has_process


def test_words_bring_nobody_back() -> None:
    """Neither "ready" nor "draining" makes a worker live that was told to go."""
    for state in HAS_PROCESS - set(LIVE):
        for cause in (Cause.READY, Cause.LEAVING):
            assert step(state, cause) is state


def test_time_runs_out_for_everybody_who_was_told_to_go() -> None:
    assert step(State.DRAINING, Cause.OVERDUE) is State.KILLING
    assert step(State.ABORTING, Cause.OVERDUE) is State.KILLING


def test_heartbeats_are_watched_wherever_a_loop_can_run() -> None:
    assert set(WATCHED) == {state for state in State if (state, Cause.STUCK) in TRANSITIONS}
