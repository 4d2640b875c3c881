"""A pluggable ASGI process manager: an arbiter, workers on Uvicorn, reloads that lose nothing.

``run`` starts one from a program, `Arbiter` is for launchers of one's own, `Worker` is there to be subclassed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from supervisor.errors import ConfigError, SupervisorError
from supervisor.version import __version__

if TYPE_CHECKING:
    from supervisor.config.settings import Settings
    from supervisor.launch import run
    from supervisor.protocols import WorkerContext, WorkerFactory, WorkerLike
    from supervisor.runtime.loop import Arbiter
    from supervisor.workers.base import Worker

_LAZY = {
    "Arbiter": "supervisor.runtime.loop",
    "Settings": "supervisor.config.settings",
    "Worker": "supervisor.workers.base",
    "WorkerContext": "supervisor.protocols",
    "WorkerFactory": "supervisor.protocols",
    "WorkerLike": "supervisor.protocols",
    "run": "supervisor.launch",
}

__all__ = [
    "Arbiter",
    "ConfigError",
    "Settings",
    "SupervisorError",
    "Worker",
    "WorkerContext",
    "WorkerFactory",
    "WorkerLike",
    "__version__",
    "run",
]


def __getattr__(name: str) -> Any:
    """Import on first use: the arbiter must stay small, and needs no worker."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
