"""What a declaration of a setting says. The declarations themselves are in `supervisor.config.settings`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Invalid(ValueError):
    """A value cannot be used. The message goes on where the setting's name ends: "must be a whole number"."""


class Kind(StrEnum):
    """What the values of a setting are."""

    INTEGER = "whole number"
    OCTAL = "file mode bits"
    SIZE = "bytes, or a number with K, M, G or T (powers of 1024)"
    BOOLEAN = "true or false"
    STRING = "string"
    LIST = "list of strings"
    DICT = "dictionary"
    CLASS = "class, or the name of one"
    CALLABLE = "callable, or the name of one"


class Applies(StrEnum):
    """When a changed value takes hold after HUP."""

    LIVE = "live"
    NEW_WORKERS = "new workers"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What defaults may depend on: the environment and the working directory at the start."""

    environ: Mapping[str, str]
    cwd: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting: its name, how it is given, what it accepts, and what it does.

    ``validate`` takes a value from any source and returns the one to use, or raises `Invalid`. ``default`` is a
    valid value already; ``derive`` finds the default where it depends on the surroundings, and returns the raw
    value with its source, or None to fall back on ``default``. ``unset`` is how gunicorn prints the default where
    ours is None. The flag of a ``repeatable`` setting may be given several times. ``parameters`` are what a
    callable is called with. ``no_effect`` is why a setting that is there so that a gunicorn configuration is accepted
    as it is does nothing (a clause, without a full stop); empty for all others.
    """

    name: str
    group: str
    doc: str
    kind: Kind
    validate: Callable[[Any], Any]
    default: Any = None
    derive: Callable[[Surroundings], tuple[Any, str] | None] | None = None
    flags: tuple[str, ...] = ()
    metavar: str = ""
    flag_value: Any = None
    repeatable: bool = False
    parameters: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    default_text: str = ""
    applies: Applies = Applies.NEW_WORKERS
    no_effect: str = ""
    unset: str = ""

    @property
    def variable(self) -> str | None:
        """The environment variable that sets it, or None where only a file can (callables and dictionaries)."""
        if self.kind in (Kind.CALLABLE, Kind.DICT):
            return None
        return f"SUPERVISOR_{self.name.upper()}"

    @property
    def long_flag(self) -> str:
        """The flag by which messages name the setting on the command line, or an empty string."""
        return next((flag for flag in self.flags if flag.startswith("--")), "")
