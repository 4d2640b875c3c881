"""Find the application that the user named, and say in one line why it cannot be had."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from supervisor.errors import AppNotFound, BootError, SupervisorError
from supervisor.guard import OnlyHere

DEFAULT_ATTRIBUTES = ("application", "app")
"""Looked for, in this order, when only a module is named. The first is gunicorn's, the second the ASGI world's."""

_OWN_FOLDER = str(Path(__file__).parent)


@dataclass(frozen=True)
class Deferred:
    """An application that a launcher loads by itself, where and when it is needed. ``name`` is for messages."""

    load: Callable[[], Any]
    name: str

    def __call__(self) -> Any:
        return self.load()


def load_application(target: Any) -> Any:
    """The application that ``target`` names: ``module:attribute``, ``module:factory()`` or ``module``.

    Anything that is not a string is taken for the application itself. A factory may be given literal arguments, as
    with gunicorn: ``module:create("production", debug=False)``.

    Raises `AppNotFound` when the module or the attribute does not exist, or cannot be called, or not like this,
    `BootError` when the module exits, and lets through what the import or the factory raises.
    """
    if isinstance(target, Deferred):
        target = target.load()
    if not isinstance(target, str):
        if not callable(target):
            raise AppNotFound(f"the application is {_kind(target)}, not callable; give the application or its name")
        return target
    module_name, _, expression = target.partition(":")
    module = _import(module_name, target)
    found = _evaluate(module, expression, target) if expression else _default_attribute(module, target)
    if callable(found):
        return found
    if expression.endswith(")"):
        raise AppNotFound(f"application {target!r}: the factory returned {_kind(found)}, not an ASGI application")
    raise AppNotFound(
        f"application {target!r} is {_kind(found)}, not callable; name the ASGI application, or a factory as "
        f"{module_name}:create()"
    )


def explain(error: BaseException) -> tuple[str, str, int]:
    """Why something did not start: one line, the user's part of the traceback, and the exit code."""
    if isinstance(error, SupervisorError):
        return str(error), error.detail, error.exit_code
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the user's class, and its name has to do then
        text = ""
    summary = f"{type(error).__name__}: {text}" if text else type(error).__name__
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
        with OnlyHere():
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
    return f"application {target!r} not found: no module named {missing!r}; {_hint()}"


def _hint() -> str:
    try:
        here = Path.cwd()
    except OSError:
        return "the working directory is not there any more"
    where = "the working directory" if here in map(Path, sys.path) or "" in sys.path else "sys.path"
    return f"is it installed, and is {where} ({here}) the right one?"


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
    if not call:
        return found
    if problem := _unfit(found, args, kwargs):
        raise AppNotFound(
            f"application {target!r}: {path} cannot be called like this: {problem}; if it is the application itself, "
            f"write {target.partition(':')[0]}:{path}"
        )
    return found(*args, **kwargs)


def _unfit(found: Any, args: list[Any], kwargs: dict[str, Any]) -> str:
    """Why something cannot be called with these arguments; empty if it can, or if only the call would tell."""
    if not callable(found):
        return f"it is {_kind(found)}"
    try:
        inspect.signature(found).bind(*args, **kwargs)
    except TypeError as error:
        return str(error)
    except ValueError:  # a callable of C without a signature
        pass
    return ""


def _kind(found: object) -> str:
    if found is None:
        return "None"
    name = type(found).__name__
    return f"an {name}" if name[0].lower() in "aeiou" else f"a {name}"
