"""Find the value of every setting: defaults < file < ``GUNICORN_CMD_ARGS`` < ``SUPERVISOR_*`` < command line.

`load` reads the same `Inputs` again on HUP. It changes neither logging nor the working directory; what stays of it
are the module ``__config__``, the modules that the file imported, and the directory on ``sys.path`` for them.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from supervisor.compat import standin
from supervisor.config import activation, checks, misspelt, modules, pyfile, tomlfile
from supervisor.config.schema import Invalid, Kind, Surroundings
from supervisor.config.settings import TABLE, Settings, did_you_mean
from supervisor.config.validators import shown, working_directory
from supervisor.errors import ConfigError, SupervisorError, UsageError
from supervisor.patched import threads_replaced

Layer = Mapping[str, tuple[Any, str]]
"""Values by the setting's name, each with its source."""

_SUPERVISORD = {"ENABLED", "SERVER_URL", "PROCESS_NAME", "GROUP_NAME"}
# Variables that the process manager supervisord gives to its children: SUPERVISOR_ENABLED and so on are not ours.

_COMMA = {False: re.compile(r"\s*,\s*"), True: re.compile(r"\s*,\s*(?=[A-Za-z_]\w*=)")}
# What separates the items of a list in a variable. A comma inside the value of NAME=VALUE is part of the value.


@dataclass(frozen=True)
class Inputs:
    """What one start was given. ``load`` finds the same again from it, save for what has changed in the files.

    ``app`` is the application as MODULE:ATTRIBUTE or as an object. ``values`` are the settings of the command line
    or of a launcher, which win over all others; ``app_source`` and ``sources`` say how each of them was given.
    ``factory`` is whether what the application's name means is to be called without arguments, and returns it.
    ``default_files`` is whether ``gunicorn.conf.py`` and ``pyproject.toml`` are looked for in ``cwd`` where no file is
    named.
    """

    app: Any = None
    values: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    cwd: str = field(default_factory=working_directory)
    default_files: bool = True
    app_source: str = "command line"
    factory: bool = False


def load(inputs: Inputs) -> Settings:
    """The settings for these inputs.

    Raises `ConfigError` with all problems and their sources, or `UsageError` where no application is named or
    ``GUNICORN_CMD_ARGS`` cannot be parsed. Then modules are as they were before.
    """
    with _inside(inputs.cwd), modules.fresh_imports(), standin.standing_in():
        modules.add_to_path(inputs.cwd)
        resolution = _Resolution(inputs)
        resolution.resolve()
        if (failure := resolution.failure()) is not None:
            raise failure
        modules.add_to_path(resolution.settings.chdir)
        return resolution.settings


@dataclass(frozen=True)
class Examined:
    """What `load` would have made of its inputs, with all that is wrong.

    ``failure`` is what it would have raised. ``problems`` are all that is wrong, each a line and the detail to it, save
    that no application is named, which is ``unnamed``. A setting that is ``invalid`` has the value that it had before.
    """

    settings: Settings
    problems: Sequence[tuple[str, str]]
    invalid: frozenset[str]
    failure: SupervisorError | None
    unnamed: UsageError | None


def examine(inputs: Inputs) -> Examined:
    """As `load`, for those who want to hear everything: whatever is wrong is returned, nothing is raised."""
    resolution = _Resolution(inputs)
    try:
        with _inside(inputs.cwd), modules.fresh_imports(), standin.standing_in():
            modules.add_to_path(inputs.cwd)
            resolution.resolve()
            modules.add_to_path(resolution.settings.chdir)
    except ConfigError as error:  # the directory cannot be entered
        resolution.failures.append(error)
    failure = resolution.failure()
    problems = [(str(error), error.detail) for error in resolution.failures]
    problems += [(f"{problem}.", "") for problem in resolution.problems]
    unnamed = None if resolution.failures else resolution.unnamed()
    return Examined(resolution.settings, problems, frozenset(resolution.invalid), failure, unnamed)


class _Resolution:
    """One run of `load`: the settings so far, and what is wrong with them.

    ``failures`` are layers that could not be read at all, ``problems`` are values that cannot be used.
    """

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.settings = Settings(Surroundings(inputs.environ, inputs.cwd))
        self.failures: list[SupervisorError] = []
        self.problems: list[str] = []
        self.invalid: set[str] = set()
        self.factory = False

    def resolve(self) -> None:
        arguments = self._attempt(self._gunicorn_arguments)
        environment = dict(self._environment())
        given = {name: (value, self._origin(name)) for name, value in self.inputs.values.items()}
        file = self._attempt(lambda: self._file(given, environment, arguments))
        for layer in (file, arguments, environment, given):
            self._apply(layer)
        self._use_passed_sockets()
        self._validate_defaults()
        self._name_application()
        self.settings.settle_group()
        self._check()
        if (advice := threads_replaced()) is not None:
            self.problems.append(advice)
        self.settings.warnings.extend(checks.warnings(self.settings))
        self.settings.server_name = standin.server_header()
        self.settings.server_software = standin.changed("SERVER_SOFTWARE")

    def failure(self) -> SupervisorError | None:
        """What to raise, where something is wrong."""
        if self.failures:
            return self.failures[0]
        if len(self.problems) == 1:
            return ConfigError(f"{self.problems[0]}.")
        if self.problems:
            return ConfigError(
                f"The settings cannot be used: {len(self.problems)} problems.", detail="\n".join(self.problems)
            )
        return self.unnamed()

    def unnamed(self) -> UsageError | None:
        if self.settings.app is not None:
            return None
        return UsageError(
            f"No application is named: give it as MODULE:ATTRIBUTE ({self.inputs.app_source}), or as wsgi_app in "
            "the configuration file."
        )

    def _attempt(self, read: Callable[[], Layer]) -> Layer:
        """A layer; none where it cannot be read, so that what is wrong with the others is found too."""
        try:
            return read()
        except SupervisorError as error:
            self.failures.append(error)
            return {}

    def _apply(self, layer: Layer) -> None:
        for name, (value, source) in layer.items():
            if name not in TABLE:
                self.problems.append(f"There is no setting {name!r}{did_you_mean(name)} ({source})")
                continue
            self._set(name, value, source)

    def _set(self, name: str, value: Any, source: str) -> None:
        try:
            self.settings.settings[name].set(value, source)
        except Invalid as error:
            self._refuse(name, f"{error} ({source})")
        except BaseException as error:  # noqa: BLE001  # an object of the user's may do anything when it is looked at
            self._refuse(name, f"cannot be used: {type(error).__name__}: {error} ({source})")

    def _refuse(self, name: str, problem: str) -> None:
        self.invalid.add(name)
        self.problems.append(f"{name} {problem}")

    def _use_passed_sockets(self) -> None:
        """Sockets that a service manager has opened take the place of ``bind``, as with gunicorn."""
        try:
            passed = activation.passed_sockets(self.inputs.environ, os.getpid())
        except Invalid as error:
            self._refuse("bind", str(error))
        else:
            if passed:
                self._set("bind", passed, activation.SOURCE)

    def _validate_defaults(self) -> None:
        """Those from the environment, where nothing has replaced them."""
        for name, value in self.settings.settings.items():
            if value.source.startswith("environment ") and value.declaration.derive is not None:
                self._set(name, value.value, value.source)

    def _name_application(self) -> None:
        settings, app = self.settings, self.inputs.app
        source = self.inputs.app_source
        if app is None:
            app, source = settings.wsgi_app, settings.source("wsgi_app")
        if (self.inputs.factory or self.factory) and isinstance(app, str) and not app.rstrip().endswith(")"):
            if ":" not in app:
                self._refuse("wsgi_app", f"has to be MODULE:FUNCTION with --factory, not {app!r} ({source})")
            app = f"{app}()"
        settings.app = app
        if isinstance(app, str) and settings.source("default_proc_name") == "default":
            settings.settings["default_proc_name"].set(app, source)

    def _check(self) -> None:
        """Look at the values together; those that are invalid by themselves have been reported already."""
        for name, problem in checks.problems(self.settings, frozenset(self.invalid)):
            given = name == "wsgi_app" and self.inputs.app is not None
            self._refuse(name, f"{problem} ({self.inputs.app_source if given else self.settings.source(name)})")

    def _origin(self, name: str) -> str:
        return self.inputs.sources.get(name, f"argument {name}")

    def _gunicorn_arguments(self) -> Layer:
        text = self.inputs.environ.get("GUNICORN_CMD_ARGS", "")
        if not text.strip():
            return {}
        from supervisor.config import flags  # click: only who passes arguments pays for its parser

        try:
            parsed = flags.parse(shlex.split(text))
        except (UsageError, ValueError) as error:
            raise UsageError(f"GUNICORN_CMD_ARGS cannot be parsed: {error}") from None
        if parsed.app is not None:
            self.settings.warnings.append(
                f"GUNICORN_CMD_ARGS names the application {parsed.app}: it is ignored there; use wsgi_app."
            )
        self.factory = parsed.factory
        return {name: (value, "GUNICORN_CMD_ARGS") for name, value in parsed.values.items()}

    def _environment(self) -> Iterator[tuple[str, tuple[Any, str]]]:
        """The variables ``SUPERVISOR_*`` that name a setting. Lists are separated by commas."""
        names = {setting.variable: setting for setting in TABLE.values() if setting.variable}
        for variable, text in self.inputs.environ.items():
            if not variable.startswith("SUPERVISOR_"):
                continue
            setting = names.get(variable)
            if setting is None:
                self._unknown_variable(variable)
                continue
            value = _COMMA[setting.name == "raw_env"].split(text) if setting.kind is Kind.LIST else text
            yield setting.name, (value, f"environment {variable}")

    def _unknown_variable(self, variable: str) -> None:
        rest = variable.removeprefix("SUPERVISOR_")
        meant = None if rest in _SUPERVISORD else misspelt.nearest(rest, TABLE)
        if meant is not None:
            self.settings.warnings.append(
                f"The environment variable {variable} is no setting; did you mean SUPERVISOR_{meant.upper()}?"
            )

    def _file(self, *layers: Layer) -> Layer:
        """The one configuration file: the one that is named, else the default one where it exists."""
        named = next((layer["config"][0] for layer in layers if "config" in layer and layer["config"][0]), None)
        if named is not None:
            return self._named_file(str(named))
        if not self.inputs.default_files:
            return {}
        default = os.path.join(self.inputs.cwd, "gunicorn.conf.py")
        if os.path.exists(default):
            return self._python(pyfile.run_file(default, "gunicorn.conf.py"))
        default = os.path.join(self.inputs.cwd, "pyproject.toml")
        return self._toml(default, "pyproject.toml") if os.path.exists(default) else {}

    def _named_file(self, location: str) -> Layer:
        if location.startswith("python:"):
            return self._python(pyfile.run_module(location.removeprefix("python:")))
        path = location.removeprefix("file:")
        absolute = os.path.join(self.inputs.cwd, path)
        if path.endswith(".toml"):
            return self._toml(absolute, path)
        return self._python(pyfile.run_file(absolute, path))

    def _toml(self, path: str, name: str) -> Layer:
        found = tomlfile.read(path, name)
        if found is None:
            return {}
        self.settings.config_path = path
        return found

    def _python(self, file: pyfile.PythonFile) -> Layer:
        self.settings.config_path = file.path or file.shown
        layer = {}
        for name in [name for name in file.values if name in TABLE]:
            value, source = file.values[name], file.source(name)
            if _is_foreign(name, value):
                self.settings.warnings.append(
                    f"{name} ({source}) is {shown(value)} here, not a value for the setting {name}: it is ignored."
                )
                continue
            layer[name] = (value, source)
        for name, meant in misspelt.suspicious(file.values, file.names, TABLE):
            self.settings.warnings.append(f"{name} ({file.source(name)}) is no setting; did you mean {meant}?")
        return layer


def _is_foreign(name: str, value: Any) -> bool:
    """Whether a name of the file only happens to be a setting's: ``import config``, ``from importlib import reload``.

    Nothing but a string can be meant for ``config``, and it has no effect in a file: an object of that name is the
    application's own configuration.
    """
    kind = TABLE[name].kind
    if name == "config":
        return value is not None and not isinstance(value, str)
    if isinstance(value, ModuleType):
        return True
    imported = callable(value) and getattr(value, "__module__", None) != "__config__"
    return imported and kind not in (Kind.CALLABLE, Kind.CLASS)


@contextmanager
def _inside(directory: str) -> Iterator[None]:
    """The file is read where the start was, wherever the arbiter is by now. The process goes back afterwards, if the
    directory that it was in can still be entered.
    """
    before = _here()
    try:
        try:
            os.chdir(directory)
        except OSError as error:
            raise ConfigError(f"The directory {directory} cannot be entered: {error.strerror}.") from None
        yield
    finally:
        if before is not None:
            with suppress(PermissionError):
                os.fchdir(before)
            os.close(before)


def _here() -> int | None:
    """The working directory as a descriptor, because a deployment may have removed it; None if it is forbidden now."""
    try:
        return os.open(".", os.O_PATH | os.O_CLOEXEC)
    except PermissionError:
        return None
