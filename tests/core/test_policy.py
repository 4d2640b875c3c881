from __future__ import annotations

import pytest

from supervisor.core import heartbeats, policy
from supervisor.core.events import Limits
from supervisor.core.lifecycle import State
from supervisor.core.slots import SlotTable
from supervisor.core.workers import Worker


@pytest.mark.parametrize(
    ("failures", "served", "seconds"),
    [
        (1, True, 0.0),
        (2, True, 0.5),
        (5, True, 2.916),
        (9, True, 5.0),
        (1, False, 0.5),
        (2, False, 0.9),
        (3, False, 1.62),
        (4, False, 2.916),
        (5, False, 5.2488),
        (8, False, 30.0),
        (1_000_000, False, 30.0),
    ],
)
def test_back_off_grows_to_its_cap(failures: int, served: bool, seconds: float) -> None:
    assert policy.back_off(failures, served=served, jitter=0.5) == pytest.approx(seconds)


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 0.375), (0.5, 0.5), (1.0, 0.625)])
def test_jitter_spreads_it_by_a_quarter(jitter: float, seconds: float) -> None:
    assert policy.back_off(1, served=False, jitter=jitter) == pytest.approx(seconds)


def test_the_cap_holds_whatever_the_jitter() -> None:
    assert all(policy.back_off(n, served=False, jitter=0.999) <= policy.BACK_OFF_CAP for n in range(1, 50))


@pytest.mark.parametrize(
    ("failures", "booted_in", "seconds"),
    [
        (2, 0.3, 0.3),
        (2, 0.01, 0.05),
        (50, 0.3, 0.3),
        (100, 0.3, 0.6),
        (1_000_000, 0.3, 5.0),
        (2, 60.0, 5.0),
        (2, None, 5.0),
    ],
)
def test_a_deserted_service_waits_as_long_as_a_boot(failures: int, booted_in: float | None, seconds: float) -> None:
    assert policy.desertion(failures, booted_in=booted_in) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("workers", "delta", "result"), [(1, 1, 2), (2, -1, 1), (1, -1, 1), (0, -1, 0), (0, 1, 1), (5, -9, 1), (4, 3, 7)]
)
def test_scaling_leaves_one_worker_and_conjures_none_up(workers: int, delta: int, result: int) -> None:
    assert policy.scaled(workers, delta) == result


def watched(beat: float, look_at: float, state: State = State.SERVING) -> Worker:
    return Worker(1, slot=0, generation=1, limits=Limits(timeout=10), state=state, beat=beat, look_at=look_at)


@pytest.mark.parametrize(
    ("beat", "late", "now", "silent", "next_look"),
    [
        (95.0, 0.0, 100.0, None, 105.5),  # it beats
        (89.5, 0.0, 100.0, 10.5, 100.0),  # it is silent
        (89.6, 0.0, 100.0, None, 100.1),  # not for long enough
        (89.5, 0.2, 100.0, None, 101.0),  # the arbiter is a little late: a moment more
        (89.5, 5.0, 100.0, None, 110.5),  # the arbiter was held up: a new start
        (0.0, 0.0, 100.0, None, 110.0),  # no loop runs
        (0.0, 5.0, 100.0, None, 110.5),
    ],
)
def test_heartbeats(beat: float, late: float, now: float, silent: float | None, next_look: float) -> None:
    worker = watched(beat=0.0, look_at=100.0 - late)
    assert heartbeats.silence(worker, beat, late=late, now=now) == silent
    assert worker.look_at == pytest.approx(next_look)


def test_a_look_before_its_time_arranges_the_next_one() -> None:
    """So that many workers are looked at together, and the arbiter sleeps in between."""
    worker = watched(beat=0.0, look_at=100.0)
    assert heartbeats.silence(worker, 94.0, late=0.0, now=95.0) is None
    assert worker.look_at == 104.5


def test_a_busy_machine_excuses_a_beat_once() -> None:
    worker = watched(beat=0.0, look_at=99.8)
    assert heartbeats.silence(worker, 89.3, late=0.2, now=100.0) is None
    assert heartbeats.silence(worker, 89.3, late=0.2, now=101.2) == pytest.approx(11.9)


def test_an_excuse_holds_when_somebody_else_is_looked_at_meanwhile() -> None:
    worker = watched(beat=0.0, look_at=99.8)
    assert heartbeats.silence(worker, 89.3, late=0.2, now=100.0) is None
    assert heartbeats.silence(worker, 89.3, late=0.0, now=100.5) is None
    assert worker.look_at == 101.0


@pytest.mark.parametrize("state", [State.ABORTING, State.KILLING])
def test_the_dying_are_not_watched(state: State) -> None:
    worker = watched(beat=1.0, look_at=50.0, state=state)
    assert heartbeats.silence(worker, 1.0, late=0.0, now=50.0) is None
    assert worker.look_at is None


def test_without_a_timeout_nobody_is_watched() -> None:
    worker = Worker(1, slot=0, generation=1, limits=Limits(timeout=0))
    heartbeats.watch(worker, 5.0)
    assert worker.look_at is None


def test_slots_keep_the_best_and_fill_up_with_free_numbers() -> None:
    slots = SlotTable()
    slots.resize(3, [])
    assert list(slots) == [0, 1, 2]
    slots.resize(1, [2, 0, 1])
    assert list(slots) == [2]
    slots.resize(3, [2])
    assert list(slots) == [0, 1, 2]


def test_a_slot_that_served_long_enough_begins_to_count_anew() -> None:
    slots = SlotTable()
    slots.resize(1, [])
    for failures in (1, 2, 3):
        assert slots.failed(0, served_for=None, jitter=0.5, now=100.0) == slots[0]
        assert slots[0].failures == failures
    slots.left(0, served_for=policy.STABLE_UPTIME - 1)
    assert slots[0].failures == 3
    slots.left(0, served_for=policy.STABLE_UPTIME)
    assert slots[0].failures == 0
    assert slots.failed(7, served_for=None, jitter=0.5, now=100.0) is None
