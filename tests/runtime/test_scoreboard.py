"""The memory in which workers see each other's connections."""

from __future__ import annotations

import os

from supervisor.runtime.scoreboard import NOBODY, Scoreboard


def test_a_seat_that_was_given_away_takes_no_part_until_its_worker_tells() -> None:
    board = Scoreboard(4)
    first, second = board.seat(board.take()), board.seat(board.take())
    assert first.least() == NOBODY
    first.tell(7)
    assert second.least() == 7
    second.tell(3)
    assert first.least() == 3
    second.leave()
    assert first.least() == 7


def test_vacant_seats_are_given_again_the_lowest_first() -> None:
    board = Scoreboard(4)
    numbers = [board.take() for _ in range(3)]
    assert numbers == [0, 1, 2]
    board.seat(1).tell(0)
    board.seat(1).accepted()
    board.vacate(1)
    assert board.seat(0).least() == NOBODY
    assert board.take() == 1
    assert board.seat(0).least() == NOBODY, "whoever gets it does not inherit what was told"
    assert board.seat(0).accepted_by_others() == 0


def test_vacating_twice_gives_the_seat_to_one_worker_only() -> None:
    board = Scoreboard(2)
    board.take()
    board.vacate(0)
    board.vacate(0)
    assert [board.take(), board.take(), board.take()] == [0, 1, -1]


def test_accepting_is_seen_by_the_others() -> None:
    board = Scoreboard(4)
    first, second = board.seat(board.take()), board.seat(board.take())
    first.accepted()
    assert first.accepted_by_others() == 0
    before = second.accepted_by_others()
    first.accepted()
    assert second.accepted_by_others() > before


def test_a_worker_without_a_seat_sees_and_is_not_seen() -> None:
    board = Scoreboard(1)
    seated = board.seat(board.take())
    standing = board.seat(board.take())
    standing.tell(0)
    standing.accepted()
    seated.tell(5)
    assert seated.least() == 5
    assert standing.least() == 5
    assert seated.accepted_by_others() == 0
    seated.accepted()
    assert standing.accepted_by_others() == 1


def test_what_a_child_tells_its_parent_sees() -> None:
    board = Scoreboard()
    parent, child = board.seat(board.take()), board.seat(board.take())
    pid = os.fork()
    if pid == 0:
        child.tell(11)
        child.accepted()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert parent.least() == 11
    assert parent.accepted_by_others() == 1


def test_rubbish_in_the_memory_is_no_error() -> None:
    board = Scoreboard(2)
    seat = board.seat(board.take())
    board._cells[0] = 1 << 40
    board._cells[2] = -5
    assert seat.least() == -5
    assert seat.accepted_by_others() == 0
