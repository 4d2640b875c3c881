"""gunicorn's application object as hooks find it: ``server.app`` and ``worker.app``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supervisor.config.settings import Settings


class HookApplication:
    """What ``server.app`` and ``worker.app`` are: the settings, the application's name, and the way to it.

    ``load_app`` returns the application, in a worker; in the arbiter, which never imports it, it is None, and ``wsgi``
    says where to go instead. ``callable`` is the application once it was asked for, else None.
    """

    def __init__(self, settings: Settings, load_app: Callable[[], Any] | None = None) -> None:
        self.cfg = settings
        self.callable: Any = None
        self.usage: str | None = None
        self.prog = "supervisor"
        self.logger: Any = None
        self._load_app = load_app

    @property
    def app_uri(self) -> str | None:
        """The application as MODULE:ATTRIBUTE; None where a launcher gave an object."""
        return self.cfg.app if isinstance(self.cfg.app, str) else None

    def wsgi(self) -> Any:
        """The application, loaded when it is asked for. Raises `RuntimeError` in the arbiter."""
        if self.callable is None:
            self.callable = self.load()
        return self.callable

    def load(self) -> Any:
        """Load the application. Raises `RuntimeError` in the arbiter."""
        if self._load_app is None:
            raise RuntimeError(
                "the arbiter does not import the application, so server.app.wsgi() has nothing to give here: call "
                "worker.app.wsgi() in post_fork, or use worker.wsgi in post_worker_init"
            )
        return self._load_app()

    def chdir(self) -> None:
        """Go to ``chdir`` and put it on the module search path."""
        os.chdir(self.cfg.chdir)
        if self.cfg.chdir not in sys.path:
            sys.path.insert(0, self.cfg.chdir)

    def reload(self) -> None:
        raise RuntimeError("the settings are read again at HUP: os.kill(server.pid, signal.SIGHUP)")

    def run(self) -> None:
        raise RuntimeError("it runs already; a launcher derives from supervisor.compat.app.BaseApplication")
