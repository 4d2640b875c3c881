"""Whether an application speaks WSGI (PEP 3333) or ASGI, by the look of it: nothing is called to find out."""

from __future__ import annotations

import inspect
from typing import Any, Final

_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def is_async(app: Any) -> bool:
    """Whether calling ``app`` gives a coroutine: then it is an ASGI application, and can be nothing else."""
    if inspect.isclass(app):
        return hasattr(app, "__await__")
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(getattr(app, "__call__", None))  # noqa: B004 - the method is looked at


def is_wsgi(app: Any) -> bool:
    """Whether ``app`` is certainly a WSGI application: called with two arguments, ``environ`` and ``start_response``.

    ASGI applications take three (``scope``, ``receive``, ``send``), or one in version 2. Partials, bound methods,
    classes, instances and what `functools.wraps` has wrapped are seen through. Whatever leaves doubt, such as a
    wrapper that takes ``*args``, is none: it is served as ASGI, as uvicorn would.
    """
    if not callable(app) or is_async(app):
        return False
    try:
        parameters = list(inspect.signature(app).parameters.values())
    except (TypeError, ValueError):
        return False
    if any(each.kind is each.KEYWORD_ONLY and each.default is each.empty for each in parameters):
        return False
    positional = [each for each in parameters if each.kind in _POSITIONAL]
    required = [each for each in positional if each.default is each.empty]
    if len(positional) < 2 or len(required) > 2:
        return False
    if "start" in positional[1].name or "environ" in positional[0].name:
        return True
    exactly_two = len(positional) == len(required) == 2
    varies = any(each.kind is each.VAR_POSITIONAL for each in parameters)
    return exactly_two and not varies and positional[0].name != "scope"
