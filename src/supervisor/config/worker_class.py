"""Whether ``worker_class`` can be meant: by its spelling, or by the look of a class. Imports no worker.

The arbiter asks before the first fork and at a reload; `supervisor.workers.registry` imports the class, later, in the
process that needs it.
"""

from __future__ import annotations

import difflib
import inspect
import re
from typing import Any, Final

from supervisor.compat.bases import is_foreign, judge
from supervisor.config.schema import Invalid

ENTRY_POINTS: Final = "supervisor.workers"

DEFAULT: Final = "supervisor.workers.uvicorn:UvicornWorker"
H11: Final = "supervisor.workers.uvicorn:UvicornH11Worker"
WSGI: Final = "supervisor.workers.wsgi:WSGIWorker"
THREADS: Final = "supervisor.workers.wsgi:ThreadWorker"

ALIASES: Final = {
    "sync": DEFAULT,
    "asgi": DEFAULT,
    "uvicorn": DEFAULT,
    "UvicornWorker": DEFAULT,
    "uvicorn.workers.UvicornWorker": DEFAULT,
    "uvicorn_worker.UvicornWorker": DEFAULT,
    "gunicorn.workers.sync.SyncWorker": DEFAULT,
    "gunicorn.workers.gasgi.ASGIWorker": DEFAULT,
    "wsgi": WSGI,
    "gthread": THREADS,
    "gunicorn.workers.gthread.ThreadWorker": THREADS,
    "h11": H11,
    "uvicorn-h11": H11,
    "UvicornH11Worker": H11,
    "uvicorn.workers.UvicornH11Worker": H11,
    "uvicorn_worker.UvicornH11Worker": H11,
}

UNSUPPORTED: Final = ("gevent", "gevent_wsgi", "gevent_pywsgi", "eventlet", "tornado", "gaiohttp")

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*|\.[A-Za-z_]\w*)")
_NAME = re.compile(r"[A-Za-z_][\w.-]*")


def validate_name(value: Any) -> Any:
    """Check a worker class by its spelling, importing nothing, and return it with gunicorn's names made ours.

    A class passes if its methods look right; a path (``module:attribute`` or ``module.attribute``) passes if it is
    well formed; a bare name must be one of `ALIASES` or an installed entry point.

    Raises `Invalid`, which says what to write instead.
    """
    if isinstance(value, type):
        return check(value)
    if not isinstance(value, str):
        raise Invalid(f"must be a name, a path or a class, not {type(value).__name__} {value!r}")
    name = _spelling(value)
    if name in ALIASES:
        return ALIASES[name]
    family = name.removeprefix("gunicorn.workers.").split(".")[0]
    if name in UNSUPPORTED or (name.startswith("gunicorn.workers.") and family.removeprefix("g") != "asgi"):
        patching = "" if family == "tornado" else ", and take its monkey patching out of the file and the application"
        raise Invalid(
            f"names one of gunicorn's own, {value!r}, which is not offered here: for a WSGI application use "
            f'"gthread", with threads = how many requests may run at once{patching}; '
            "for an ASGI one leave worker_class out"
        )
    if is_path(name):
        return name
    if _NAME.fullmatch(name) and name in _entry_point_names():
        return name
    known = sorted({*ALIASES, *_entry_point_names()})
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else 'use "uvicorn", or a path such as "package.module:Class"'
    raise Invalid(f"names no worker class: {value!r}; {hint}")


def described(value: Any) -> str:
    """A valid worker class for a message: as it was given, with what really runs where that has another name."""
    found = validate_name(value)
    if isinstance(found, type):
        return f"{found.__module__}.{found.__qualname__}"
    ours = found in (DEFAULT, H11, WSGI, THREADS) and found != value
    return f"{value} (supervisor's {found.partition(':')[2]})" if ours else str(value)


def is_path(name: str) -> bool:
    """Whether ``name`` is spelled as the path of a class, not as the name of an entry point."""
    return _PATH.fullmatch(name) is not None


def check(found: Any, value: Any = None) -> type:
    """Return ``found`` if it looks like a worker class (`supervisor.protocols.WorkerLike`); `Invalid` if not."""
    label = repr(value if value is not None else getattr(found, "__qualname__", found))
    if not isinstance(found, type):
        if found is None:
            raise Invalid(
                f"{label} is None: its package found something missing when it was imported, gunicorn as a rule; "
                "install gunicorn beside this package"
            )
        raise Invalid(f"{label} is a {type(found).__name__}, not a class")
    if is_foreign(found):
        judge(found, label)
        return found
    if not callable(getattr(found, "run", None)):
        raise Invalid(f"{label} has no method run(); derive it from supervisor.workers.base.Worker")
    try:
        inspect.signature(found).bind(None)
    except ValueError:
        pass
    except TypeError:
        raise Invalid(
            f"{label} cannot be constructed with one WorkerContext; derive it from "
            "supervisor.workers.base.Worker and pass the context on"
        ) from None
    return found


def _spelling(value: str) -> str:
    name = value.strip()
    if name.startswith("python:"):
        name = name.removeprefix("python:")
    if name.startswith("egg:gunicorn#"):
        name = name.removeprefix("egg:gunicorn#")
    if name.count(":") == 1 and name.replace(":", ".") in ALIASES:
        name = name.replace(":", ".")
    return name


def _entry_point_names() -> set[str]:
    from importlib import metadata  # only who gives a bare name pays for its import

    return {entry.name for entry in metadata.entry_points(group=ENTRY_POINTS)}
