"""Process titles for ps(1): ``supervisor: arbiter [shop]``, ``supervisor: worker [shop] 3``."""

from __future__ import annotations


def set_title(role: str, name: str, detail: str = "") -> None:
    """Show what this process is: ``supervisor: ROLE [NAME] DETAIL``. Does nothing where setproctitle is missing."""
    try:
        from setproctitle import setproctitle
    except ImportError:
        return
    setproctitle(f"supervisor: {role} [{name}] {detail}".rstrip())
