"""Judging heartbeats. A worker's event loop stores the time at least once a second; zero says that no loop runs.

A tick looks at all workers, not only at the one it was due for: so all are next due at about the same time, and an
arbiter of a hundred workers wakes no more often than one of two.
"""

from __future__ import annotations

from supervisor.core import policy
from supervisor.core.lifecycle import WATCHED
from supervisor.core.workers import Worker


def watch(worker: Worker, now: float) -> None:
    """Begin to watch a worker that was just forked, unless its ``timeout`` is 0."""
    if worker.limits.timeout:
        worker.look_at = now + worker.limits.timeout


def silence(worker: Worker, beat: float, *, late: float, now: float) -> float | None:
    """For how long a worker has been silent, if that is too long; else None, and the next look is arranged.

    ``late`` is by how much the arbiter itself missed the time of this look. A little: the machine is busy, so a silent
    worker gets a moment more, but no second one for the same beat. Much: the arbiter was stopped, or the machine
    suspended; its workers may have been too, so that every beat counts as fresh.
    """
    worker.beat = beat
    if worker.look_at is None:
        return None
    if worker.state not in WATCHED:
        worker.look_at = None
        return None
    timeout = worker.limits.timeout
    if late > policy.PAUSED:
        _look_after(worker, now)
    elif beat:
        _look_after(worker, beat)
    if worker.look_at > now:
        return None
    if not beat:
        worker.look_at = now + timeout
    elif late > policy.LATE and worker.excused_beat != beat:
        worker.excused_beat = beat
        worker.look_at = now + policy.MOMENT
    return now - beat if worker.look_at <= now else None


def _look_after(worker: Worker, beat: float) -> None:
    """Look again when ``beat`` will be too old; never sooner than was arranged before."""
    assert worker.look_at is not None
    worker.look_at = max(worker.look_at, beat + worker.limits.timeout + policy.BEAT_SLACK)
