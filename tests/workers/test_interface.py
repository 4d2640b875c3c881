"""What counts as a WSGI application, and what is left to ASGI."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import django
import flask
import litestar
import pytest
import quart
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from starlette.applications import Starlette

from supervisor.workers.interface import is_wsgi

if not settings.configured:
    settings.configure(MIDDLEWARE=[])
    django.setup()


def plain(environ: Any, start_response: Any) -> Any: ...


def renamed(env: Any, sr: Any) -> Any: ...


def with_more(environ: Any, start_response: Any, debug: bool = False) -> Any: ...


def configured(name: str, environ: Any, start_response: Any) -> Any: ...


class Method:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...

    def other(self, environ: Any, start_response: Any) -> Any: ...


class Iterated:
    """PEP 3333 shows such a class: called for each request, and the response itself."""

    def __init__(self, environ: Any, start_response: Any) -> None: ...


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    "app",
    [
        plain,
        renamed,
        with_more,
        functools.partial(configured, "name"),
        Method(),
        Method().other,
        Iterated,
        wrapped(plain),
        lambda environ, start_response: [],
        flask.Flask("shop"),
        type("Own", (flask.Flask,), {})("shop"),
        WSGIHandler(),
    ],
)
def test_wsgi(app: Any) -> None:
    assert is_wsgi(app)


async def asgi3(scope: Any, receive: Any, send: Any) -> None: ...


def asgi3_not_async(scope: Any, receive: Any, send: Any) -> Any: ...


def asgi2(scope: Any) -> Any: ...


async def two(environ: Any, start_response: Any) -> None: ...


def forwards(*args: Any) -> Any: ...


def only_by_name(environ: Any, *, start_response: Any) -> Any: ...


class Asgi2:
    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


class Asgi3:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


@pytest.mark.parametrize(
    "app",
    [
        asgi3,
        asgi3_not_async,
        asgi2,
        two,
        forwards,
        only_by_name,
        Asgi2,
        Asgi3(),
        wrapped(asgi3),
        functools.partial(asgi3),
        ASGIHandler(),
        Starlette(),
        litestar.Litestar(),
        quart.Quart("shop"),
        print,
        flask.Flask,
        42,
    ],
)
def test_asgi_or_in_doubt(app: Any) -> None:
    assert not is_wsgi(app)
