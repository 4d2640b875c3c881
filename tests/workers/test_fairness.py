"""Who accepts the next connection, decided without sockets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.runtime.scoreboard import Scoreboard, Seat
from supervisor.workers.fairness import FIRST_TRUCE, LONGEST_TRUCE, LOOKS, PAUSE, Fairness


def seats(*connections: int) -> list[Seat]:
    """Workers with so many connections each."""
    board = Scoreboard(len(connections))
    made = [board.seat(board.take()) for _ in connections]
    for seat, count in zip(made, connections, strict=True):
        seat.tell(count)
    return made


@pytest.mark.parametrize(
    ("mine", "others", "yields"),
    [
        (0, (0, 0), False),
        (1, (0, 3), True),
        (1, (1, 1), False),
        (1, (2, 5), False),
        (15, (14,), True),
        (16, (15,), False),
        (16, (14,), True),
        (160, (150,), False),
        (160, (149,), True),
        (5, (), False),
    ],
)
def test_who_is_clearly_ahead_yields(mine: int, others: tuple[int, ...], yields: bool) -> None:
    me, *_ = seats(mine, *others)
    assert Fairness(me).yields(mine, 0.0) is yields


def test_who_does_not_take_part_is_not_waited_for() -> None:
    me, draining = seats(5, 0)
    draining.leave()
    assert not Fairness(me).yields(5, 0.0)


def test_it_is_left_for_as_long_as_siblings_accept() -> None:
    me, other = seats(5, 0)
    fairness = Fairness(me)
    assert fairness.yields(5, 0.0)
    for look in range(3 * LOOKS):
        other.accepted()
        assert fairness.yields_again(5, look * PAUSE)


def give_up(fairness: Fairness, now: float) -> None:
    """Leave a connection that nobody takes, until it is taken after all."""
    assert fairness.yields(5, now)
    assert [fairness.yields_again(5, now) for _ in range(LOOKS)] == [True] * (LOOKS - 1) + [False]
    assert not fairness.yields(5, now), "it is taken"


def test_what_nobody_takes_is_taken_and_for_a_while_no_more_is_left() -> None:
    me, _ = seats(5, 0)
    fairness = Fairness(me)
    now, truce = 1.0, FIRST_TRUCE
    for _ in range(10):
        give_up(fairness, now)
        assert not fairness.yields(6, now + 0.9 * truce)
        now += truce
        truce = min(2 * truce, LONGEST_TRUCE)
    assert truce == LONGEST_TRUCE


def test_a_truce_ends_when_a_sibling_accepts_and_the_next_is_short_again() -> None:
    me, other = seats(5, 0)
    fairness = Fairness(me)
    for now in (1.0, 2.0, 3.0):
        give_up(fairness, now)
    other.accepted()
    assert fairness.yields(7, 3.0)
    assert fairness.yields(7, 3.0), "it is over, not only interrupted"
    while fairness.yields_again(7, 3.0):
        pass
    assert not fairness.yields(7, 3.0)
    assert fairness.yields(7, 3.0 + FIRST_TRUCE)


def test_who_is_not_ahead_any_more_takes_it_at_once() -> None:
    me, _ = seats(5, 4)
    fairness = Fairness(me)
    assert fairness.yields(5, 0.0)
    assert not fairness.yields_again(4, 0.0)
    assert not fairness.yields(4, 0.0)


@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=8),
    stuck=st.sets(st.integers(0, 7)),
    waiting=st.integers(1, 60),
)
def test_nobody_waits_while_a_worker_can_take_it(counts: list[int], stuck: set[int], waiting: int) -> None:
    """All workers that are not stuck look every `PAUSE`; the queue never stands still for longer than `LOOKS` of them.

    And if none is stuck, nobody ends up with clearly more than the fewest, unless that was so before.
    """
    workers = seats(*counts)
    deciders = [Fairness(seat) for seat in workers]
    leaving: set[int] = set()
    free = [number for number in range(len(counts)) if number not in stuck]
    now, idle_rounds = 0.0, 0
    highest = max(counts)
    while waiting and free:
        before = waiting
        for number in free:
            if not waiting:
                break
            again = number in leaving
            decide = deciders[number].yields_again if again else deciders[number].yields
            leaving.discard(number)
            if decide(counts[number], now):
                leaving.add(number)
            elif not again:
                # After the last look the listener is looked at once more.
                counts[number] += 1
                waiting -= 1
                workers[number].accepted()
                workers[number].tell(counts[number])
        now += PAUSE
        idle_rounds = 0 if waiting < before else idle_rounds + 1
        assert idle_rounds <= LOOKS + 1
    if len(free) == len(counts):
        assert max(counts) <= max(highest, min(counts) + (max(counts) >> 4) + 1)
