"""Values and command lines to try each setting with, as Python source, by the kind of the setting."""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.config.schema import Kind, Setting

ANY = ["None", "5", "-1", "1.5", "''", "'x'", "' x '", "True", "b'x'", "[]", "['a']", "('a', ' b ')", "{}", "object()"]

BY_KIND: dict[Kind, list[str]] = {
    Kind.INTEGER: ["'3'", "' 0x10 '", "'010'", "'0'", "'0b11'", "'1_000'", "'auto'", "'١'", "10**9", "2**70", "False"],
    Kind.OCTAL: ["'3'", "'0o027'", "'0x1f'", "'022'", "18", "0o777", "'8'", "'0'"],
    Kind.BOOLEAN: ["False", "'true'", "' False '", "'TRUE'", "'yes'", "'1'", "1", "0", "'on'"],
    Kind.STRING: ["'a,b'", "'/'", "'/nope'", "'-'", "'é'", "'a\\x00b'", "['x']"],
    Kind.LIST: ["'a'", "'a,b'", "['a', ' b ']", "['a', 1]", "[None]", "iter(['a'])", "{'a': 1}", "0", "'/etc/hosts'"],
    Kind.DICT: ["{'a': 1}", "dict(version=1)", "[('a', 1)]", "'{}'"],
    Kind.CLASS: ["'a.B'", "dict", "lambda: dict", "lambda: 'a.B'", "len", "lambda: 5"],
    Kind.CALLABLE: ["'os.fspath'", "'os.nope'", "'nope'", "'no.such.module'", "len", "dict"],
}

BY_NAME: dict[str, list[str]] = {
    "user": ["'root'", "'no such user'", "'0'", "0"],
    "group": ["'root'", "'no such group'", "'0'", "0"],
    "forwarded_allow_ips": ["'127.0.0.1'", "'10.0.0.0/8, ::1'", "'10.0.0.1/8'", "'*'", "'localhost'", "'a.b'", "' * '"],
    "proxy_allow_ips": ["'127.0.0.1'", "'10.0.0.0/8,::1'", "'10.0.0.1/8'", "'*'", "'localhost'"],
    "uwsgi_allow_ips": ["'127.0.0.1'", "'10.0.0.1/8'", "'*'", "'localhost'"],
    "asgi_loop": ["'AUTO'", "'uvloop'", "'asyncio'", "'trio'"],
    "asgi_lifespan": ["'on'", "' OFF '", "'auto'", "'maybe'"],
    "reload_engine": ["'auto'", "'poll'", "'inotify'", "'POLL'"],
    "header_map": ["'DROP'", "'refuse'", "'dangerous'", "' drop '"],
    "http_parser": ["'fast'", "'python'", "'AUTO'"],
    "protocol": ["'http'", "'uwsgi'", "'HTTP'", "'spdy'"],
    "proxy_protocol": ["False", "'V2'", "'v1'", "'auto'", "'off'", "'1'", "'0'", "'none'", "'true'", "'FALSE'", "1"],
    "http_protocols": ["'h1'", "'h2'", "'h2, H1'", "'h3'", "'h1,h1'", "['h1', 'h2']"],
    "http2_cleartext": ["'both'", "'OFF'", "'upgrade'", "'prior-knowledge'", "False", "'true'"],
    "http2_max_frame_size": ["1", "16383", "16384", "2**24 - 1", "2**24", "'16384'"],
    "http2_max_concurrent_streams": ["0", "1"],
    "http2_initial_window_size": ["0", "2**31 - 1", "2**31"],
    "statsd_host": ["'h'", "'h:1'", "'unix://s'", "'unix:1'", "'h:x'", "'unix:///a/b'", "'[::1]:9'", "':1'"],
    "ssl_version": ["2", "'TLS'", "'TLSv1_2'", "17"],
    "cert_reqs": ["0", "1", "2", "3", "__import__('ssl').CERT_REQUIRED"],
    "chdir": ["'/'", "'.'", "'..'", "'/etc/hosts'"],
    "reload_extra_files": ["'/etc/hosts'", "['/etc/hosts', '/nope']", "'/etc/host*'", "'/etc/no*'"],
    "bind": ["'h:1'", "[':1', '[::1]:2']", "'unix:/s'", "'fd://3'", "'h'", "''"],
    "raw_env": ["'A=1'", "['A=1', 'B=2']", "'A=1,B=2'", "'A'"],
    "loglevel": ["'debug'", "'INFO'", "'nope'"],
    "sendfile": ["False", "True"],
    "worker_class": ["'sync'", "'gthread'", "'uvicorn.workers.UvicornWorker'", "'egg:gunicorn#sync'"],
    "syslog_addr": ["'udp://h:1'", "'unix:///dev/log#dgram'"],
    "workers": ["'auto'", "0"],
}


def values(setting: Setting) -> list[str]:
    """The source of each value to try; none twice."""
    return list(dict.fromkeys([*ANY, *BY_KIND.get(setting.kind, []), *BY_NAME.get(setting.name, [])]))


WORDS = {
    Kind.INTEGER: ["3", "0x10", "010", "-1", "x", "", "auto", "2"],
    Kind.OCTAL: ["3", "0x10", "010", "0o17", "9", "x", ""],
    Kind.BOOLEAN: ["-1"],
}
MORE_WORDS = ["3", "-1", "", "a,b", "/", "/etc/hosts", "h:1", "auto", "off", "v2", "h2"]


def command_lines(setting: Setting) -> Iterator[list[str]]:
    """Ways to write its flags: alone, with a value behind, behind ``=``, glued to a short flag, and twice."""
    for flag in setting.flags:
        yield [flag]
        yield [flag, flag]
        for word in WORDS.get(setting.kind, MORE_WORDS):
            yield [flag, word]
        yield [f"{flag}=2"]
        if not flag.startswith("--"):
            yield [f"{flag}2"]
        yield [flag, "1", flag, "2"]
        if flag.startswith("--") and len(flag) > 4:
            yield [flag[:-1], "1"]
