"""gunicorn's application classes for launchers of one's own: ``load_config``, ``load``, ``run``.

The recipe of gunicorn's documentation ("Custom Application") works with the import changed::

    from supervisor.compat.app import BaseApplication
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, NoReturn

from supervisor.application import Deferred, load_application
from supervisor.compat.config import Config
from supervisor.config.load import Inputs, load
from supervisor.config.settings import Settings
from supervisor.errors import SupervisorError


class BaseApplication:
    """A launcher: ``load_config`` fills ``cfg``, ``load`` returns the application, ``run`` serves until told to stop.

    ``load`` is called in each worker, or once for all of them with ``preload_app``; never in the arbiter. Settings are
    what ``load_config`` sets and the defaults. HUP renews the workers with the same settings.
    """

    cfg: Settings

    def __init__(self, usage: str | None = None, prog: str | None = None) -> None:
        self.usage = usage
        self.prog = prog
        self.callable: Any = None
        self.logger: Any = None
        self.do_load_config()

    def do_load_config(self) -> None:
        """Make ``cfg``. Ends the program with 1, and a line on standard error, where it cannot be made."""
        try:
            self.load_default_config()
            self.load_config()
        except Exception as error:  # noqa: BLE001 - the launcher's own code, which gunicorn ends in the same way
            _give_up(error)

    def load_default_config(self) -> None:
        self.cfg = Config(self.usage, prog=self.prog)

    def load_config(self) -> None:
        raise NotImplementedError

    def init(self, parser: Any, opts: Any, args: Any) -> Mapping[str, Any] | None:
        raise NotImplementedError

    def load(self) -> Any:
        """The application: what is served."""
        raise NotImplementedError

    def reload(self) -> None:
        self.do_load_config()

    def wsgi(self) -> Any:
        """What ``load`` returns, loaded once."""
        if self.callable is None:
            self.callable = self.load()
        return self.callable

    def run(self) -> NoReturn:
        """Serve until told to stop, then end the program with the exit code."""
        try:
            settings, inputs = self._resolved()
            from supervisor.runtime.loop import Arbiter as Running

            code = Running(settings, inputs).run()
        except SupervisorError as error:
            _give_up(error)
        raise SystemExit(code)

    def _resolved(self) -> tuple[Settings, Inputs]:
        given = {
            name: setting for name, setting in self.cfg.settings.items() if not setting.source.startswith(_NOT_GIVEN)
        }
        origin = type(self).__qualname__
        inputs = Inputs(
            app=self._target(),
            values={name: setting.value for name, setting in given.items()},
            sources=dict.fromkeys(given, f"{origin}.load_config()"),
            # As with gunicorn, the launcher alone says what the settings are.
            environ={name: value for name, value in os.environ.items() if name != "GUNICORN_CMD_ARGS"},
            default_files=False,
            app_source=f"{origin}.load()",
        )
        return load(inputs), inputs

    def _target(self) -> Any:
        return Deferred(self.wsgi, type(self).__qualname__)


_NOT_GIVEN = ("default", "environment ")


class Application(BaseApplication):
    """A launcher that reads the command line and the configuration file too. ``init`` may return settings of its own.

    Those of ``init`` are weaker than the file's.
    """

    _inputs: Inputs

    def load_config(self) -> None:
        from supervisor.config import flags

        parsed = flags.parse(sys.argv[1:])
        arguments = [parsed.app] if parsed.app is not None else []
        mine = self.init(None, SimpleNamespace(**{"paste": None, "config": None, **parsed.values}), arguments) or {}
        self._inputs = Inputs(app=self._target(), values=parsed.values, sources=parsed.sources)
        self.cfg = load(self._inputs)
        for name, value in mine.items():
            if self.cfg.source(name.lower()) == "default":
                self.cfg.set(name.lower(), value, f"{type(self).__qualname__}.init()")

    def _resolved(self) -> tuple[Settings, Inputs]:
        # An override of load_config that does not call this one fills ``cfg`` by itself, as in a BaseApplication.
        inputs = vars(self).get("_inputs")
        return super()._resolved() if inputs is None else (self.cfg, inputs)

    def chdir(self) -> None:
        os.chdir(self.cfg.chdir)


class WSGIApplication(Application):
    """A launcher that serves ``app_uri``, MODULE:ATTRIBUTE, from the command line or set by a subclass."""

    app_uri: str | None = None

    def init(self, parser: Any, opts: Any, args: Any) -> Mapping[str, Any] | None:
        if args:
            self.app_uri = args[0]
        return None

    def load(self) -> Any:
        return load_application(self.app_uri)

    def load_wsgiapp(self) -> Any:
        return load_application(self.app_uri)

    def _target(self) -> Any:
        # By its name, so that HUP loads new code; unless the subclass has a way of its own.
        return super()._target() if type(self).load is not WSGIApplication.load else self.app_uri


class Arbiter:
    """gunicorn's arbiter by name: its exit codes, and ``Arbiter(app).run()``."""

    WORKER_BOOT_ERROR = 3
    APP_LOAD_ERROR = 4

    def __init__(self, app: BaseApplication) -> None:
        self.app = app
        self.cfg = app.cfg

    def run(self) -> NoReturn:
        self.app.run()


def run(prog: str | None = None) -> NoReturn:
    """Gunicorn's own command, on the arguments of this program."""
    WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]", prog=prog).run()


def _give_up(error: Exception) -> NoReturn:
    sys.stderr.write(f"\nError: {error}\n{getattr(error, 'detail', '')}".rstrip("\n") + "\n")
    raise SystemExit(getattr(error, "exit_code", 1))
