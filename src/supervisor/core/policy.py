"""The numbers behind the decisions, as small pure functions. Times are seconds."""

from __future__ import annotations

STABLE_UPTIME = 10.0
"""A worker that served this long has not failed to start: its slot begins to count anew."""

FIRST_BACK_OFF = 0.5
BACK_OFF_FACTOR = 1.8
BACK_OFF_CAP = 30.0
"""The longest wait of a slot whose workers do not get ready."""

SERVED_BACK_OFF_CAP = 5.0
"""The longest wait of a slot whose workers serve for a moment before they crash: each of them was of use."""

DESERTED_FLOOR = 0.05
DESERTED_CAP = 5.0
DESERTED_FAILURES = 50
"""See `desertion`."""

BOOT_CRASHES = 3
"""So many workers of the first generation may die unexplained before the arbiter gives up."""

STALL_CRASHES = 3
"""So many workers of a slot may die unexplained in a reload before it is said that this one does not get done."""

SPAWN_TIMEOUT = 30.0
"""A loader that was told to fork and has not by then is stuck."""

ABORT_GRACE = 2.0
"""Between ABRT and KILL: time for a worker to write its stacks to the log, or for a loader to leave them behind."""

QUIT_GRACE = 5.0
"""Between QUIT and KILL: time for the lifespan shutdown."""

DRAIN_MARGIN = 2.0
"""Between the end of ``graceful_timeout``, where the worker cancels what is left, and KILL."""

BEAT_SLACK = 0.5
"""Workers beat once a second at the latest, so a heartbeat is judged by ``timeout`` and this."""

LATE = 0.1
"""An arbiter that looks this much later than it wanted to was itself held up."""

MOMENT = 1.0
"""What a silent worker gets then: time for one more beat."""

PAUSED = 1.0
"""An arbiter that looks this much later was stopped or suspended, and most likely its workers with it."""


def back_off(failures: int, *, served: bool, jitter: float) -> float:
    """How long a slot waits after its ``failures``-th failure in a row.

    The first crash of a worker that had ``served`` is answered at once; from then on the wait grows by
    `BACK_OFF_FACTOR` up to `BACK_OFF_CAP`, or `SERVED_BACK_OFF_CAP`. ``jitter`` in [0, 1) spreads it by a quarter to
    both sides, so that slots that failed together do not come back together.
    """
    cap = SERVED_BACK_OFF_CAP if served else BACK_OFF_CAP
    step = failures - 1 if served else failures
    if step <= 0:
        return 0.0
    # The exponent is bounded before it is used: a slot may fail for years.
    grown = FIRST_BACK_OFF * BACK_OFF_FACTOR ** min(step - 1, 32)
    return min(cap, grown * (0.75 + jitter / 2))


def desertion(failures: int, *, booted_in: float | None) -> float:
    """How long no slot at all may have a worker, whatever their back-offs say, after ``failures`` in a row.

    A worker that needed ``booted_in`` seconds to get ready is followed after as long again, so that a service whose
    every worker crashes has one for half of the time, and costs half a core at worst; a loop that goes on costs less
    and less (`DESERTED_FAILURES`), up to `DESERTED_CAP`. One that never got ready (None) would be of no use that soon.
    """
    if booted_in is None:
        return DESERTED_CAP
    return min(DESERTED_CAP, max(DESERTED_FLOOR, booted_in) * max(1.0, failures / DESERTED_FAILURES))


def scaled(workers: int, delta: int) -> int:
    """So many workers after TTIN and TTOU, which leave at least one, and none where there was none."""
    return max(min(workers, 1), workers + delta)
