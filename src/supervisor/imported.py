"""Which files of the project a process has imported: what a reload loads anew, and what the watcher watches.

The project's are those that are neither the standard library's, nor installed, nor this package's. A package that is
installed as "editable" lies outside ``site-packages`` and counts.
"""

from __future__ import annotations

import functools
import os
import site
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

INSTALLED = ("site-packages", "dist-packages")
"""Directories of these names hold what was installed, in whatever environment."""


class Imported:
    """The files behind the modules of this process, told piece by piece."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._seen = 0

    def news(self, error: BaseException | None = None) -> list[str]:
        """The project's files that were imported since the last call, and those that ``error`` names."""
        modules = sys.modules
        if len(modules) == self._seen and error is None:
            return []
        self._seen = len(modules)
        files = {file for file in _files(modules.copy().values()) if is_projects(file)}
        if error is not None:
            files |= {file for file in _named_by(error) if is_projects(file)}
        news = sorted(files - self._told)
        self._told |= files
        return news


def is_projects(file: str) -> bool:
    """Whether a file, or a directory of modules, is the project's."""
    parts = file.split(os.sep)
    return os.path.isabs(file) and not (file.startswith(_foreign()) or any(name in parts for name in INSTALLED))


@functools.cache
def _foreign() -> tuple[str, ...]:
    """How the paths of other files begin."""
    paths = sysconfig.get_paths()
    names = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    names += [*site.getsitepackages(), site.getusersitepackages(), str(Path(__file__).parent)]
    return tuple({os.path.join(name, "") for each in names for name in (each, os.path.realpath(each))})


def _files(modules: Iterable[object]) -> Iterator[str]:
    for module in modules:
        try:
            file = getattr(module, "__file__", None)
        except Exception:  # noqa: BLE001, S112 - a lazy module may fail in any way when it is looked at
            continue
        if isinstance(file, str):
            yield file


def _named_by(error: BaseException) -> Iterator[str]:
    """The files of a traceback, and the one that is no Python: that one is not among the modules."""
    for frame in traceback.extract_tb(error.__traceback__):
        yield frame.filename
    if isinstance(error, SyntaxError) and error.filename:
        yield error.filename
    for behind in (error.__cause__, error.__context__):
        if behind is not None and behind is not error:
            yield from _named_by(behind)
