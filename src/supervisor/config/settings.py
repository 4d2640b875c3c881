"""The table of all settings, and `Settings`: the values that were found for them, each with its source.

The declarations stand in `supervisor.config.table`, one module for each subject, each setting once. The command
line, the environment, configuration files, ``--print-config`` and the reference page all come from this table.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import ip_network
from types import MappingProxyType
from typing import Any

from supervisor.config.addresses import Address, parse
from supervisor.config.schema import Invalid, Setting, Surroundings
from supervisor.config.table import hooks, http, logs, process, server
from supervisor.config.typed import TypedSettings
from supervisor.errors import ConfigError

_ALL = (*server.SETTINGS, *process.SETTINGS, *logs.SETTINGS, *http.SETTINGS, *hooks.SETTINGS)

TABLE: Mapping[str, Setting] = MappingProxyType({setting.name: setting for setting in _ALL})
"""Every setting by its name, in the order of the reference page."""

HOOKS: tuple[str, ...] = tuple(setting.name for setting in hooks.SETTINGS if setting.group == hooks.HOOKS)
"""The names of the 16 hooks."""


class Value:
    """The value of one setting. Configuration files and hooks reach it as ``server.cfg.settings[name]``."""

    __slots__ = ("declaration", "initial", "source", "value")

    def __init__(self, declaration: Setting, value: Any, source: str) -> None:
        self.declaration = declaration
        self.initial = value
        self.value = value
        self.source = source

    @property
    def name(self) -> str:
        return self.declaration.name

    @property
    def section(self) -> str:
        return self.declaration.group

    @property
    def default(self) -> Any:
        return self.declaration.default

    @property
    def cli(self) -> list[str]:
        return list(self.declaration.flags)

    @property
    def meta(self) -> str:
        return self.declaration.metavar

    @property
    def desc(self) -> str:
        return self.declaration.doc

    @property
    def short(self) -> str:
        return self.desc.partition("\n")[0]

    @property
    def validator(self) -> Any:
        return self.declaration.validate

    def get(self) -> Any:
        return self.value

    def set(self, value: Any, source: str = "set by a hook") -> None:
        """Validate and keep a value. Raises `supervisor.config.schema.Invalid`."""
        self.value = self.declaration.validate(value)
        self.source = source

    def is_default(self) -> bool:
        """Whether nobody asked for anything: the default, or the same value spelled out."""
        return self.source == "default" or bool(self.value == self.initial)


class Settings(TypedSettings):
    """The resolved settings: ``settings.workers``, ``settings.bind``, hooks as callables or None.

    ``server_name`` and ``server_software`` are what the file has set ``gunicorn.SERVER`` and
    ``gunicorn.SERVER_SOFTWARE`` to, None where it has not.

    `supervisor.config.load.load` makes it. ``app`` is the application: what the command line or a launcher named,
    else ``wsgi_app``. ``config_path`` is the configuration file in use. ``warnings`` is what is to be said once at
    the start: settings without effect, and names that look like misspelt settings.
    """

    settings: Mapping[str, Value]
    app: Any
    config_path: str | None
    warnings: list[str]
    server_name: str | None
    server_software: str | None

    def __init__(self, surroundings: Surroundings) -> None:
        values = {name: _default(setting, surroundings) for name, setting in TABLE.items()}
        vars(self).update(settings=MappingProxyType(values), app=None, config_path=None, warnings=[])
        vars(self).update(server_name=None, server_software=None, env_orig=surroundings.environ)

    def __getattr__(self, name: str) -> Any:
        if name == "settings" or name not in self.settings:  # "settings" itself is missing while copying
            raise AttributeError(f"there is no setting {name!r}")
        return self.settings[name].value

    def __setattr__(self, name: str, value: Any) -> None:
        if name in TABLE:
            raise AttributeError(f"{name} is a setting: change it with set({name!r}, ...)")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return f"<Settings of {self.app!r}>"

    def source(self, name: str) -> str:
        """Where the value came from, for example "default", "gunicorn.conf.py:12" or "command line --timeout"."""
        return self.settings[name].source

    def set(self, name: str, value: Any, source: str = "set by a hook") -> None:
        """Change a setting. Raises `ConfigError` for a name or a value that cannot be used."""
        if name not in self.settings:
            raise ConfigError(f"There is no setting {name!r}{did_you_mean(name)}.")
        from supervisor.config.checks import problems  # imports this module

        kept = self.settings[name]
        before = kept.value, kept.source
        try:
            kept.set(value, source)
        except Invalid as error:
            raise ConfigError(f"{name} {error} ({source}).") from None
        if name == "user":
            self.settle_group()
        for wrong, problem in problems(self):
            if wrong == name:
                kept.value, kept.source = before
                raise ConfigError(f"{name} {problem} ({source}).")

    def settle_group(self) -> None:
        """Where a user is set, and no group, it is that user's own: gunicorn's workers would keep the group of root."""
        from supervisor.config.identity import group_of  # imports this module

        group = self.settings["group"]
        found = None if group.source != "default" or self.user == os.geteuid() else group_of(self.user)
        if found is not None:
            group.set(*found)

    @property
    def proc_name(self) -> str:  # type: ignore[override]  # read-only on purpose: `set` is the way to change it
        """The name for process titles: the setting, or ``default_proc_name`` where it is not set."""
        name: str | None = self.settings["proc_name"].value
        return self.default_proc_name if name is None else name

    @property
    def env(self) -> dict[str, str]:
        """``raw_env`` as a dictionary."""
        return {name: value for name, _, value in (entry.partition("=") for entry in self.raw_env)}

    @property
    def address(self) -> list[Address]:
        """``bind``, parsed: (host, port), the path of a Unix socket, or a file descriptor."""
        return [parse(text) for text in self.bind]

    @property
    def is_ssl(self) -> bool:
        """Whether TLS is spoken."""
        return bool(self.certfile or self.keyfile)

    @property
    def ssl_options(self) -> dict[str, Any]:
        """The settings of TLS by name."""
        return {name: value.value for name, value in self.settings.items() if value.section == http.TLS}

    def validate(self) -> None:
        """Look at the settings together. Raises `ConfigError` with the first problem."""
        from supervisor.config.checks import problems  # imports this module

        for name, problem in problems(self):
            raise ConfigError(f"{name} {problem} ({self.source(name)}).")

    def forwarded_allow_networks(self) -> list[Any]:
        """``forwarded_allow_ips`` as networks, without ``*``."""
        return [ip_network(entry) for entry in self.forwarded_allow_ips if entry != "*"]

    def proxy_allow_networks(self) -> list[Any]:
        """``proxy_allow_ips`` as networks, without ``*``."""
        return [ip_network(entry) for entry in self.proxy_allow_ips if entry != "*"]

    @property
    def uid(self) -> int:
        return self.user

    @property
    def gid(self) -> int:
        return self.group

    @property
    def worker_class_str(self) -> str:
        """The worker class by name."""
        return self.worker_class if isinstance(self.worker_class, str) else self.worker_class.__name__

    @property
    def import_paths(self) -> list[str]:
        """The directories for the front of the module search path, first one first, as absolute paths.

        Each entry of ``pythonpath`` goes in front of those before it, and all go in front of ``chdir``, as in gunicorn.
        """
        extra = [self.path(entry) for entry in (self.pythonpath or "").split(",") if entry.strip()]
        return [*reversed(extra), self.chdir]

    def path(self, name: str) -> str:
        """A file name of a setting as an absolute path: relative ones start from ``chdir``."""
        return os.path.normpath(os.path.join(self.chdir, name.strip()))


def did_you_mean(name: str) -> str:
    """``; did you mean "workers"?`` for a name that is close to a setting's, or an empty string."""
    close = get_close_matches(name.lower().replace("-", "_"), TABLE, n=1, cutoff=0.7)
    return f"; did you mean {close[0]!r}?" if close else ""


def _default(setting: Setting, surroundings: Surroundings) -> Value:
    """The default of a setting, not yet validated where it comes from the environment."""
    derived = setting.derive(surroundings) if setting.derive else None
    if derived is None:
        return Value(setting, copy.copy(setting.default), "default")
    return Value(setting, *derived)
