"""`run_hook`: nothing that a hook does reaches its caller."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from types import SimpleNamespace
from typing import Any

import pytest

from supervisor import hooks
from supervisor.hooks import place, positional_limit, run_hook, run_worker_exit

LOG = logging.getLogger("tests.hooks")


@pytest.fixture
def living(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process in which `run_worker_exit` was not called yet."""
    monkeypatch.setattr(hooks, "_exit_told", False)


@pytest.mark.usefixtures("living")
def test_a_worker_exits_once_and_the_thread_that_comes_second_waits_for_the_hook(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hooks, "EXIT_PATIENCE", 20)
    called: list[object] = []
    inside, let_go = threading.Event(), threading.Event()

    def hook(server: object, worker: object) -> None:
        called.append(worker)
        inside.set()
        # As when the signal to abort comes while the hook runs.
        run_worker_exit(LOG, settings, None, "interrupted")
        assert let_go.wait(20)
        called.append("done")

    settings = SimpleNamespace(worker_exit=hook)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run_worker_exit, LOG, settings, None, "first")
        assert inside.wait(20)
        second = pool.submit(run_worker_exit, LOG, settings, None, "second")
        assert not wait([second], timeout=0.1).done
        second.add_done_callback(lambda _: called.append("second goes on"))
        let_go.set()
        second.result(20)
        first.result(20)
    assert called == ["first", "done", "second goes on"]


@pytest.mark.usefixtures("living")
def test_a_worker_does_not_wait_for_a_hook_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "EXIT_PATIENCE", 0.01)
    inside, let_go = threading.Event(), threading.Event()

    def hook(server: object, worker: object) -> None:
        inside.set()
        let_go.wait(20)

    settings = SimpleNamespace(worker_exit=hook)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(run_worker_exit, LOG, settings, None, "first")
        assert inside.wait(20)
        run_worker_exit(LOG, settings, None, "second")
        assert not first.done()
        let_go.set()


def test_returns_what_the_hook_returns() -> None:
    settings = SimpleNamespace(post_fork=lambda server, worker: (server, worker))
    assert run_hook(LOG, settings, "post_fork", 1, 2) == (1, 2)


def test_a_hook_that_is_not_set_is_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert run_hook(LOG, SimpleNamespace(post_fork=None), "post_fork", 1, 2) is None
    assert run_hook(LOG, SimpleNamespace(), "post_fork", 1, 2) is None
    assert caplog.records == []


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_whatever_it_raises_is_one_record(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    def hook(*args: Any) -> None:
        raise error

    assert run_hook(LOG, SimpleNamespace(on_exit=hook), "on_exit", None) is None
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    message = record.getMessage()
    assert message.startswith(f"hook on_exit ({__file__}:{hook.__code__.co_firstlineno}) raised ")
    assert message.endswith("; going on")
    assert record.exc_info is not None


class Callable:
    def method(self, worker: Any) -> None: ...

    def __call__(self, worker: Any, req: Any, *, extra: Any = None) -> None: ...


def test_place_of_all_kinds_of_callables() -> None:
    assert place(Callable().method).startswith(f"{__file__}:")
    assert place(Callable()).startswith(f"{__file__}:")
    assert place(print) == "print"


@pytest.mark.parametrize(
    ("hook", "limit"),
    [
        (lambda worker, req: None, 2),
        (lambda worker, req, environ=None, resp=None: None, 4),
        (lambda *args: None, None),
        (Callable(), 2),
        (Callable().method, 1),
    ],
)
def test_positional_limit(hook: Any, limit: int | None) -> None:
    assert positional_limit(hook) == limit
