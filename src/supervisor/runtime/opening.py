"""The first lines of the log: what starts here, with what, and where it listens."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

from supervisor.config.render import print_config
from supervisor.config.settings import Settings
from supervisor.config.worker_class import described
from supervisor.runtime import staleness
from supervisor.runtime.sockets import Listener
from supervisor.version import __version__


def say_what_starts(log: logging.Logger, settings: Settings, *, rereads: bool) -> None:
    """Before anything is done. ``rereads``: HUP will read the configuration again."""
    log.info("Starting supervisor %s", __version__)
    if settings.config_path:
        log.info("Configuration: %s", settings.config_path)
    for warning in settings.warnings:
        log.warning("%s", warning)
    if log.isEnabledFor(logging.DEBUG):
        log.debug("Current configuration:\n%s", print_config(settings))
    staleness.report(log, settings.app, rereads=rereads)


def say_what_serves(log: logging.Logger, settings: Settings, listeners: Iterable[Listener]) -> None:
    """When all addresses are bound."""
    for address in dict.fromkeys(listener.display for listener in listeners):
        log.info("Listening at: %s (%d)", address, os.getpid())
    log.info("Using worker: %s, %d wanted", described(settings.worker_class), settings.workers)
    if not settings.workers:
        log.info("No workers are wanted: nothing answers until TTIN adds one")
