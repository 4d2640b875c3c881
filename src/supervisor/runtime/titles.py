"""Process titles, for ps(1): ``supervisor: worker [shop] 3``."""

from __future__ import annotations


def set_title(role: str, name: str, detail: str = "") -> None:
    """Show what this process is, where setproctitle is installed."""
    try:
        from setproctitle import setproctitle
    except ImportError:
        return
    setproctitle(" ".join(part for part in (f"supervisor: {role} [{name}]", detail) if part))
