"""The life of one worker, as a table: (state, cause) → state. A missing key is a bug, and raises.

The table says what can happen; `supervisor.core.arbiter` says what is done about it. The diagram in
``docs/explanation/lifecycle.md`` is drawn from it.
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Where a worker is in its life."""

    SPAWNING = "spawning"  # asked for, no process yet
    BOOTING = "booting"  # a process, not ready
    SERVING = "serving"
    DRAINING = "draining"  # finishes what is in flight
    ABORTING = "aborting"  # was stuck, is writing where
    KILLING = "killing"
    GONE = "gone"


class Cause(Enum):
    """What moves a worker from one state to the next."""

    FORKED = "forked"
    FORK_FAILED = "fork failed"
    READY = "ready"
    RETIRED = "retired"  # told to drain, or quick to quit
    LEAVING = "leaving"  # drains of its own accord, or confirms that it does
    STUCK = "stuck"  # boot or heartbeat deadline passed
    OVERDUE = "overdue"  # drain or abort deadline passed
    DROPPED = "dropped"  # its generation is thrown away
    EXITED = "exited"


TRANSITIONS: dict[tuple[State, Cause], State] = {
    (State.SPAWNING, Cause.FORKED): State.BOOTING,
    (State.SPAWNING, Cause.FORK_FAILED): State.GONE,
    (State.BOOTING, Cause.READY): State.SERVING,
    (State.BOOTING, Cause.RETIRED): State.DRAINING,
    (State.BOOTING, Cause.LEAVING): State.DRAINING,
    (State.BOOTING, Cause.STUCK): State.ABORTING,
    (State.BOOTING, Cause.DROPPED): State.KILLING,
    (State.BOOTING, Cause.EXITED): State.GONE,
    # Worker classes can be subclassed: one that says "ready" twice must not bring the arbiter down.
    (State.SERVING, Cause.READY): State.SERVING,
    (State.SERVING, Cause.RETIRED): State.DRAINING,
    (State.SERVING, Cause.LEAVING): State.DRAINING,
    (State.SERVING, Cause.STUCK): State.ABORTING,
    (State.SERVING, Cause.EXITED): State.GONE,
    # A worker that was told to go may have said "ready" or "draining" just before: the words cross the signal.
    (State.DRAINING, Cause.READY): State.DRAINING,
    (State.DRAINING, Cause.LEAVING): State.DRAINING,
    (State.DRAINING, Cause.STUCK): State.ABORTING,
    (State.DRAINING, Cause.OVERDUE): State.KILLING,
    (State.DRAINING, Cause.DROPPED): State.KILLING,
    (State.DRAINING, Cause.EXITED): State.GONE,
    (State.ABORTING, Cause.READY): State.ABORTING,
    (State.ABORTING, Cause.LEAVING): State.ABORTING,
    (State.ABORTING, Cause.OVERDUE): State.KILLING,
    (State.ABORTING, Cause.EXITED): State.GONE,
    (State.KILLING, Cause.READY): State.KILLING,
    (State.KILLING, Cause.LEAVING): State.KILLING,
    (State.KILLING, Cause.EXITED): State.GONE,
}

# Tuples, since they are asked for every worker at every event, and to hash an Enum member is slow.

LIVE = (State.SPAWNING, State.BOOTING, State.SERVING)
"""States in which a worker holds its slot: it serves, or is about to."""

WATCHED = (State.BOOTING, State.SERVING, State.DRAINING)
"""States in which a heartbeat that stops is a wedge."""


def step(state: State, cause: Cause) -> State:
    """The next state.

    Raises `KeyError` where the table has no such step.
    """
    return TRANSITIONS[state, cause]
