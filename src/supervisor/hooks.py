"""Calling the hooks of a configuration file, so that nothing which they raise reaches their caller."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable
from typing import Any, Final

from supervisor.guard import OnlyHere

EXIT_PATIENCE: Final = 1.0
"""Seconds in which ``worker_exit`` comes to its end, where two threads end a process at the same moment."""


def place(hook: Callable[..., Any]) -> str:
    """Where ``hook`` was written, as ``FILE:LINE``; its name where that cannot be known (a builtin, a C function)."""
    try:
        target = inspect.unwrap(hook)
    except ValueError:  # it wraps itself
        target = hook
    target = getattr(target, "__func__", target)
    code = getattr(target, "__code__", None)
    if code is None:
        # An object whose class defines how it is called.
        code = getattr(type(target).__dict__.get("__call__"), "__code__", None)
    if code is None:
        return getattr(hook, "__qualname__", type(hook).__qualname__)
    return f"{code.co_filename}:{code.co_firstlineno}"


def positional_limit(hook: Callable[..., Any]) -> int | None:
    """How many positional arguments ``hook`` takes at most; None for any number, or where that cannot be known."""
    try:
        parameters = inspect.signature(hook).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    return sum(
        parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD) for parameter in parameters
    )


def run_hook(log: logging.Logger, settings: Any, name: str, *args: Any) -> Any:
    """Call ``settings.<name>`` with ``args`` if it is set, and return what it returns.

    Whatever it raises, `SystemExit` and `KeyboardInterrupt` included, becomes one ERROR record with the traceback in
    ``log``; the result is then None. A hook decides nothing about the life of the process that it runs in.
    """
    hook = getattr(settings, name, None)
    if hook is None:
        return None
    return call_hook(log, name, hook, *args)


_ending = threading.RLock()
_exit_told = False


def run_worker_exit(log: logging.Logger, settings: Any, server: Any, worker: Any) -> None:
    """`run_hook` for ``worker_exit``: once in a worker's process, whoever ends it first.

    Another thread that would end it as well waits for the hook, but not for long.
    """
    global _exit_told  # noqa: PLW0603 - a process has one worker
    alone = _ending.acquire(timeout=EXIT_PATIENCE)
    try:
        if not _exit_told:
            _exit_told = True
            run_hook(log, settings, "worker_exit", server, worker)
    finally:
        if alone:
            _ending.release()


def call_hook(log: logging.Logger, name: str, hook: Callable[..., Any], *args: Any) -> Any:
    """`run_hook` for a hook that was looked up before, where the call is made for every request."""
    try:
        with OnlyHere():
            return hook(*args)
    except BaseException as error:
        log.error(
            "hook %s (%s) raised %s: %s; going on", name, place(hook), type(error).__name__, error, exc_info=error
        )
        return None
