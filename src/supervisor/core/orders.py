"""What a worker that is to go can be told. Each order moves it, sets its new deadline and returns the action.

A worker that has no process yet takes the order down as its `Parting`; `part` carries it out after the fork.
"""

from __future__ import annotations

from supervisor.core import policy
from supervisor.core.actions import Abort, Action, Drain, Kill, Quit
from supervisor.core.lifecycle import Cause, State
from supervisor.core.workers import Parting, Worker


def drain(worker: Worker, reason: str, now: float) -> list[Action]:
    """TERM, to a live worker."""
    if worker.state is State.SPAWNING:
        worker.parting = worker.parting or Parting(reason)
        return []
    worker.move(Cause.RETIRED)
    worker.deadline = drain_deadline(worker, now)
    return [Drain(worker.number, worker.pid, reason)]


def quit_now(worker: Worker, now: float) -> list[Action]:
    """QUIT, to a worker in any state; none is told twice, and one that dies already is left to it."""
    if worker.state is State.SPAWNING:
        worker.parting = Parting("stop", kill=True)
        return []
    if worker.quit_sent or worker.state not in (State.BOOTING, State.SERVING, State.DRAINING):
        return []
    was_draining = worker.state is State.DRAINING
    if not was_draining:
        worker.move(Cause.RETIRED)
    worker.quit_sent = True
    worker.deadline = _sooner(worker.deadline if was_draining else None, now + policy.QUIT_GRACE)
    return [Quit(worker.number, worker.pid)]


def abort(worker: Worker, reason: str, now: float) -> list[Action]:
    """ABRT, to a worker that is stuck. A drain that has to end before the time for stacks is up, ends."""
    drain_ends = worker.deadline if worker.state is State.DRAINING else None
    worker.move(Cause.STUCK)
    worker.deadline = _sooner(drain_ends, now + policy.ABORT_GRACE)
    worker.look_at = None
    return [Abort(worker.number, worker.pid, reason)]


def kill(worker: Worker, cause: Cause, reason: str) -> list[Action]:
    """KILL, which is always the last order."""
    worker.move(cause)
    worker.deadline = worker.look_at = None
    return [Kill(worker.number, worker.pid, reason)]


def drop(worker: Worker, reason: str) -> list[Action]:
    """Kill a worker that never served, and whose generation is thrown away."""
    if worker.state is State.SPAWNING:
        worker.parting = Parting(reason, kill=True)
    elif worker.state in (State.BOOTING, State.DRAINING):
        return kill(worker, Cause.DROPPED, reason)
    return []


def part(worker: Worker, now: float) -> list[Action]:
    """Carry out what was decided about a worker before it was forked."""
    parting, worker.parting = worker.parting, None
    if parting is None:
        return []
    if parting.kill:
        return kill(worker, Cause.DROPPED, parting.reason)
    return drain(worker, parting.reason, now)


def drain_deadline(worker: Worker, now: float) -> float:
    """When a worker that begins to drain ``now`` has had its time."""
    return now + worker.limits.graceful_timeout + policy.DRAIN_MARGIN


def _sooner(deadline: float | None, other: float) -> float:
    return other if deadline is None else min(deadline, other)
