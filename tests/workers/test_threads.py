"""Where WSGI requests run: a pool of threads, and the main thread."""

from __future__ import annotations

import contextvars
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from supervisor.workers.threads import MainThread, Threads

PATIENCE = 20.0


def make(most: int) -> Threads:
    return Threads(most, logging.getLogger("threads"))


def done_in(threads: Threads, work: Callable[[], object]) -> None:
    """Have it done, and wait."""
    over = threading.Event()

    def noted() -> None:
        work()
        over.set()

    threads.run(noted)
    assert over.wait(PATIENCE)


def test_a_thread_that_is_free_is_used_again() -> None:
    threads = make(4)
    seen: list[int] = []
    for _ in range(50):
        done_in(threads, lambda: seen.append(threading.get_ident()))
    # The one before may not have come to its rest yet; without that, there would be one.
    assert len(set(seen)) <= 4
    assert len(seen) == 50


def test_as_many_as_are_allowed_run_side_by_side_and_the_rest_wait() -> None:
    threads, gate, inside = make(3), threading.Event(), threading.Semaphore(0)
    names: list[str] = []
    over = [threading.Event() for _ in range(5)]

    def work(number: int) -> None:
        names.append(threading.current_thread().name)
        inside.release()
        gate.wait(PATIENCE)
        over[number].set()

    for number in range(5):
        threads.run(lambda number=number: work(number))  # type: ignore[misc]  # the default is no argument of the call
    for _ in range(3):
        assert inside.acquire(timeout=PATIENCE)
    assert sorted(names) == ["wsgi-1", "wsgi-2", "wsgi-3"]
    gate.set()
    assert all(event.wait(PATIENCE) for event in over)
    assert len(names) == 5


@pytest.fixture
def no_more_threads(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """While there is something in this list, no thread can be started; each attempt takes one entry away."""
    refusals: list[None] = []
    start = threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        if refusals:
            refusals.pop()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    return refusals


def test_where_no_thread_can_be_started_at_all_the_work_is_refused_and_not_kept(no_more_threads: list[None]) -> None:
    threads = make(2)
    seen: list[str] = []
    no_more_threads.append(None)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        threads.run(lambda: seen.append("refused"))
    done_in(threads, lambda: seen.append("done"))
    assert seen == ["done"]


def test_where_no_further_thread_can_be_started_work_waits_for_those_there_are(
    no_more_threads: list[None], caplog: pytest.LogCaptureFixture
) -> None:
    threads, gate = make(2), threading.Event()
    first, second = threading.Event(), threading.Event()

    def work() -> None:
        gate.wait(PATIENCE)
        first.set()

    threads.run(work)
    no_more_threads.append(None)
    threads.run(second.set)
    assert not second.is_set()
    assert "1 of 2 threads" in caplog.text
    gate.set()
    assert first.wait(PATIENCE)
    assert second.wait(PATIENCE)


def test_a_thread_that_could_not_be_started_is_started_later(no_more_threads: list[None]) -> None:
    threads, gate, inside = make(2), threading.Event(), threading.Semaphore(0)
    threads.run(lambda: gate.wait(PATIENCE))
    no_more_threads.append(None)
    waiting = threading.Event()
    threads.run(waiting.set)
    gate.set()
    assert waiting.wait(PATIENCE)
    gate.clear()

    def work() -> None:
        inside.release()
        gate.wait(PATIENCE)

    for _ in range(2):
        threads.run(work)
    assert all(inside.acquire(timeout=PATIENCE) for _ in range(2))
    gate.set()


def test_work_that_raises_costs_no_thread_and_is_called_again(caplog: pytest.LogCaptureFixture) -> None:
    threads, attempts = make(1), list[int]()

    def work() -> None:
        attempts.append(len(attempts))
        if len(attempts) == 1:
            raise SystemExit("out of the blue")

    done_in(threads, lambda: None)
    threads.run(work)
    done_in(threads, lambda: None)
    assert attempts == [0, 1]
    assert "out of the blue" in caplog.text


variable = contextvars.ContextVar("variable", default="default")


def test_each_work_of_a_thread_has_a_context_of_its_own() -> None:
    threads = make(1)
    seen: list[str] = []
    for _ in range(2):
        done_in(threads, lambda: change(seen))
    assert seen == ["default", "default"]


def change(seen: list[str]) -> None:
    seen.append(variable.get())
    variable.set("changed")


@pytest.fixture
def main() -> Iterator[MainThread]:
    before = signal.set_wakeup_fd(-1)
    yield MainThread(logging.getLogger("main thread"))
    signal.set_wakeup_fd(before)


def beside(main: MainThread, act: Callable[[], None]) -> None:
    """Let another thread act once the main thread serves, and until it does no more."""
    serving = threading.Event()

    def acting() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        try:
            main.run(serving.set)
            assert serving.wait(PATIENCE)
            act()
        finally:
            main.close()

    thread = threading.Thread(target=acting)
    thread.start()
    main.serve()
    thread.join(PATIENCE)
    assert main.ended.is_set()


def test_the_main_thread_does_in_order_all_that_was_given_before_the_end(main: MainThread) -> None:
    seen: list[tuple[int, bool]] = []

    def act() -> None:
        for number in range(1000):
            main.run(lambda number=number: seen.append((number, in_main())))  # type: ignore[misc]  # as above

    beside(main, act)
    assert seen == [(number, True) for number in range(1000)]


def in_main() -> bool:
    return threading.current_thread() is threading.main_thread()


def test_work_in_the_main_thread_sees_its_context_and_changes_nothing_there(main: MainThread) -> None:
    seen: list[str] = []
    token = variable.set("set in main")
    try:

        def act() -> None:
            main.run(lambda: change(seen))
            main.run(lambda: change(seen))

        beside(main, act)
        assert seen == ["set in main", "set in main"]
        assert variable.get() == "set in main"
    finally:
        variable.reset(token)


@pytest.mark.parametrize("taken", [False, True], ids=["", "an event loop has taken the wake-ups away"])
def test_a_signal_is_handled_while_the_main_thread_waits(main: MainThread, taken: bool) -> None:
    heard = threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: heard.set())
    signal.siginterrupt(signal.SIGUSR1, False)
    try:

        def act() -> None:
            if taken:
                main.run(lambda: signal.set_wakeup_fd(-1))
            os.kill(os.getpid(), signal.SIGUSR1)
            assert heard.wait(PATIENCE)

        beside(main, act)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard.is_set()


def test_work_that_a_signal_handler_has_thrown_out_is_called_again(
    main: MainThread, caplog: pytest.LogCaptureFixture
) -> None:
    """It decides by itself what is left to be done: its request must not stay open."""
    seen: list[str] = []

    def work() -> None:
        seen.append("called")
        if len(seen) == 1:
            raise TimeoutError("late")

    def act() -> None:
        main.run(work)
        main.run(lambda: seen.append("next"))

    beside(main, act)
    assert seen == ["called", "called", "next"]
    assert "TimeoutError: late" in caplog.text


def test_a_signal_handler_that_raises_does_not_end_it(main: MainThread, caplog: pytest.LogCaptureFixture) -> None:
    """An alarm may ring a moment after the request that it was meant for."""
    raised, seen = threading.Event(), []

    def ring(*_: object) -> None:
        raised.set()
        raise SystemExit("late")

    before = signal.signal(signal.SIGUSR1, ring)
    try:

        def act() -> None:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert raised.wait(PATIENCE)
            main.run(lambda: seen.append("served"))

        beside(main, act)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == ["served"]
    assert "a signal handler of the application has raised between two requests" in caplog.text
