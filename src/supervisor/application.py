"""Find the application that the user named, and say in one line why it cannot be had."""

from __future__ import annotations

import ast
import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from supervisor.errors import AppNotFound, BootError, SupervisorError

DEFAULT_ATTRIBUTES = ("application", "app")
"""Looked for, in this order, when only a module is named. The first is gunicorn's, the second the ASGI world's."""

_OWN_FOLDER = str(Path(__file__).parent)


def load_application(target: Any) -> Any:
    """The application that ``target`` names: ``module:attribute``, ``module:factory()`` or ``module``.

    Anything that is not a string is taken for the application itself. A factory may be given literal arguments, as
    with gunicorn: ``module:create("production", debug=False)``.

    Raises `AppNotFound` when the module or the attribute does not exist, `BootError` when the module exits or the
    factory's call cannot be read, and lets through what the import or the factory raises.
    """
    if not isinstance(target, str):
        return target
    module_name, _, expression = target.partition(":")
    module = _import(module_name, target)
    if not expression:
        return _default_attribute(module, target)
    return _evaluate(module, expression, target)


def explain(error: BaseException) -> tuple[str, str, int]:
    """Why something did not start: one line, the user's part of the traceback, and the exit code."""
    if isinstance(error, SupervisorError):
        return str(error), error.detail, error.exit_code
    summary = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return summary.splitlines()[0], user_traceback(error), BootError.exit_code


def user_traceback(error: BaseException) -> str:
    """The traceback, without the frames of this package and of the import machinery that lead to the user's code."""
    shown = traceback.TracebackException.from_exception(error)
    frames = list(shown.stack)
    while frames and (frames[0].filename.startswith(_OWN_FOLDER) or "importlib" in frames[0].filename):
        frames.pop(0)
    if frames:
        shown.stack = traceback.StackSummary.from_list(frames)
    return "".join(shown.format()).rstrip()


def _import(name: str, target: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Only the named module is "not found"; a module that it imports and that is missing is its own failure.
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise
        raise AppNotFound(_not_found(name, target, error.name)) from error
    except SystemExit as error:
        raise BootError(f"importing {name} ended in sys.exit({error.code!r})", detail=user_traceback(error)) from error


def _not_found(name: str, target: str, missing: str) -> str:
    if name.endswith(".py") and Path(name).exists():
        stem = name.removesuffix(".py").replace("/", ".")
        return f"no module named {name!r}: the application is named by module, try {stem}:app"
    where = "the working directory" if Path.cwd() in map(Path, sys.path) or "" in sys.path else "sys.path"
    hint = f"is it installed, and is {where} ({Path.cwd()}) the right one?"
    return f"application {target!r} not found: no module named {missing!r}; {hint}"


def _default_attribute(module: ModuleType, target: str) -> Any:
    for name in DEFAULT_ATTRIBUTES:
        if hasattr(module, name):
            return getattr(module, name)
    names = " or ".join(map(repr, DEFAULT_ATTRIBUTES))
    raise AppNotFound(f"application {target!r} not found: the module has no {names}; name it: {target}:NAME")


def _evaluate(module: ModuleType, expression: str, target: str) -> Any:
    try:
        node = ast.parse(expression, mode="eval").body
        call = node if isinstance(node, ast.Call) else None
        path = ast.unparse(call.func if call else node)
        args = [ast.literal_eval(arg) for arg in call.args] if call else []
        kwargs = {str(kw.arg): ast.literal_eval(kw.value) for kw in call.keywords} if call else {}
    except (SyntaxError, ValueError) as error:
        raise AppNotFound(
            f"application {target!r}: {expression!r} is neither an attribute nor a call with literal arguments"
        ) from error
    found: Any = module
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise AppNotFound(
                f"application {target!r} not found: {path!r} is not in module {module.__name__} ({module.__file__})"
            ) from error
    return found(*args, **kwargs) if call else found
