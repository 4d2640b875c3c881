"""Where we accept, refuse or print something else than gunicorn on purpose. Each exception with its reason."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor.config.schema import Kind
from supervisor.config.settings import TABLE

if TYPE_CHECKING:
    from tests.parity.comparison import Mismatch

ALL = frozenset(TABLE)
CALLABLES = frozenset(name for name, setting in TABLE.items() if setting.kind is Kind.CALLABLE)
LISTS = frozenset(name for name, setting in TABLE.items() if setting.kind is Kind.LIST)
SWITCHES = frozenset(name for name, setting in TABLE.items() if setting.kind is Kind.BOOLEAN)
WORDS = frozenset({"forwarded_allow_ips", "proxy_allow_ips", "uwsgi_allow_ips", "forwarder_headers", "http_protocols"})


@dataclass(frozen=True, slots=True)
class Purpose:
    """An exception. ``tried`` are the values or command lines that it holds for; None means all."""

    names: Collection[str]
    columns: Collection[str]
    tried: Collection[str] | None
    reason: str

    def holds_for(self, mismatch: Mismatch) -> bool:
        return (
            mismatch.name in self.names
            and mismatch.column in self.columns
            and (self.tried is None or mismatch.tried in self.tried)
        )


PURPOSES = [
    Purpose(
        {"worker_class"}, {"default", "printed"}, {"", "its default"}, "by default ours, which serves ASGI and WSGI"
    ),
    Purpose({"worker_class"}, {"values"}, {"None"}, "stricter: None is no worker, and gunicorn fails later"),
    Purpose({"logger_class", "loglevel"}, {"values"}, {"None"}, "stricter: gunicorn fails on None later"),
    Purpose({"workers"}, {"values"}, {"'auto'"}, 'kinder: "auto" counts CPUs'),
    Purpose(
        {"workers"},
        {"flags"},
        {'["-w", "auto"]', '["-wauto"]', '["--workers", "auto"]', '["--workers=auto"]'},
        'kinder: "auto" counts CPUs',
    ),
    Purpose({"umask", "control_socket_mode"}, {"values"}, {"'022'", "'010'"}, "kinder: octal, as on the command line"),
    Purpose({"access_log_format"}, {"values"}, {"None"}, "kinder: None is the default; gunicorn writes the word"),
    Purpose(CALLABLES, {"values"}, {"None"}, "kinder: None is no hook"),
    Purpose(CALLABLES, {"values"}, {"dict"}, "kinder: what has no signature is called as it is"),
    Purpose(LISTS, {"values"}, {"[None]"}, "stricter: None is no string, and gunicorn fails later"),
    Purpose(WORDS, {"values"}, {"[]", "['a']", "['a', ' b ']", "('a', ' b ')", "['h1', 'h2']"}, "kinder: a list too"),
    Purpose({"user", "group"}, {"values"}, {"True"}, "the same: True is 1"),
    Purpose({"ssl_version"}, {"default"}, None, "the same: 2 is ssl.PROTOCOL_TLS"),
    Purpose({"ssl_version"}, {"values"}, {"object()"}, "the same: the object itself"),
    Purpose({"reload_engine"}, {"values"}, {"None", "'POLL'"}, "kinder: any case, and None is auto"),
    Purpose(
        {"chdir"},
        {"values", "flags"},
        {"'/etc/hosts'", '["--chdir", "/etc/hosts"]', '["--chdir=/etc/hosts"]'},
        "stricter: a file is no directory, and gunicorn fails later",
    ),
    Purpose(
        {"cert_reqs"},
        {"values", "flags"},
        {
            *("5", "3", "'3'", "' 0x10 '", "'0b11'", "'1_000'", "10**9", "2**70"),
            *('["--cert-reqs", "3"]', '["--cert-reqs=3"]', '["--cert-reqs", "0x10"]', '["--cert-reqs=0x10"]'),
        },
        "stricter: ssl.VerifyMode has 0, 1 and 2",
    ),
    Purpose(
        SWITCHES,
        {"flags"},
        {f'["{flag}", "-1"]' for name in SWITCHES for flag in TABLE[name].flags},
        "stricter: -1 is no application",
    ),
]


def reason(mismatch: Mismatch) -> str | None:
    """Why it is meant to be so, or None where nobody has declared it."""
    for purpose in PURPOSES:
        if purpose.holds_for(mismatch):
            return purpose.reason
    return None
