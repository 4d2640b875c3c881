"""Values as gunicorn accepts them: strings as numbers, "true" and "false", one string for a list.

A validator returns the value to use or raises `Invalid`. Those that need an argument are made by a function.
"""

from __future__ import annotations

import glob
import grp
import ipaddress
import operator
import os
import pwd
import re
import reprlib
import types
from collections.abc import Callable
from typing import Any

from supervisor.config.schema import Invalid
from supervisor.errors import ConfigError

_LEADING_ZERO = re.compile(r"0+[0-7]+")
_GLOB = re.compile(r"[*?\[]")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt])(?:ib)?", re.IGNORECASE)
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def shown(value: object) -> str:
    """The value for a message: short, and never an exception of its own ``__repr__``."""
    try:
        return reprlib.repr(value)
    except Exception:  # noqa: BLE001  # an object of the user's may fail at being shown
        return f"<{type(value).__name__}>"


def number(value: Any, *, octal: bool = False) -> int:
    """A whole number: an integer, or a string that spells one in the notation of Python."""
    if isinstance(value, str):
        text = value.strip()
        try:
            return int(text, 8) if octal and _LEADING_ZERO.fullmatch(text) else int(text, 0)
        except ValueError:
            raise Invalid(f"must be a whole number, not {shown(value)}") from None
    try:
        return operator.index(value)
    except TypeError:
        raise Invalid(f"must be a whole number, not {shown(value)}") from None


def integer(
    minimum: int = 0, maximum: int | None = None, *, octal: bool = False, auto: Callable[[], int] | None = None
) -> Callable[[Any], int]:
    """A whole number within bounds. ``auto`` computes it when the value is the word "auto"."""

    def validate(value: Any) -> int:
        if auto is not None and isinstance(value, str) and value.strip().lower() == "auto":
            return auto()
        found = number(value, octal=octal)
        if found < minimum:
            raise Invalid(f"must be at least {minimum}, not {found}")
        if maximum is not None and found > maximum:
            raise Invalid(f"must be at most {maximum}, not {found}")
        return found

    return validate


def size(minimum: int) -> Callable[[Any], int]:
    """A number of bytes: 0, or at least ``minimum``. ``"512M"``, ``"512 MiB"`` and ``"0.5G"`` are powers of 1024."""

    def validate(value: Any) -> int:
        spelled = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
        try:
            found = round(float(spelled[1]) * _UNITS[spelled[2].lower()]) if spelled else number(value)
        except (Invalid, OverflowError):
            raise Invalid(f"must be a number of bytes, or one with K, M, G or T, not {shown(value)}") from None
        if found and found < minimum:
            raise Invalid(f"must be 0 or at least {minimum} bytes, not {found}; write 500M for 500 MiB")
        return found

    return validate


def boolean(value: Any) -> bool | None:
    """True or False, also as the words "true" and "false". None stays None, as in gunicorn."""
    if value is None or isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in ("true", "false"):
        raise Invalid(f"must be True or False, not {shown(value)}")
    return word == "true"


def string(value: Any) -> str | None:
    """A string, without the white space around it, or None."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise Invalid(f"must be a string, not {shown(value)}")
    return value.strip()


def required_string(value: Any) -> str:
    """A string, without the white space around it."""
    found = string(value)
    if found is None:
        raise Invalid("must be a string, not None")
    return found


def dictionary(value: Any) -> dict[Any, Any]:
    """A dictionary."""
    if not isinstance(value, dict):
        raise Invalid(f"must be a dictionary, not {shown(value)}")
    return value


def strings(value: Any) -> list[str]:
    """A list of strings; a single string is a list of one."""
    if not value:
        return []
    try:
        items = [value] if isinstance(value, str) else list(value)
    except TypeError:
        raise Invalid(f"must be a list of strings, not {shown(value)}") from None
    for item in items:
        if not isinstance(item, str):
            raise Invalid(f"must be a list of strings, but one of them is {shown(item)}")
    return [item.strip() for item in items]


def words(value: Any) -> list[str]:
    """Strings separated by commas; a list is taken as it is, which gunicorn refuses."""
    if isinstance(value, (list, tuple)):
        return strings(value)
    return [word.strip() for word in (string(value) or "").split(",") if word]


def networks(value: Any) -> list[str]:
    """IP addresses and networks separated by commas, or "*"."""
    found = words(value)
    for address in found:
        if address == "*":
            continue
        try:
            ipaddress.ip_network(address)
        except ValueError as error:
            raise Invalid(f"must hold IP addresses, networks or *: {error}") from None
    return found


def choice(
    *allowed: str, empty: str | None = None, spellings: dict[Any, str] | None = None
) -> Callable[[Any], str | None]:
    """One of some words, in any case. None means ``empty``; ``spellings`` are other ways to say a word."""

    def validate(value: Any) -> str | None:
        if value is None:
            return empty
        word = value.strip().lower() if isinstance(value, str) else value
        if spellings and isinstance(word, (str, bool)) and word in spellings:
            return spellings[word]
        if not isinstance(word, str) or word not in allowed:
            raise Invalid(f"must be one of {', '.join(allowed)}, not {shown(value)}")
        return word

    return validate


def protocols(value: Any) -> list[str]:
    """HTTP versions by preference, separated by commas, each once."""
    found = [word.lower() for word in words(value) if word] or ["h1"]
    for word in found:
        if word not in ("h1", "h2"):
            raise Invalid(f"must be made of h1 and h2, not {shown(word)}")
    if len(found) != len(set(found)):
        raise Invalid("names a protocol twice")
    return found


def class_or_name(value: Any) -> Any:
    """A class, the string that names one, or a function that returns either."""
    if isinstance(value, (types.FunctionType, types.MethodType)):
        value = value()
    return value if isinstance(value, type) else required_string(value)


def anything(value: Any) -> Any:
    """Any value."""
    return value


def directory(value: Any) -> str:
    """A directory that exists, as an absolute path."""
    given = required_string(value)
    path = os.path.abspath(os.path.join(working_directory(), given))
    if not os.path.isdir(path):
        raise Invalid(f"names a directory that does not exist: {given!r}")
    return path


def files_or_patterns(value: Any) -> list[str]:
    """Files that exist, and glob patterns, which may match nothing so far."""
    found = strings(value)
    for entry in found:
        if not _GLOB.search(entry) and not os.path.exists(entry):
            raise Invalid(f"names a file that does not exist: {entry!r}")
    return found


def unmatched(patterns: list[str]) -> list[str]:
    """The glob patterns that match no file now."""
    return [entry for entry in patterns if _GLOB.search(entry) and not glob.glob(entry, recursive=True)]


def user(value: Any) -> int:
    """A user id, from the number or the name. None is the effective user."""
    if value is None:
        return os.geteuid()
    if isinstance(value, str) and not value.isdecimal():
        try:
            return pwd.getpwnam(value).pw_uid
        except (KeyError, ValueError):  # no such name, or none at all
            raise Invalid(f"names a user that does not exist: {value!r}") from None
    return int(value) if isinstance(value, str) else number(value)


def group(value: Any) -> int:
    """A group id, from the number or the name. None is the effective group."""
    if value is None:
        return os.getegid()
    if isinstance(value, str) and not value.isdecimal():
        try:
            return grp.getgrnam(value).gr_gid
        except (KeyError, ValueError):  # no such name, or none at all
            raise Invalid(f"names a group that does not exist: {value!r}") from None
    return int(value) if isinstance(value, str) else number(value)


def working_directory() -> str:
    """The current directory, by the name in ``PWD`` where that is the same place.

    The name matters when it goes through a symbolic link that a deployment moves: a later start in "the same"
    directory then finds the new release. Raises `ConfigError` where it has no name any more.
    """
    try:
        actual = os.getcwd()
    except OSError as error:
        raise ConfigError(
            f"The working directory cannot be found: {error.strerror}; was it removed or replaced? cd into it again."
        ) from None
    named = os.environ.get("PWD", "")
    try:
        return named if named and os.path.samefile(named, actual) else actual
    except OSError:
        return actual
