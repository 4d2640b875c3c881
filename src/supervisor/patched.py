"""Whether gevent or eventlet has replaced Python's threads, for which event loops would wait for ever."""

from __future__ import annotations

import sys


def threads_replaced() -> str | None:
    """What to do about it if the threads of this process are greenlets, as a clause; None if they are not.

    Such threads never run: WSGI applications, synchronous endpoints and look-ups of names hang, and so does the end of
    the process. Imports nothing: who has patched has imported it.
    """
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None and gevent.is_module_patched("threading"):
        call = "gevent's monkey.patch_all()"
    elif eventlet is not None and eventlet.is_monkey_patched("thread"):
        call = "eventlet's monkey_patch()"
    else:
        return None
    return (
        f"{call} has replaced Python's threads, and requests that need one would hang: take the call out of the "
        "configuration file and of the application"
    )
