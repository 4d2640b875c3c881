"""Running as another user, though the interpreter may lie in a folder that only root can enter."""

from __future__ import annotations

import os
import stat
import sys
from collections import defaultdict
from pathlib import Path

import supervisor

USER = "daemon"
"""On every Linux, and nobody's."""

_SCRIPT = """
set -e
umask 022
while [ "$1" != -- ]; do
    closed=$1 count=$2 stage=$(mktemp -d)
    shift 2
    mount -t tmpfs none "$stage"
    for needed in $(seq "$count"); do
        mkdir "$stage/$needed"
        eval "mount --bind \\"\\${$needed}\\" \\"$stage/$needed\\""
    done
    mount -t tmpfs -o mode=755 none "$closed"
    for needed in $(seq "$count"); do
        mkdir -p "$1"
        mount --move "$stage/$needed" "$1" 2>/dev/null || mount --bind "$stage/$needed" "$1"
        shift
    done
    umount -l "$stage"
    rmdir "$stage"
done
shift
exec "$@"
"""


def reachable() -> list[str]:
    """What to put before a command, so that other users can read the interpreter, its packages and ours.

    Folders on the way that they cannot enter are replaced, in a mount namespace of the command's own, by open ones
    with nothing in them but what is needed.
    """
    closed: dict[str, list[str]] = defaultdict(list)
    for needed in dict.fromkeys([sys.base_prefix, sys.prefix, str(Path(supervisor.__file__).parents[1])]):
        for folder in reversed(Path(needed).parents):
            if not os.stat(folder).st_mode & stat.S_IXOTH:
                closed[str(folder)].append(needed)
                break
    if not closed:
        return []
    arguments = [text for folder, needed in closed.items() for text in (folder, str(len(needed)), *needed)]
    return ["unshare", "--mount", "sh", "-c", _SCRIPT, "sh", *arguments, "--"]
