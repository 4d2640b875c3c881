"""The access log: gunicorn's ``access_log_format``, compiled once.

Atoms: ``h`` client address · ``l`` always ``-`` · ``u`` user of HTTP Basic · ``t`` local time · ``r`` request line
· ``m`` method · ``U`` path · ``q`` query · ``H`` protocol · ``s`` status · ``B`` and ``b`` bytes of the body ·
``f`` referer · ``a`` user agent · ``T`` seconds · ``M`` milliseconds · ``D`` microseconds · ``L`` decimal seconds ·
``p`` process · ``{name}i`` request header · ``{name}o`` response header · ``{name}e`` variable of the environ.
What is missing is ``-``.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from supervisor.errors import ConfigError
from supervisor.logs.record import Record, environ_of
from supervisor.logs.setup import LogFile, QuietStreamHandler

Atom = Callable[[Record], Any]

# Whoever reads the log must be able to trust its lines: nothing from outside ends a line, a field or an escape, or
# controls a terminal.
_UNSAFE = re.compile(r'[\x00-\x1f"\\\x7f-\x9f\u2028\u2029]')


def escape(text: str) -> str:
    r"""Make text from outside safe: quotes and backslashes get a backslash, control characters become ``\xhh``."""
    return _UNSAFE.sub(_escaped, text) if _UNSAFE.search(text) else text


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    if character in '"\\':
        return "\\" + character
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def _user(record: Record) -> str:
    value = _header(record.scope["headers"], b"authorization")
    if value is None or value[:6].lower() != b"basic ":
        return "-"
    try:
        user, _, _ = base64.b64decode(value[6:].strip()).partition(b":")
    except (binascii.Error, ValueError):
        return "-"
    return escape(user.decode("utf-8", "replace")) or "-"


def _client(record: Record) -> str:
    client = record.scope.get("client")
    return escape(str(client[0])) if client else "-"


def _header(headers: Any, name: bytes) -> bytes | None:
    for key, value in headers:
        if bytes(key).lower() == name:
            return bytes(value)
    return None


def _request_header(name: str) -> Atom:
    key = name.lower().encode("latin-1", "replace")

    def atom(record: Record) -> str:
        value = _header(record.scope["headers"], key)
        return "-" if value is None else escape(value.decode("latin-1"))

    return atom


def _response_header(name: str) -> Atom:
    key = name.lower().encode("latin-1", "replace")

    def atom(record: Record) -> str:
        value = _header(record.response_headers, key)
        return "-" if value is None else escape(value.decode("latin-1"))

    return atom


def _variable(name: str) -> Atom:
    key = name.upper()

    def atom(record: Record) -> str:
        value = environ_of(record).get(key)
        return "-" if value is None else escape(str(value))

    return atom


class _Clock:
    """The local time as the log writes it, formatted once a second."""

    def __init__(self) -> None:
        self.second = -1
        self.text = ""

    def __call__(self, record: Record) -> str:
        now = int(time.time())
        if now != self.second:
            self.second = now
            self.text = time.strftime("[%d/%b/%Y:%H:%M:%S %z]", time.localtime(now))
        return self.text


ATOMS: Final[dict[str, Atom]] = {
    "h": _client,
    "l": lambda _: "-",
    "u": _user,
    "t": _Clock(),
    "r": lambda record: f"{record.method} {escape(record.target)} {record.protocol}",
    "m": lambda record: record.method,
    "U": lambda record: escape(record.scope["path"]),
    "q": lambda record: escape(record.scope["query_string"].decode("latin-1")),
    "H": lambda record: record.protocol,
    "s": lambda record: record.status,
    "B": lambda record: record.sent,
    "b": lambda record: record.sent,
    "f": _request_header("referer"),
    "a": _request_header("user-agent"),
    "T": lambda record: int(record.duration),
    "M": lambda record: int(record.duration * 1_000),
    "D": lambda record: int(record.duration * 1_000_000),
    "L": lambda record: f"{record.duration:.6f}",
    "p": lambda _: f"<{os.getpid()}>",
}

_BRACED: Final = {"i": _request_header, "o": _response_header, "e": _variable}
_DIRECTIVE = re.compile(r"%(?:%|\((?P<name>[^)]*)\)(?P<conversion>[-#0 +]*[0-9]*(?:\.[0-9]+)?[a-zA-Z]))")


def atom_of(name: str) -> Atom:
    """The function behind an atom's name. Names that nobody knows are always ``-``, as in gunicorn."""
    if name.startswith("{") and name[-2:-1] == "}" and name[-1] in _BRACED:
        return _BRACED[name[-1]](name[1:-2])
    return ATOMS.get(name, lambda _: "-")


def compile_format(text: str) -> Callable[[Record], str]:
    """Compile an ``access_log_format``. Raises `ConfigError` if it is no format string."""
    atoms: list[Atom] = []

    def positional(match: re.Match[str]) -> str:
        if match["name"] is None:
            return "%%"
        atoms.append(atom_of(match["name"]))
        return "%" + match["conversion"]

    template = _DIRECTIVE.sub(positional, text)
    plain = _DIRECTIVE.sub(lambda match: "%%" if match["name"] is None else "%s", text)
    if "%" in _DIRECTIVE.sub("", text):
        raise ConfigError(f"access_log_format {text!r} is no format: a percent sign is written %%")
    if re.search(r"[^diouxXeEfFgGcrsa%]", "".join(m["conversion"][-1] for m in _DIRECTIVE.finditer(text) if m["name"])):
        raise ConfigError(f"access_log_format {text!r} holds a conversion that Python does not know")

    def render(record: Record) -> str:
        values = tuple(atom(record) for atom in atoms)
        try:
            return template % values
        except (TypeError, ValueError):
            # A numeric conversion of something that is "-" this time.
            return plain % values

    return render


class Atoms(Mapping[str, Any]):
    """The atoms of one record, computed when they are asked for: ``record.args`` of the logging module's records."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def __getitem__(self, name: str) -> Any:
        return atom_of(name)(self._record)

    def __iter__(self) -> Iterator[str]:
        return iter(ATOMS)

    def __len__(self) -> int:
        return len(ATOMS)


class AccessLog:
    """Writes finished requests to the logger ``gunicorn.access``.

    With the handler of the setting ``accesslog`` alone, lines are gathered and written with one system call when
    ``schedule`` calls back (an event loop's ``call_soon``), or at once without one. With handlers of a logging
    configuration each record goes through the logging module, its atoms in ``record.args`` as with gunicorn. Nothing
    that goes wrong with writing reaches the request.
    """

    def __init__(
        self,
        logger: logging.Logger,
        access_log_format: str,
        schedule: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self._logger = logger
        self._format = access_log_format
        self._render = compile_format(access_log_format)
        self._schedule = schedule
        self._lines: list[str] = []
        self._handler = self._own_handler()

    def _own_handler(self) -> LogFile | QuietStreamHandler | None:
        handlers = self._logger.handlers
        plain = len(handlers) == 1 and not self._logger.propagate and not self._logger.filters
        handler = handlers[0] if plain else None
        if isinstance(handler, LogFile | QuietStreamHandler) and not handler.filters:
            return handler
        return None

    def log(self, record: Record) -> None:
        """Write one line for a finished request."""
        try:
            if self._handler is None:
                self._logger.info(self._format, Atoms(record))
                return
            self._lines.append(self._render(record))
        except Exception as error:
            logging.getLogger("gunicorn.error").error("the access log failed", exc_info=error)
            return
        if self._schedule is None:
            self.flush()
        elif len(self._lines) == 1:
            self._schedule(self.flush)

    def flush(self) -> None:
        """Write what was gathered. Never raises; lines that cannot be written (a full disk, a closed pipe) are lost."""
        if not self._lines or self._handler is None:
            return
        lines, self._lines = self._lines, []
        data = ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")
        stream: Any = self._handler.stream
        try:
            descriptor = stream.fileno()
        except (OSError, ValueError, AttributeError):
            self._write_to_object(stream, data)
            return
        try:
            while data:
                data = data[os.write(descriptor, data) :]
        except OSError:
            return

    @staticmethod
    def _write_to_object(stream: Any, data: bytes) -> None:
        """For a stream without a descriptor, such as one that a test has put in the place of standard output."""
        try:
            stream.write(data.decode("utf-8"))
            stream.flush()
        except (OSError, ValueError, AttributeError):
            return
