"""Settings of the logs and of metrics."""

from __future__ import annotations

import sys

from supervisor.config import validators
from supervisor.config.addresses import Address, parse
from supervisor.config.schema import Applies, Invalid, Kind, Setting
from supervisor.config.table.build import string, switch

LOGGING = "Logging"

_SYSLOG_SOCKETS = {
    "darwin": "unix:///var/run/syslog",
    "freebsd": "unix:///var/run/log",
    "dragonfly": "unix:///var/run/log",
    "openbsd": "unix:///dev/log",
}


_LINE = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'


def _line(value: object) -> str:
    """A format. None is how files say that there is none of their own; gunicorn writes the word as each line."""
    text = validators.string(value)
    return _LINE if text is None else text


def _statsd(value: object) -> Address | tuple[str, int] | None:
    """``HOST:PORT`` or ``unix://PATH``. ``unix:8125``, with nothing but digits, is a host of that name."""
    text = validators.string(value)
    if text is None:
        return None
    host, _, port = text.partition(":")
    if host == "unix" and port.isdigit():
        return host, int(port)
    try:
        return parse(text, default_port=8125)
    except Invalid:
        raise Invalid(f"must be HOST:PORT or unix://PATH, not {text!r}") from None


SETTINGS = (
    string(
        "accesslog",
        LOGGING,
        "The file of the access log; - is standard output. Without it nothing is written.",
        None,
        "--access-logfile",
        metavar="FILE",
        applies=Applies.LIVE,
    ),
    switch(
        "disable_redirect_access_to_syslog",
        LOGGING,
        "Keep the access log out of syslog.",
        "--disable-redirect-access-to-syslog",
    ),
    string(
        "access_log_format",
        LOGGING,
        "The format of a line of the access log, with gunicorn's names for its parts.",
        _LINE,
        "--access-logformat",
        validate=_line,
    ),
    string(
        "errorlog",
        LOGGING,
        "The file of the error log; - is standard error.",
        "-",
        "--error-logfile",
        "--log-file",
        metavar="FILE",
        applies=Applies.LIVE,
    ),
    string(
        "loglevel",
        LOGGING,
        "The least severe level that is logged: debug, info, warning, error or critical.",
        "info",
        "--log-level",
        validate=validators.required_string,
        metavar="LEVEL",
        applies=Applies.LIVE,
    ),
    switch(
        "capture_output",
        LOGGING,
        "Send what the processes write to standard output and error to the error log.",
        "--capture-output",
        applies=Applies.RESTART,
    ),
    Setting(
        name="logger_class",
        group=LOGGING,
        doc="The class that writes the logs: a class, or the path of one. It derives from gunicorn.glogging.Logger or "
        "supervisor.logs.logger.Logger, or has the methods of these.",
        kind=Kind.CLASS,
        validate=validators.class_or_name,
        default="gunicorn.glogging.Logger",
        flags=("--logger-class",),
        metavar="STRING",
        applies=Applies.LIVE,
    ),
    string(
        "logconfig",
        LOGGING,
        "A file with a configuration of the logging module, in its INI format.",
        None,
        "--log-config",
        metavar="FILE",
        applies=Applies.LIVE,
    ),
    Setting(
        name="logconfig_dict",
        group=LOGGING,
        doc="A configuration of the logging module as a dictionary, laid over the default one.",
        kind=Kind.DICT,
        validate=validators.dictionary,
        default={},
        applies=Applies.LIVE,
    ),
    string(
        "logconfig_json",
        LOGGING,
        "A JSON file with a configuration of the logging module as a dictionary.",
        None,
        "--log-config-json",
        metavar="FILE",
        applies=Applies.LIVE,
    ),
    string(
        "syslog_addr",
        LOGGING,
        "Where syslog listens: udp://HOST:PORT, tcp://HOST:PORT or unix://PATH#TYPE.",
        _SYSLOG_SOCKETS.get(sys.platform, "udp://localhost:514"),
        "--log-syslog-to",
        metavar="SYSLOG_ADDR",
        default_text="udp://localhost:514, elsewhere the socket of the platform",
    ),
    switch("syslog", LOGGING, "Send the logs to syslog.", "--log-syslog"),
    string(
        "syslog_prefix",
        LOGGING,
        "The program name of the entries in syslog.",
        None,
        "--log-syslog-prefix",
        metavar="SYSLOG_PREFIX",
    ),
    string(
        "syslog_facility",
        LOGGING,
        "The facility of the entries in syslog.",
        "user",
        "--log-syslog-facility",
        metavar="SYSLOG_FACILITY",
    ),
    switch(
        "enable_stdio_inheritance",
        LOGGING,
        "Keep standard output and error of a daemon where they lead, unless that is a terminal.",
        "-R",
        "--enable-stdio-inheritance",
        applies=Applies.RESTART,
    ),
    Setting(
        name="statsd_host",
        group=LOGGING,
        doc="Where StatsD listens: HOST:PORT or unix://PATH.",
        kind=Kind.STRING,
        validate=_statsd,
        flags=("--statsd-host",),
        metavar="STATSD_ADDR",
    ),
    string(
        "dogstatsd_tags",
        LOGGING,
        "Tags for every metric, separated by commas.",
        "",
        "--dogstatsd-tags",
        metavar="DOGSTATSD_TAGS",
    ),
    string(
        "statsd_prefix",
        LOGGING,
        "What the name of every metric begins with.",
        "",
        "--statsd-prefix",
        metavar="STATSD_PREFIX",
    ),
    switch(
        "enable_backlog_metric",
        LOGGING,
        "Tell the log, and StatsD, once a second how many TCP connections wait to be accepted.",
        "--enable-backlog-metric",
    ),
)
