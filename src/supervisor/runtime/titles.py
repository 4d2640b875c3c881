"""Process titles for ps(1): ``supervisor: arbiter [shop]``, ``supervisor: worker [shop] 3``."""

from __future__ import annotations

from contextlib import suppress


def set_title(role: str, name: str, detail: str = "") -> None:
    """Show what this process is: ``supervisor: ROLE [NAME] DETAIL``. Does nothing where setproctitle is missing."""
    try:
        from setproctitle import setproctitle
    except ImportError:
        return
    with suppress(ValueError):  # a name with a zero byte in it, or half of a surrogate pair: it comes from the user
        setproctitle(f"supervisor: {role} [{name}] {detail}".rstrip())
