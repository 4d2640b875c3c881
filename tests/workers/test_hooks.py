"""`run_hook`: nothing that a hook does reaches its caller."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from supervisor.hooks import place, positional_limit, run_hook

LOG = logging.getLogger("tests.hooks")


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
