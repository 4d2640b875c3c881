"""Hooks: callables, given as such or by import string, that take the arguments of their moment."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

from supervisor.config.schema import Invalid
from supervisor.config.validators import shown

Hook = Callable[..., Any]


def hook(*parameters: str) -> Callable[[Any], Hook | None]:
    """A callable that can be called with so many arguments, or None for no hook, which gunicorn refuses."""

    def validate(value: Any) -> Hook | None:
        if value is None:
            return None
        found = resolve(value)
        if not _accepts(found, len(parameters)):
            raise Invalid(f"must accept {_counted(parameters)}: {_spelled(found)} does not")
        return found

    return validate


def post_request(value: Any) -> Hook | None:
    """The hook after a response, which may leave out ``resp``, or ``environ`` and ``resp``.

    What is returned takes all four arguments.
    """
    if value is None:
        return None
    found = resolve(value)
    for count in (4, 3, 2):
        if _accepts(found, count):
            return found if count == 4 else _shortened(found, count)
    accepted = "4 arguments (worker, req, environ, resp), or the first 2 or 3"
    raise Invalid(f"must accept {accepted}: {_spelled(found)} does not")


def resolve(value: Any) -> Hook:
    """The callable itself, from the callable or from ``package.module.name``."""
    if isinstance(value, str):
        value = _imported(value)
    if not callable(value):
        raise Invalid(f"must be callable, not {shown(value)}")
    found: Hook = value
    return found


def _imported(path: str) -> Any:
    module, _, name = path.strip().rpartition(".")
    if not module:
        raise Invalid(f"must be a callable or an import string such as package.module.name, not {path!r}")
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError:
        raise Invalid(f"cannot be found: the module {module} has no attribute {name!r}") from None
    except BaseException as error:  # the module is the user's: SystemExit included, nothing in it may end the arbiter
        raise Invalid(f"cannot be imported from {path!r}: {type(error).__name__}: {error}") from error


def _accepts(found: Hook, count: int) -> bool:
    try:
        inspect.signature(found).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # a callable of C without a signature: only the call can tell
        return True
    return True


def _spelled(found: Hook) -> str:
    """A callable as its definition begins, without what its defaults and annotations look like."""
    name = getattr(found, "__qualname__", None) or type(found).__qualname__
    try:
        return f"{name.rpartition('<locals>.')[2]}({', '.join(inspect.signature(found).parameters)})"
    except (TypeError, ValueError):
        return f"{name}()"


def _counted(parameters: tuple[str, ...]) -> str:
    noun = "argument" if len(parameters) == 1 else "arguments"
    return f"{len(parameters)} {noun} ({', '.join(parameters)})"


def _shortened(found: Hook, count: int) -> Hook:
    @functools.wraps(found)
    def call(*arguments: Any) -> Any:
        return found(*arguments[:count])

    return call
