"""Values: what is accepted, what becomes of it, and what is refused."""

from __future__ import annotations

import enum
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.config import addresses
from supervisor.config.schema import Invalid
from supervisor.config.settings import TABLE


class Mode(enum.IntEnum):
    REQUIRED = 2


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("workers", "3", 3),
        ("workers", " 0x10 ", 16),
        ("workers", True, 1),
        ("cert_reqs", Mode.REQUIRED, 2),
        ("umask", "0o027", 0o27),
        ("umask", "022", 0o22),
        ("umask", "0", 0),
        ("umask", 18, 18),
        ("preload_app", " TRUE ", True),
        ("preload_app", "false", False),
        ("preload_app", None, None),
        ("bind", "unix:/s", ["unix:/s"]),
        ("bind", None, []),
        ("bind", ("a:1", " b:2 "), ["a:1", "b:2"]),
        ("raw_env", "A=1", ["A=1"]),
        ("forwarded_allow_ips", "127.0.0.1, 10.0.0.0/8,*", ["127.0.0.1", "10.0.0.0/8", "*"]),
        ("forwarded_allow_ips", ["::1"], ["::1"]),
        ("forwarded_allow_ips", "", []),
        ("accesslog", " - ", "-"),
        ("accesslog", None, None),
        ("asgi_loop", "UVLOOP", "uvloop"),
        ("asgi_loop", None, "auto"),
        ("proxy_protocol", True, "auto"),
        ("proxy_protocol", "None", "off"),
        ("http2_cleartext", True, "prior-knowledge"),
        ("http_protocols", "h2, h1", ["h2", "h1"]),
        ("statsd_host", "stats", ("stats", 8125)),
        ("statsd_host", "unix://stats.sock", "stats.sock"),
        ("statsd_host", "unix:8125", ("unix", 8125)),
        ("user", None, os.geteuid()),
        ("user", "root", 0),
        ("group", "12", 12),
        ("on_exit", None, None),
        ("surge", "2", 2),
        ("max_memory", "0", 0),
        ("max_memory", 5_000_000, 5_000_000),
        ("max_memory", " 0x200000 ", 2 << 20),
        ("max_memory", "2048K", 2 << 20),
        ("max_memory", "512M", 512 << 20),
        ("max_memory", "512 mib", 512 << 20),
        ("max_memory", "1.5G", 1536 << 20),
        ("max_memory", "2GiB", 2 << 30),
        ("max_memory", "1T", 1 << 40),
    ],
)
def test_accepted(name: str, value: Any, expected: Any) -> None:
    assert TABLE[name].validate(value) == expected


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("workers", None, "must be a whole number, not None"),
        ("workers", "three", "must be a whole number, not 'three'"),
        ("workers", 1.5, "must be a whole number, not 1.5"),
        ("workers", -1, "must be at least 0, not -1"),
        ("surge", 0, "must be at least 1, not 0"),
        ("http2_max_frame_size", 1, "must be at least 16384, not 1"),
        ("cert_reqs", 3, "must be at most 2, not 3"),
        ("timeout", "auto", "must be a whole number, not 'auto'"),
        ("preload_app", 1, "must be True or False, not 1"),
        ("preload_app", "yes", "must be True or False, not 'yes'"),
        ("proc_name", 5, "must be a string, not 5"),
        ("loglevel", None, "must be a string, not None"),
        ("worker_class", None, "must be a string, not None"),
        ("bind", 8000, "must be a list of strings, not 8000"),
        ("bind", ["a:1", 2], "must be a list of strings, but one of them is 2"),
        ("forwarded_allow_ips", "10.0.0.1/8", "must hold IP addresses, networks or *: 10.0.0.1/8 has host bits set"),
        ("asgi_loop", "trio", "must be one of auto, asyncio, uvloop, not 'trio'"),
        ("proxy_protocol", 1, "must be one of off, v1, v2, auto, not 1"),
        ("http_protocols", "h3", "must be made of h1 and h2, not 'h3'"),
        ("http_protocols", "h1,h1", "names a protocol twice"),
        ("logconfig_dict", None, "must be a dictionary, not None"),
        ("chdir", "/nope/nope", "names a directory that does not exist: '/nope/nope'"),
        ("reload_extra_files", ["/nope"], "names a file that does not exist: '/nope'"),
        ("user", "no such user", "names a user that does not exist: 'no such user'"),
        ("group", "no such group", "names a group that does not exist: 'no such group'"),
        ("max_memory", 500, "must be 0 or at least 1048576 bytes, not 500; write 500M for 500 MiB"),
        ("max_memory", -1, "must be 0 or at least 1048576 bytes, not -1; write 500M for 500 MiB"),
        ("max_memory", "500 MB", "must be a number of bytes, or one with K, M, G or T, not '500 MB'"),
        ("max_memory", "1.5", "must be a number of bytes, or one with K, M, G or T, not '1.5'"),
        ("max_memory", None, "must be a number of bytes, or one with K, M, G or T, not None"),
        (
            "max_memory",
            "9" * 400 + "G",
            "must be a number of bytes, or one with K, M, G or T, not '999999999999...999999999999G'",
        ),
        ("statsd_host", "a:b", "must be HOST:PORT or unix://PATH, not 'a:b'"),
    ],
)
def test_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        TABLE[name].validate(value)
    assert str(caught.value) == message


def test_auto_workers_are_at_least_one() -> None:
    assert TABLE["workers"].validate(" Auto ") >= 1


@given(value=st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.lists(st.text()), st.binary()))
def test_a_validator_returns_or_raises_invalid_and_takes_back_what_it_returned(value: Any) -> None:
    messages: list[str] = []
    for setting in TABLE.values():
        try:
            found = setting.validate(value)
        except Invalid as error:
            messages.append(str(error))
            continue
        if setting.name not in ("statsd_host", "chdir"):
            assert setting.validate(found) == found or found != found  # noqa: PLR0124  # not a number
    assert [message for message in messages if not message or "\n" in message] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("LOCALHOST", ("localhost", 8000)),
        (":80", ("", 80)),
        ("", ("0.0.0.0", 8000)),
        ("[::]:80", ("::", 80)),
        ("[FE80::1]", ("fe80::1", 8000)),
        ("tcp://a:1", ("a", 1)),
        ("unix:/run/s", "/run/s"),
        ("unix://s", "s"),
        ("unix:s:1", "s:1"),
        ("fd://3", 3),
        ("a:0", ("a", 0)),
        ("a: 65535", ("a", 65535)),
    ],
)
def test_addresses(text: str, expected: object) -> None:
    assert addresses.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["a:", "a:b", "a:65536", "a:-1", "::1", "::1:80", "[::1", "[::1]80", "fd://", "fd://x", "unix:", "a:٣"]
)
def test_addresses_that_name_nothing(text: str) -> None:
    with pytest.raises(Invalid, match=r"^has "):
        addresses.parse(text)
