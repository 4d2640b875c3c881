"""What cannot be seen at a single value: settings against each other, and against files, user and group."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import re
import sys
from collections.abc import Collection, Iterator

from supervisor.config import addresses, identity, spoken
from supervisor.config.schema import Invalid
from supervisor.config.settings import Settings
from supervisor.config.validators import shown, unmatched
from supervisor.config.worker_class import validate_name
from supervisor.logs.handlers import LEVELS

Problem = tuple[str, str]
"""The setting, and what is wrong with it, as a clause that begins with a verb."""

_APPLICATION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:.+)?", re.DOTALL)


def problems(settings: Settings, invalid: Collection[str] = ()) -> Iterator[Problem]:
    """Everything that makes the settings unusable, save for those that are known to be ``invalid`` by themselves."""
    for check in _CHECKS:
        if check in (_files, _certificates, _folders) and "chdir" in invalid:
            continue  # nobody knows where relative names start
        yield from (problem for problem in check(settings) if problem[0] not in invalid)


def warnings(settings: Settings) -> Iterator[str]:
    """What is to be said once at the start, a sentence each."""
    for name, value in settings.settings.items():
        if value.declaration.no_effect and not value.is_default():
            yield f"{name} = {shown(value.value)} ({value.source}) has no effect: {value.declaration.no_effect}."
    yield from identity.warnings(settings)
    if settings.daemon and settings.errorlog in (None, "-") and not settings.enable_stdio_inheritance:
        yield f"daemon ({settings.source('daemon')}) has no standard error, where errorlog leads: name a file."
    yield from spoken.warnings(settings)
    for pattern in unmatched(settings.reload_extra_files):
        yield f"reload_extra_files ({settings.source('reload_extra_files')}): {pattern} matches no file now."


def _addresses(settings: Settings) -> Iterator[Problem]:
    if not settings.bind:
        yield "bind", "names no address"
    for text in settings.bind:
        try:
            addresses.parse(text)
        except Invalid as error:
            yield "bind", str(error)


def _files(settings: Settings) -> Iterator[Problem]:
    for name in ("certfile", "keyfile", "ca_certs", "logconfig", "logconfig_json"):
        file: str | None = settings.settings[name].value
        if file:
            yield from _unreadable(name, settings.path(file), file)
    if settings.keyfile and not settings.certfile:
        yield "keyfile", "needs certfile beside it"


def _certificates(settings: Settings) -> Iterator[Problem]:
    """Not with the hook ``ssl_context``, which may read the files in its own way."""
    if settings.certfile and settings.settings["ssl_context"].is_default():
        from supervisor.config import certificates  # the ssl module: only who speaks TLS pays for it

        keyfile, ca_certs = (name and settings.path(name) for name in (settings.keyfile, settings.ca_certs))
        yield from certificates.problems(settings.path(settings.certfile), keyfile, ca_certs)


def _unreadable(name: str, path: str, given: str) -> Iterator[Problem]:
    try:
        with open(path, "rb"):
            return
    except (OSError, ValueError) as error:  # ValueError: the name holds a null byte
        yield name, f"names a file that cannot be read: {given!r}: {getattr(error, 'strerror', None) or error}"


def _environment(settings: Settings) -> Iterator[Problem]:
    for entry in settings.raw_env:
        if entry.find("=") < 1:
            yield "raw_env", f"must hold NAME=VALUE, not {entry!r}"


def _folders(settings: Settings) -> Iterator[Problem]:
    if settings.worker_tmp_dir:
        path = settings.path(settings.worker_tmp_dir)
        if not os.path.isdir(path):
            yield "worker_tmp_dir", f"names a directory that does not exist: {settings.worker_tmp_dir!r}"
        elif not os.access(path, os.W_OK | os.X_OK):
            yield "worker_tmp_dir", f"names a directory that cannot be written to: {settings.worker_tmp_dir!r}"


def _loglevel(settings: Settings) -> Iterator[Problem]:
    if settings.loglevel.lower() not in LEVELS:
        yield "loglevel", f"must be one of {', '.join(reversed(LEVELS))}, not {settings.loglevel!r}"


def _worker_class(settings: Settings) -> Iterator[Problem]:
    try:
        validate_name(settings.worker_class)
    except Invalid as error:
        yield "worker_class", str(error)


def _application(settings: Settings) -> Iterator[Problem]:
    app = settings.app
    if isinstance(app, str) and not _APPLICATION.fullmatch(app):
        yield "wsgi_app", f"names no application: {app!r}; write MODULE:ATTRIBUTE"
    if app is not None and not isinstance(app, str) and not callable(app):
        yield "wsgi_app", f"must be MODULE:ATTRIBUTE or an ASGI application, which is callable; {shown(app)} is not"


def _watching(settings: Settings) -> Iterator[Problem]:
    if settings.reload and settings.reload_engine == "inotify" and importlib.util.find_spec("watchfiles") is None:
        yield "reload_engine", "= inotify needs the package watchfiles: pip install watchfiles, or leave it at auto"


def _paste(settings: Settings) -> Iterator[Problem]:
    if settings.paste:
        instead = "name the application as MODULE:ATTRIBUTE, of a module that has made it with paste.deploy.loadapp()"
        yield "paste", f"names a PasteDeploy file, which is not read: {settings.paste!r}; {instead}"


_CHECKS = (
    _paste,
    _addresses,
    _files,
    _certificates,
    _environment,
    _folders,
    identity.problems,
    spoken.problems,
    _loglevel,
    _worker_class,
    _application,
    _watching,
)


def missing_application(settings: Settings) -> str | None:
    """Why the application cannot be found, or None. Its modules are looked for, not imported."""
    if not isinstance(settings.app, str):
        return None
    module = settings.app.partition(":")[0]
    path = [*settings.import_paths, *sys.path]
    parts = module.split(".")
    for depth, name in enumerate(parts, start=1):
        if depth == 1 and name in sys.builtin_module_names:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None:
            return f"The application {settings.app} cannot be found: there is no module {'.'.join(parts[:depth])}."
        path = list(spec.submodule_search_locations or [])
    return None
