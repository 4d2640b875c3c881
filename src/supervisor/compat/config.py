"""``gunicorn.config``: the classes of the hooks, whose functions some files call, and `Config`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from supervisor.config.schema import Kind, Surroundings
from supervisor.config.settings import HOOKS, TABLE, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.config.schema import Setting as Declaration


class Config(Settings):
    """gunicorn's ``Config``: every setting at its default, to be changed with ``set``."""

    def __init__(self, usage: str | None = None, prog: str | None = None) -> None:
        super().__init__(Surroundings(os.environ, os.getcwd()))
        self.usage = usage
        self.prog = prog or "supervisor"


class Setting:
    """The base of the setting classes. They describe a setting; none of them is needed to change one."""

    name = section = desc = short = ""
    cli: tuple[str, ...] = ()
    default: Any = None


def on_starting(server: Any) -> None: ...


def on_reload(server: Any) -> None: ...


def when_ready(server: Any) -> None: ...


def pre_fork(server: Any, worker: Any) -> None: ...


def post_fork(server: Any, worker: Any) -> None: ...


def post_worker_init(worker: Any) -> None: ...


def worker_int(worker: Any) -> None: ...


def worker_abort(worker: Any) -> None: ...


def pre_exec(server: Any) -> None: ...


def pre_request(worker: Any, req: Any) -> None:
    worker.log.debug("%s %s", req.method, req.path)


def post_request(worker: Any, req: Any, environ: Any, resp: Any) -> None: ...


def child_exit(server: Any, worker: Any) -> None: ...


def worker_exit(server: Any, worker: Any) -> None: ...


def nworkers_changed(server: Any, new_value: Any, old_value: Any) -> None: ...


def on_exit(server: Any) -> None: ...


def ssl_context(config: Any, default_ssl_context_factory: Callable[[], Any]) -> Any:  # noqa: ARG001 - the hook's form
    return default_ssl_context_factory()


def default_hook(name: str) -> Callable[..., Any]:
    """What gunicorn calls where a file defines no hook of this name: nothing happens, save for two of them."""
    found: Callable[..., Any] = globals()[name]
    return found


def _class_of(declaration: Declaration, default: Any) -> type[Setting]:
    # The table knows each hook's class by how gunicorn prints its default: <OnStarting.on_starting()>.
    name = declaration.unset.strip("<>").partition(".")[0] or declaration.name.title().replace("_", "")
    members: dict[str, Any] = {
        "name": declaration.name,
        "section": declaration.group,
        "cli": declaration.flags,
        "desc": declaration.doc,
        "short": declaration.doc.partition("\n")[0],
        "default": staticmethod(default) if callable(default) else default,
        "__module__": "gunicorn.config",
    }
    if declaration.kind is Kind.CALLABLE and callable(default):
        members[declaration.name] = staticmethod(default)
    return type(name, (Setting,), members)


KNOWN_SETTINGS: Final[list[type[Setting]]] = [
    _class_of(declaration, default_hook(name) if name in HOOKS else declaration.default)
    for name, declaration in TABLE.items()
]
"""A class for each setting. Those of the hooks have gunicorn's names."""

AccessLogFormat: Final = next(known for known in KNOWN_SETTINGS if known.name == "access_log_format")

HOOK_CLASSES: Final = {known.__name__: known for known in KNOWN_SETTINGS if known.name in HOOKS}
