"""What a worker class derives from, and what therefore becomes of it. Looks at classes, imports none.

A class that derives from Uvicorn's ``UvicornWorker``, or from gunicorn's for WSGI, is *moved*: it keeps what it
defines, and stands on this package's worker from then on. One that replaces how that is run, or that derives from
gunicorn's ``Worker`` itself and brings its own loop, is a *guest*: it runs as it is, inside a process of ours.
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

_LOOP_OF_THREADED: Final = {
    *("accept", "enqueue_req", "finish_request", "get_thread_pool", "handle", "handle_error", "handle_request"),
    *("is_parent_alive", "murder_keepalived", "run_for_multiple", "run_for_one", "wait", "_wrap_future"),
}
"""What the loops of gunicorn's workers for WSGI consist of: nothing calls these here."""


def is_foreign(cls: type) -> bool:
    """Whether a class derives from gunicorn's or Uvicorn's, or from a stand-in for one."""
    return seat(cls, BASE | UVICORN | THREADED) is not None


def seat(cls: type, among: set[tuple[str, str]]) -> type | None:
    """The class among the bases of ``cls`` that is one of these."""
    return next((base for base in cls.__mro__ if _key(base) in among), None)


def replaced_loop(cls: type) -> str:
    """``Class.method`` where a subclass replaces a part of how the worker serves, or an empty string.

    The coroutine of Uvicorn's worker may be overridden by one that calls it; the loops of gunicorn's may not.
    """
    for base in cls.__mro__:
        if _key(base) in UVICORN | THREADED | BASE:
            break
        if LOOP in vars(base) and seat(cls, UVICORN) is not None:
            code = getattr(vars(base)[LOOP], "__code__", None)
            return "" if code is not None and LOOP in code.co_names else f"{base.__qualname__}.{LOOP}"
        if seat(cls, THREADED) is not None and (own := sorted(_LOOP_OF_THREADED & set(vars(base)))):
            return f"{base.__qualname__}.{own[0]}"
    return ""


def judge(cls: type, label: str) -> None:
    """Raise `Invalid` where a class derives from something foreign and cannot be made to work."""
    for base in cls.__mro__:
        if base.__module__ in COOPERATIVE:
            raise Invalid(
                f"{label} derives from {base.__module__}.{base.__qualname__}, whose event loop is none of asyncio's: "
                "derive it from supervisor.workers.uvicorn.UvicornWorker instead"
            )
    standin = seat(cls, THREADED)
    if standin is not None and standin.__module__ == _OURS and (method := replaced_loop(cls)):
        raise Invalid(
            f"{label} overrides {method}() of gunicorn's {standin.__name__}, which is not installed: install gunicorn "
            "beside this package, or leave that out"
        )


def _key(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__
