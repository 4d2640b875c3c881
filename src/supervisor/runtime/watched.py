"""What a reload depends on: which files there are, and whether they are as they were.

A look is complete each time, and compares times of change and sizes. So it does not matter how an editor saves (in
place, by a rename, by removing and writing anew), which notifications were lost, or whether there are any: they only
say that it is time to look.
"""

from __future__ import annotations

import glob
import importlib.machinery
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from supervisor.config.settings import Settings
from supervisor.imported import INSTALLED

MOST_DIRECTORIES: Final = 4000
"""So many are looked into below one root. A project has fewer; a home directory, or ``/``, has more."""

FOREIGN: Final = frozenset({"__pycache__", "node_modules", *INSTALLED})
"""Directories without code of the project. Hidden ones and virtual environments have none either."""

PSEUDO: Final = frozenset({"/dev", "/proc", "/sys"})
CODE: Final = tuple(importlib.machinery.SOURCE_SUFFIXES + importlib.machinery.EXTENSION_SUFFIXES)
MAGIC: Final = frozenset("*?[")

Signature = tuple[int, int]
"""Time of change in nanoseconds, and size. No inode: some file systems number their files anew."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What is to be watched, by absolute paths.

    ``engine`` is the setting ``reload_engine``. ``roots`` are directories of code, ``named`` files that count whatever
    they are (of a directory, all that is in it), ``patterns`` name more of them. The watcher runs as ``user`` and
    ``group``, since it removes files.
    """

    engine: str
    roots: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    user: int = field(default_factory=os.geteuid)
    group: int = field(default_factory=os.getegid)
    initgroups: bool = False


def watch_of(settings: Settings, directory: str) -> Watch:
    """What these settings want watched. Relative names start from ``directory``, where the arbiter was started."""
    extra = [os.path.normpath(os.path.join(directory, name)) for name in settings.reload_extra_files]
    named = [name for name in extra if not MAGIC & set(name)]
    if settings.config_path:
        named.append(os.path.normpath(os.path.join(directory, settings.config_path)))
    return Watch(
        engine=settings.reload_engine,
        roots=tuple(dict.fromkeys(settings.import_paths)),
        named=tuple(dict.fromkeys(named)),
        patterns=tuple(name for name in extra if MAGIC & set(name)),
        user=settings.user,
        group=settings.group,
        initgroups=bool(settings.initgroups),
    )


@dataclass(slots=True, eq=False)
class Look:
    """What was there: ``code`` of the roots, files that were ``asked`` for by name or pattern, or are imported.

    ``directories`` are those in which a change would be one of these; ``cut`` are roots that were too large.
    """

    code: dict[str, Signature] = field(default_factory=dict)
    asked: dict[str, Signature] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    cut: list[str] = field(default_factory=list)

    def same_as(self, other: Look) -> bool:
        """Whether all files are as they were."""
        return (self.code, self.asked) == (other.code, other.asked)


def look(watch: Watch, imported: Iterable[str]) -> Look:
    """Look at everything. What cannot be looked at is not there."""
    found = Look()
    for root in watch.roots:
        for entry in _walk(root, found):
            if entry.name.endswith(CODE):
                _add(found.code, entry.path)
    for name in watch.named:
        if os.path.isdir(name):
            for entry in _walk(name, found):
                _add(found.asked, entry.path)
        else:
            _add(found.asked, name)
            found.directories.add(os.path.dirname(name))
    for pattern in watch.patterns:
        found.directories.add(_base(pattern))
        for name in glob.iglob(pattern, recursive=True):
            if not os.path.isdir(name):
                _add(found.asked, name)
            found.directories.add(os.path.dirname(name))
    for name in imported:
        _add(found.asked, name)
        found.directories.add(os.path.dirname(name))
    found.directories = set(filter(os.path.isdir, found.directories))
    return found


def changes(before: Look, after: Look, *, all_code: bool) -> list[str]:
    """The files that make a reload worth while, the latest first.

    Code that nobody has imported does so only when it is new, or with ``all_code``.
    """
    changed = set(_differences(before.asked, after.asked))
    changed |= {
        name
        for name in _differences(before.code, after.code)
        if name not in after.asked and name not in before.asked and (all_code or name not in before.code)
    }
    return sorted(changed, key=lambda name: _when(after, name), reverse=True)


def open_places(watch: Watch) -> Iterator[str]:
    """The directories below which any file may matter, with a slash behind them."""
    yield from (os.path.join(name, "") for name in watch.named if os.path.isdir(name))
    yield from (os.path.join(_base(pattern), "") for pattern in watch.patterns)


def latest(look: Look, names: Iterable[str]) -> float:
    """When the last of these files was changed, in seconds of the wall clock; 0 if all of them are gone."""
    return max((_when(look, name) for name in names), default=0) / 1e9


def is_half_done(after: Look, names: Iterable[str]) -> bool:
    """Whether one of the changed files is empty or gone: an editor may be about to write it."""
    return any(after.asked.get(name, after.code.get(name, (0, 0)))[1] == 0 for name in names)


def _when(look: Look, name: str) -> int:
    return look.asked.get(name, look.code.get(name, (0, 0)))[0]


def _differences(before: Mapping[str, Signature], after: Mapping[str, Signature]) -> Iterator[str]:
    yield from (name for name, signature in after.items() if before.get(name) != signature)
    yield from (name for name in before if name not in after)


def _walk(root: str, found: Look) -> Iterator[os.DirEntry[str]]:
    """The files below a root, level by level, without those that are hidden or foreign. Links are not followed."""
    waiting = deque([root])
    looked_into = 0
    while waiting:
        folder = waiting.popleft()
        if looked_into >= MOST_DIRECTORIES:
            found.cut.append(root)
            return
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        if folder != root and any(entry.name == "pyvenv.cfg" for entry in entries):
            continue
        looked_into += 1
        found.directories.add(folder)
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in FOREIGN and entry.path not in PSEUDO:
                    waiting.append(entry.path)
            else:
                yield entry


def _add(files: dict[str, Signature], name: str) -> None:
    try:
        status = os.stat(name)
    except (OSError, ValueError):
        return
    files[name] = (status.st_mtime_ns, status.st_size)


def _base(pattern: str) -> str:
    """The directory above the first part of a pattern that is one."""
    parts = pattern.split(os.sep)
    plain = next(at for at, part in enumerate(parts) if MAGIC & set(part))
    return os.sep.join(parts[:plain]) or os.sep
