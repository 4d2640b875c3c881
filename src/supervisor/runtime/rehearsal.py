"""Reading a configuration file for trial, in a process that is thrown away, before the arbiter reads it.

The file is the user's program: it may hang, crash, or end the process. Here it may.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import NoReturn

from supervisor.application import explain
from supervisor.runtime.channel import Channel, as_payload
from supervisor.runtime.linux import set_parent_death_signal


def rehearse(act: Callable[[], bytes], channel: Channel) -> NoReturn:
    """Do ``act``, say how it went and what it has returned, and end the process."""
    os.setsid()
    set_parent_death_signal(signal.SIGKILL)
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)  # what it prints is printed when the arbiter reads it
    try:
        answer = act()
    except BaseException as error:  # noqa: BLE001 - the file may raise anything
        summary, detail, _ = explain(error)
        channel.send("failed", {"summary": summary[:1000]}, payload=as_payload(detail))
    else:
        channel.send("passed", payload=answer)
    # What the file has started belongs to this reading of it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    os._exit(0)
