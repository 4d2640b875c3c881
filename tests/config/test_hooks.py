"""Hooks: what counts as one, and what it is called with."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from supervisor.config.schema import Invalid
from supervisor.config.settings import TABLE


def one(server: Any) -> Any:
    return server


def two(server: Any, worker: Any) -> Any:
    return server, worker


def three(a: Any, b: Any, c: Any) -> Any:
    return a, b, c


def four(a: Any, b: Any, c: Any, d: Any) -> Any:
    return a, b, c, d


def keyword_only(server: Any, *, extra: int = 1) -> Any:
    return server, extra


def demanding(server: Any, *, extra: int) -> Any:
    return server, extra


def variadic(*arguments: Any) -> Any:
    return arguments


class Object:
    def __call__(self, server: Any) -> Any:
        return server

    @staticmethod
    def static(server: Any) -> Any:
        return server

    def method(self, server: Any) -> Any:
        return server


@pytest.mark.parametrize(
    "value",
    [
        one,
        lambda _: None,
        print,
        Object(),
        Object.static,
        Object().method,
        functools.partial(two, 1),
        keyword_only,
        variadic,
        "os.fspath",
        "logging.config.dictConfig",
    ],
)
def test_callables_with_one_argument(value: Any) -> None:
    assert callable(TABLE["on_exit"].validate(value))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("on_exit", two, r"^must accept 1 argument \(server\): two\(server, worker\) does not$"),
        ("post_fork", one, r"^must accept 2 arguments \(server, worker\): one\(server\) does not$"),
        ("nworkers_changed", two, r"^must accept 3 arguments \(server, new_value, old_value\)"),
        ("on_exit", demanding, "^must accept 1 argument"),
        ("on_exit", 5, "^must be callable, not 5$"),
        ("on_exit", "nothing", "^must be a callable or an import string such as package.module.name, not 'nothing'"),
        ("on_exit", "os.no_such_thing", "^cannot be found: the module os has no attribute 'no_such_thing'"),
        ("on_exit", "no_such_module.x", "^cannot be imported from 'no_such_module.x': ModuleNotFoundError"),
        ("on_exit", "os.sep", "^must be callable, not '/'"),
        ("post_request", one, r"^must accept 4 arguments \(worker, req, environ, resp\), or the first 2 or 3"),
    ],
)
def test_what_is_no_hook(name: str, value: Any, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        TABLE[name].validate(value)


@pytest.mark.parametrize(("value", "expected"), [(two, (1, 2)), (three, (1, 2, 3)), (four, (1, 2, 3, 4))])
def test_the_hook_after_a_response_may_leave_arguments_out(value: Any, expected: object) -> None:
    assert TABLE["post_request"].validate(value)(1, 2, 3, 4) == expected
