"""Start an arbiter from a program."""

from __future__ import annotations

from typing import Any

from supervisor.config.load import Inputs, load
from supervisor.runtime import daemon
from supervisor.runtime.loop import Arbiter


def run(app: Any, **settings: Any) -> int:
    """Serve ``app`` until told to stop, and return the exit code.

    ``app`` is ``"module:attribute"``, or the application itself; then HUP renews the workers, but cannot load new
    code. ``settings`` are gunicorn's and ours by name (``workers=4, preload_app=True``); they win over the
    environment. ``config="gunicorn.conf.py"`` names a file; none is looked for otherwise.

    Raises `supervisor.errors.SupervisorError` when it cannot start.
    """
    sources = {name: f"run({name}=...)" for name in settings}
    inputs = Inputs(app=app, values=settings, sources=sources, default_files=False, app_source="run(app)")
    return daemon.run(Arbiter, load(inputs), inputs)
