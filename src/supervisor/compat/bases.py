"""What a worker class derives from, and what therefore becomes of it. Looks at classes, imports none.

A class that derives from Uvicorn's ``UvicornWorker`` is *moved*: it keeps what it defines, and stands on this package's
worker from then on. One that replaces how Uvicorn is run, or that derives from gunicorn's ``Worker`` itself and brings
its own loop, is a *guest*: it runs as it is, inside a process of ours.
"""

from __future__ import annotations

from typing import Final

from supervisor.config.schema import Invalid

_OURS: Final = "supervisor.compat.workers"

UVICORN: Final = {
    ("uvicorn.workers", "UvicornWorker"),
    ("uvicorn_worker._workers", "UvicornWorker"),
    (_OURS, "UvicornWorker"),
}
"""Uvicorn's worker for gunicorn, by module and name."""

THREADED: Final = {
    ("gunicorn.workers.sync", "SyncWorker"),
    ("gunicorn.workers.gthread", "ThreadWorker"),
    (_OURS, "SyncWorker"),
    (_OURS, "ThreadWorker"),
}
"""gunicorn's workers for WSGI applications."""

BASE: Final = {("gunicorn.workers.base", "Worker"), (_OURS, "Worker")}

COOPERATIVE: Final = ("gunicorn.workers.ggevent", "gunicorn.workers.geventlet", "gunicorn.workers.gtornado")
"""Modules of workers that bring an event loop which is no asyncio."""

LOOP: Final = "_serve"
"""The method of Uvicorn's worker that makes and runs its server."""


def is_foreign(cls: type) -> bool:
    """Whether a class derives from gunicorn's or Uvicorn's, or from a stand-in for one."""
    return seat(cls, BASE | UVICORN) is not None


def seat(cls: type, among: set[tuple[str, str]]) -> type | None:
    """The class among the bases of ``cls`` that is one of these."""
    return next((base for base in cls.__mro__ if _key(base) in among), None)


def replaced_loop(cls: type) -> str:
    """``Class.method`` where a subclass of Uvicorn's worker replaces how its server is run, or an empty string."""
    for base in cls.__mro__ if seat(cls, UVICORN) is not None else ():
        if _key(base) in UVICORN:
            break
        code = getattr(vars(base).get(LOOP), "__code__", None)
        if LOOP in vars(base):
            # One that calls the method that it overrides adds to it.
            return "" if code is not None and LOOP in code.co_names else f"{base.__qualname__}.{LOOP}"
    return ""


def judge(cls: type, label: str) -> None:
    """Raise `Invalid` where a class derives from something foreign and cannot be made to work."""
    for base in cls.__mro__:
        if base.__module__ in COOPERATIVE:
            raise Invalid(
                f"{label} derives from {base.__module__}.{base.__qualname__}, whose event loop is none of asyncio's: "
                "derive it from supervisor.workers.uvicorn.UvicornWorker instead"
            )
    plain = seat(cls, {(_OURS, "SyncWorker"), (_OURS, "ThreadWorker")})
    if plain is not None and (own := _own_methods(cls, plain) & {"run", "handle", "handle_request", "accept", "wait"}):
        raise Invalid(
            f"{label} overrides {', '.join(sorted(own))}() of gunicorn's {plain.__name__}, which is not installed: "
            "install gunicorn beside this package, or leave that out"
        )


def _own_methods(cls: type, base: type) -> set[str]:
    return {name for one in cls.__mro__[: cls.__mro__.index(base)] for name in vars(one)}


def _key(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__
