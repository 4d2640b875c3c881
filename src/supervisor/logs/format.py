"""gunicorn's ``access_log_format``, compiled once into one function.

Atoms: ``h`` client address · ``l`` always ``-`` · ``u`` user of HTTP Basic · ``t`` local time · ``r`` request line
· ``m`` method · ``U`` path · ``q`` query · ``H`` protocol · ``s`` status · ``B`` and ``b`` bytes of the body ·
``f`` referer · ``a`` user agent · ``T`` seconds · ``M`` milliseconds · ``D`` microseconds · ``L`` decimal seconds ·
``p`` process · ``{name}i`` request header · ``{name}o`` response header · ``{name}e`` variable of the environ.
What is missing is ``-``; of fields that come more than once it is the last.
"""

from __future__ import annotations

import base64
import binascii
import functools
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from supervisor.errors import ConfigError
from supervisor.logs.record import Record, environ_of

# Whoever reads the log must be able to trust its lines: nothing from outside ends a line, a field or an escape, or
# controls a terminal.
_UNSAFE = re.compile(r'[\x00-\x1f"\\\x7f-\x9f\u2028\u2029]')

_REMEMBERED: Final = 256
"""Bytes of a header field up to which its text is remembered: clients send the same few again and again."""


def escape(text: str) -> str:
    r"""Make text from outside safe: quotes and backslashes get a backslash, control characters become ``\xhh``."""
    return _UNSAFE.sub(_escaped, text) if _UNSAFE.search(text) else text


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    if character in '"\\':
        return "\\" + character
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def _text(value: Any) -> str:
    """A header field's value, a dash where there is none."""
    if value is None:
        return "-"
    if type(value) is bytes and len(value) <= _REMEMBERED:
        return _known_text(value)
    return escape(value if isinstance(value, str) else bytes(value).decode("latin-1"))


@functools.lru_cache(maxsize=1024)
def _known_text(value: bytes) -> str:
    return escape(value.decode("latin-1"))


def _client(client: Any) -> str:
    # One that an application has put there need not be hashable.
    return _known_client(client) if type(client) is tuple else escape(str(client[0])) if client else "-"


@functools.lru_cache(maxsize=1024)
def _known_client(client: tuple[Any, ...]) -> str:
    return escape(str(client[0])) if client else "-"


def _by_name(headers: Any) -> dict[Any, Any]:
    """The request's header fields. The application may have made something else of them than it got."""
    try:
        return dict(headers)
    except TypeError:
        return {bytes(name).lower(): value for name, value in headers}


def _user(value: bytes | None) -> str:
    if value is None or value[:6].lower() != b"basic ":
        return "-"
    try:
        user, _, _ = base64.b64decode(value[6:].strip()).partition(b":")
    except (binascii.Error, ValueError):
        return "-"
    return escape(user.decode("utf-8", "replace")) or "-"


def _response_field(record: Record, name: bytes) -> str:
    values = [bytes(value) for key, value in record.response_headers if bytes(key).lower() == name]
    return _text(values[-1] if values else None)


def _variable(record: Record, name: str) -> str:
    environ = environ_of(record)
    value = environ.get(name)
    if value is None:
        # A WSGI application may have put in names of its own, in any case.
        value = next((value for key, value in environ.items() if key.upper() == name), None)
    return "-" if value is None else escape(str(value))


class _Clock:
    """The local time as the log writes it, formatted once a second."""

    def __init__(self) -> None:
        self.second = -1
        self.text = ""

    def __call__(self) -> str:
        now = int(time.time())
        if now != self.second:
            self.second = now
            self.text = time.strftime("[%d/%b/%Y:%H:%M:%S %z]", time.localtime(now))
        return self.text


# What each atom is, in Python: of ``record``, its ``scope``, and ``headers``, those of the request by name.
ATOMS: Final = {
    "h": "client(scope.get('client'))",
    "l": "'-'",
    "u": "user(headers.get(b'authorization'))",
    "t": "clock()",
    "r": "f'{record.method} {escape(record.target)} {record.protocol}'",
    "m": "record.method",
    "U": "escape(scope['path'])",
    "q": "escape(scope['query_string'].decode('latin-1'))",
    "H": "record.protocol",
    "s": "record.status",
    "B": "record.sent",
    "b": "record.sent",
    "f": "text(headers.get(b'referer'))",
    "a": "text(headers.get(b'user-agent'))",
    "T": "int(record.duration)",
    "M": "int(record.duration * 1_000)",
    "D": "int(record.duration * 1_000_000)",
    "L": "f'{record.duration:.6f}'",
    "p": "process",
}
_NAMES: Final = {
    "by_name": _by_name,
    "client": _client,
    "clock": _Clock(),
    "escape": escape,
    "response_field": _response_field,
    "text": _text,
    "user": _user,
    "variable": _variable,
}
_DIRECTIVE = re.compile(r"%(?:%|\((?P<name>[^)]*)\)(?P<conversion>[-#0 +]*[0-9]*(?:\.[0-9]+)?[a-zA-Z]))")


def _expression(atom: str) -> str:
    """What an atom is, in Python. Names that nobody knows are always ``-``, as in gunicorn.

    Nothing of the name gets into the code but as a literal of its bytes or text.
    """
    if atom.startswith("{") and atom[-2:-1] == "}":
        name = atom[1:-2]
        field = name.lower().encode("latin-1", "replace")
        match atom[-1]:
            case "i":
                return f"text(headers.get({field!r}))"
            case "o":
                return f"response_field(record, {field!r})"
            case "e":
                return f"variable(record, {name.upper()!r})"
    return ATOMS.get(atom, "'-'")


def _function(expressions: list[str]) -> Callable[[Record], tuple[Any, ...]]:
    """A function of a record that returns the values of the expressions."""
    code = [
        "def values(record):",
        "    scope = record.scope",
        *(["    headers = by_name(scope['headers'])"] if any("headers" in text for text in expressions) else []),
        f"    return ({''.join(f'{text}, ' for text in expressions)})",
    ]
    names: dict[str, Any] = {**_NAMES, "process": f"<{os.getpid()}>"}
    exec("\n".join(code), names)  # noqa: S102 - made of the expressions above and of literals, see `_expression`
    made: Callable[[Record], tuple[Any, ...]] = names["values"]
    return made


@functools.lru_cache(maxsize=256)
def _values_of(atom: str) -> Callable[[Record], tuple[Any, ...]]:
    return _function([_expression(atom)])


def compile_format(text: str) -> Callable[[Record], str]:
    """Compile an ``access_log_format``. Raises `ConfigError` if it is no format string."""
    expressions: list[str] = []

    def positional(match: re.Match[str]) -> str:
        if match["name"] is None:
            return "%%"
        expressions.append(_expression(match["name"]))
        return "%" + match["conversion"]

    template = _DIRECTIVE.sub(positional, text)
    plain = _DIRECTIVE.sub(lambda match: "%%" if match["name"] is None else "%s", text)
    if "%" in _DIRECTIVE.sub("", text):
        raise ConfigError(f"access_log_format {text!r} is no format: a percent sign is written %%")
    if re.search(r"[^diouxXeEfFgGcrsa%]", "".join(m["conversion"][-1] for m in _DIRECTIVE.finditer(text) if m["name"])):
        raise ConfigError(f"access_log_format {text!r} holds a conversion that Python does not know")
    values = _function(expressions)

    def render(record: Record) -> str:
        try:
            return template % values(record)
        except (TypeError, ValueError):
            # A numeric conversion of something that is "-" this time.
            return plain % values(record)

    return render


class Atoms(Mapping[str, Any]):
    """The atoms of one record, computed when they are asked for: ``record.args`` of the logging module's records.

    Formatters write them as JSON, so their types are those of gunicorn's WSGI workers: the status is text.
    """

    def __init__(self, record: Record) -> None:
        self._record = record

    def __getitem__(self, name: str) -> Any:
        value = _values_of(name)(self._record)[0]
        return str(value) if name in ("s", "b") else value

    def __iter__(self) -> Iterator[str]:
        return iter(ATOMS)

    def __len__(self) -> int:
        return len(ATOMS)
