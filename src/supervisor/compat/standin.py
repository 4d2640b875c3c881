"""Modules in the place of gunicorn's, where gunicorn is not installed, while users' configuration is loaded.

Configuration files and modules of worker classes import from gunicorn what they derive from, or change. Inside
`standing_in` such imports find modules made here, if nothing else provides them: with gunicorn installed it is
gunicorn's own that they get. Afterwards the modules are taken out of ``sys.modules`` again: libraries look there to
find out whether they run under gunicorn, and an application that needs it should say so itself.

Each module knows the names that public files use. Asked for another one it says in a sentence what to do.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from supervisor.compat.version import SERVER

if TYPE_CHECKING:
    from importlib.abc import Loader
else:
    Loader = object  # its module is large, and nothing in the class is needed

_VERSION = "supervisor.compat.version"
_CONFIG = "supervisor.compat.config"
_APP = "supervisor.compat.app"
_WORKERS = "supervisor.compat.workers"
_UTIL = "supervisor.compat.util"
_ERRORS = "supervisor.compat.errors"

_HOOK_CLASSES: Final = (
    *("OnStarting", "OnReload", "WhenReady", "Prefork", "Postfork", "PostWorkerInit", "WorkerInt", "WorkerAbort"),
    *("PreExec", "PreRequest", "PostRequest", "ChildExit", "WorkerExit", "NumWorkersChanged", "OnExit"),
    "NewSSLContext",
)


def _from(home: str, *names: str, **renamed: str) -> dict[str, str]:
    """Names that a stand-in has, and where they really are."""
    return {**{name: f"{home}:{name}" for name in names}, **{name: f"{home}:{ours}" for name, ours in renamed.items()}}


MODULES: Final[Mapping[str, Mapping[str, str]]] = {
    "gunicorn": _from(_VERSION, "SERVER", "SERVER_SOFTWARE", version_info="VERSION_INFO", __version__="GUNICORN"),
    "gunicorn.app": {},
    "gunicorn.app.base": _from(_APP, "BaseApplication", "Application"),
    "gunicorn.app.wsgiapp": _from(_APP, "WSGIApplication", "run"),
    "gunicorn.arbiter": _from(_APP, "Arbiter"),
    "gunicorn.config": {
        **_from(_CONFIG, "Config", "Setting", "KNOWN_SETTINGS"),
        "AccessLogFormat": f"{_CONFIG}:AccessLogFormat",  # aiohttp's workers ask it for its default
        **{name: f"{_CONFIG}:HOOK_CLASSES.{name}" for name in _HOOK_CLASSES},
    },
    "gunicorn.debug": {},
    "gunicorn.errors": _from(_ERRORS, "HaltServer", "ConfigError", "AppImportError"),
    "gunicorn.glogging": {
        **_from("supervisor.logs.logger", "Logger", "CONFIG_DEFAULTS", "SafeAtoms"),
        **_from("supervisor.logs.syslog", SYSLOG_FACILITIES="FACILITIES"),
        **_from("supervisor.logs.handlers", "loggers"),
    },
    "gunicorn.http": _from("supervisor.compat.http", "Request", "Message"),
    "gunicorn.http.wsgi": {
        **_from("supervisor.compat.http", "Response"),
        **_from(_VERSION, "SERVER", "SERVER_SOFTWARE"),
    },
    "gunicorn.http.message": _from("supervisor.compat.http", "Request", "Message"),
    "gunicorn.instrument": {},
    "gunicorn.instrument.statsd": _from("supervisor.logs.statsd", "Statsd"),
    "gunicorn.util": _from(
        _UTIL,
        *(
            "bytes_to_str",
            "chown",
            "close",
            "close_on_exec",
            "get_arity",
            "getcwd",
            "http_date",
            "import_app",
            "is_ipv6",
        ),
        *("load_class", "parse_address", "seed", "set_non_blocking", "setproctitle", "to_bytestring", "unlink", "warn"),
        _setproctitle="setproctitle",
    ),
    "gunicorn.workers": _from(_WORKERS, "SUPPORTED_WORKERS"),
    "gunicorn.workers.base": _from(_WORKERS, "Worker"),
    "gunicorn.workers.sync": _from(_WORKERS, "SyncWorker"),
    "gunicorn.workers.gthread": _from(_WORKERS, "ThreadWorker"),
    "gunicorn.workers.gasgi": _from(_WORKERS, ASGIWorker="UvicornWorker"),
    "gunicorn.workers.workertmp": {},
    "uvicorn.workers": _from(_WORKERS, "UvicornWorker", "UvicornH11Worker"),
    "uvicorn_worker": _from(_WORKERS, "UvicornWorker", "UvicornH11Worker"),
}
"""Module, name in it, and ``module:attribute`` of ours. What is found there is imported when it is asked for."""

_RESPONSES: Final = ("", "gunicorn.http.wsgi", "supervisor.compat.http")
"""Where ``default_headers`` is nobody's override."""

_ADVICE = "take it out, or install gunicorn beside this package"


class StandIn(ModuleType):
    """A module in the place of one of gunicorn's. What is set on it stays on it."""

    def __getattr__(self, name: str) -> Any:
        home = MODULES[self.__name__].get(name)
        if home is None:
            if f"{self.__name__}.{name}" in MODULES:
                return importlib.import_module(f"{self.__name__}.{name}")
            raise AttributeError(f"{self.__name__}.{name} is not there: {reason(self.__name__)}; {_ADVICE}")
        module, _, path = home.partition(":")
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = found[part] if isinstance(found, dict) else getattr(found, part)
        setattr(self, name, found)
        return found


class _Finder(Loader):
    """A meta path finder and loader for the modules of `MODULES`. It comes last, so that what is installed wins."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in MODULES:
            return ModuleSpec(fullname, self, is_package=True, origin="supervisor's stand-in")
        parent = fullname.rpartition(".")[0]
        if isinstance(sys.modules.get(parent), StandIn):
            raise ModuleNotFoundError(
                f"there is no module {fullname} here: {reason(fullname)}; {_ADVICE}", name=fullname
            )
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return StandIn(spec.name, "In the place of gunicorn's module, which is not installed.")

    def exec_module(self, module: ModuleType) -> None:
        """Names are found when they are asked for."""


_finder = _Finder()


def reason(name: str) -> str:
    """Why a name is missing, as a clause."""
    package = name.partition(".")[0]
    return f"{package} is not installed, and the stand-in for it has what configuration files use, and not more"


def hint(error: BaseException) -> str:
    """What to do about an import that failed at a stand-in, or an empty string where it failed elsewhere."""
    if isinstance(error, ImportError) and error.name in MODULES and "cannot import name" in str(error):
        return f"{reason(error.name or '')}; {_ADVICE}"
    return ""


@contextmanager
def standing_in() -> Iterator[None]:
    """Inside, imports from gunicorn work without it. Afterwards ``sys.modules`` has no stand-in."""
    if _finder in sys.meta_path:  # within another one
        yield
        return
    sys.meta_path.append(_finder)
    try:
        yield
    finally:
        sys.meta_path.remove(_finder)
        for name in [name for name in MODULES if isinstance(sys.modules.get(name), StandIn)]:
            module = sys.modules.pop(name)
            package, _, attribute = name.rpartition(".")
            if (parent := sys.modules.get(package)) is not None and vars(parent).get(attribute) is module:
                delattr(parent, attribute)


def server_header() -> str | None:
    """What the file makes of the header ``Server``: another value, an empty one for no header, None for no change.

    It may set ``gunicorn.SERVER``, or override ``default_headers`` of ``gunicorn.http.wsgi.Response``, which is then
    asked for a head. To be called inside `standing_in`.
    """
    name = changed("SERVER")
    response = vars(sys.modules.get("gunicorn.http.wsgi", types)).get("Response")
    if response is None or getattr(getattr(response, "default_headers", None), "__module__", "") in _RESPONSES:
        return name
    probe: Any = object.__new__(response)
    request = SimpleNamespace(version=(1, 1), headers=[], method="GET", should_close=lambda: False)
    vars(probe).update(req=request, version=name or SERVER, status="200 OK", headers=[], headers_sent=False, sent=0)
    vars(probe).update(cfg=None, sock=None, chunked=False, must_close=False, upgrade=False, response_length=0)
    vars(probe).update(status_code=200)
    try:
        lines = [str(line) for line in probe.default_headers()]
    except Exception:  # noqa: BLE001 - it is the user's, and expects a real response
        return name
    values = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("server:")]
    return (values[0] if values[0] != SERVER else name) if values else ""


def changed(name: str) -> str | None:
    """What was set as ``gunicorn.SERVER`` or ``gunicorn.SERVER_SOFTWARE``, or None if nothing was. In `standing_in`."""
    module = sys.modules.get("gunicorn")
    value = None if module is None else vars(module).get(name)
    own = (SERVER, f"{SERVER}/{getattr(module, '__version__', '')}")
    return value if isinstance(value, str) and value not in own else None
