"""Giving up root: for good, checked, and before anything of the application runs in the process.

The arbiter stays root: it binds, signals, and removes its pidfile. Its loaders give root up, and the workers that they
fork have never had it.
"""

from __future__ import annotations

import os
import pwd
from typing import Protocol

from supervisor.errors import BootError


class Identity(Protocol):
    """Who a process is to be: settings, or what was made of them."""

    @property
    def user(self) -> int: ...
    @property
    def group(self) -> int: ...
    @property
    def initgroups(self) -> bool | None: ...


def change(settings: Identity) -> bool:
    """Whether ``user`` or ``group`` are others than those of this process."""
    return (settings.user, settings.group) != (os.geteuid(), os.getegid())


def drop(settings: Identity) -> None:
    """Become ``user`` and ``group``, if they are others; with all groups of the user with ``initgroups``, else no more.

    Clears the parent death signal (prctl(2)). To be called in a process without threads: others would stay what they
    are.

    Raises:
        BootError: the kernel refuses, or root could be had back. The process must not go on.
    """
    if not change(settings):
        return
    uid, gid = settings.user, settings.group
    groups = _groups(settings)
    try:
        # In this order: without root nothing of it is allowed (setuid(2), credentials(7)).
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        raise BootError(f"root cannot be given up for user {uid} and group {gid}: {error.strerror}") from error
    have = (os.getresuid(), os.getresgid(), set(os.getgroups()))
    if have != ((uid, uid, uid), (gid, gid, gid), set(groups)) or (uid != 0 and _can_return()):
        raise BootError(f"root was not given up for user {uid} and group {gid} for good; nothing is served like this")


def _groups(settings: Identity) -> list[int]:
    if settings.initgroups:
        try:
            name = pwd.getpwuid(settings.user).pw_name
        except KeyError:
            pass  # as with gunicorn: a user without a name is in no groups
        else:
            return os.getgrouplist(name, settings.group)
    return [settings.group]


def _can_return() -> bool:
    """Whether this process could become root again, as with capabilities that were kept (capabilities(7))."""
    try:
        os.setresuid(0, 0, 0)
    except OSError:
        return False
    return True
