"""User and group: whether this process can become them, and which group belongs to a user."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from supervisor.config.settings import Settings

_CAPABILITIES: Final = {"CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_KILL": 5}  # <linux/capability.h>
_NOBODY: Final = 2**32 - 1  # -1 leaves an id as it is (setresuid(2))
_EFFECTIVE: Final = re.compile(r"^CapEff:\s*([0-9a-f]+)$", re.MULTILINE)


def problems(settings: Settings) -> Iterator[tuple[str, str]]:
    """Why workers could not run as they shall. A server that was told to give up root and goes on as root is a hole."""
    for name in ("user", "group"):
        if not 0 <= settings.settings[name].value < _NOBODY:
            yield name, f"must be a number from 0 to {_NOBODY - 1}, not {settings.settings[name].value}"
            return
    effective = {"user": os.geteuid(), "group": os.getegid()}
    changed = [name for name, current in effective.items() if settings.settings[name].value != current]
    if effective["user"] != 0:
        for name in changed[:1]:
            yield name, f"can be changed by root only, and this process is user {effective['user']}; {_instead(name)}"
        if settings.initgroups and not changed and not _has_groups_of(settings.user):
            yield "initgroups", f"can be done by root only, and this process is user {effective['user']}; leave it out"
    elif changed and (missing := _missing("user" in changed)):
        yield changed[0], f"needs root with {', '.join(missing)}, which this process does not have; {_instead('user')}"


def warnings(settings: Settings) -> Iterator[str]:
    """What should be said of a change of user."""
    if settings.user != os.geteuid() and settings.source("group") == "default" and _entry(settings.user) is None:
        yield (
            f"user = {settings.user} ({settings.source('user')}) has no entry in the password database, so that its "
            f"group is not known: the workers keep group {settings.group}; set group."
        )


def group_of(uid: int) -> tuple[int, str] | None:
    """The group that the password database gives to a user, with where it comes from; None if it knows no such user."""
    entry = _entry(uid)
    return None if entry is None else (entry.pw_gid, f"the group of user {entry.pw_name}")


def _instead(name: str) -> str:
    return f"start the program {'as that user' if name == 'user' else 'with that group'} instead"


def _entry(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except (KeyError, OverflowError):
        return None


def _has_groups_of(uid: int) -> bool:
    entry = _entry(uid)
    return entry is None or set(os.getgrouplist(entry.pw_name, os.getegid())) <= {*os.getgroups(), os.getegid()}


def _missing(user_changes: bool) -> list[str]:
    """The capabilities (capabilities(7)) that lack for a change, and for signals to those who have changed."""
    held = _held()
    needed = _CAPABILITIES if user_changes else {"CAP_SETGID": _CAPABILITIES["CAP_SETGID"]}
    return [name for name, bit in needed.items() if not held >> bit & 1]


def _held() -> int:
    """The effective capabilities of this process as bits; all of them where that cannot be known (proc(5))."""
    with contextlib.suppress(OSError):
        if found := _EFFECTIVE.search(Path("/proc/self/status").read_text()):
            return int(found[1], 16)
    return -1
