"""What HUP cannot renew: modules of the arbiter's own process, which its loaders inherit.

They stay as they are. To import them once more in a loader would leave two copies of them, one of which the launcher,
the hooks and the worker class hold.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from supervisor.config import modules


def why_stale(app: Any, *, rereads: bool) -> str:
    """Why a reload cannot load new code of the application; empty if it can.

    ``rereads`` is whether a reload reads the configuration again, and with it imports what that has imported.
    """
    if not isinstance(app, str):
        return "The application was given as an object"
    name = app.partition(":")[0]
    if name in sys.modules and not (rereads and modules.is_renewed(name)):
        return f"The module {name} was imported in the arbiter's process, by a launcher or the configuration"
    return ""


def report(log: logging.Logger, app: Any, *, rereads: bool) -> None:
    """Say at the start what HUP will not renew. Of an application that was given as an object everybody knows."""
    if isinstance(app, str) and (why := why_stale(app, rereads=rereads)):
        log.warning("%s: HUP will renew the workers, but not with new code; import it only in the workers", why)
    if lasting := [name for name in modules.of_the_user() if not (rereads and modules.is_renewed(name))]:
        log.info("HUP does not renew what was imported before the start: %s", ", ".join(lasting))
