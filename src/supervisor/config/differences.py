"""What is different from gunicorn, setting by setting and hook by hook: declared here, once.

``migrate`` prints it for one configuration, docs/reference/gunicorn.md for all settings, and ``nox -s gunicorn_parity``
holds it against a gunicorn. A setting without effect needs no entry: what its declaration says of it is said here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from supervisor.compat.standin import MODULES
from supervisor.config.settings import TABLE

OWN = frozenset(
    {
        "boot_timeout",
        "drain_delay",
        "max_lifetime",
        "max_lifetime_jitter",
        "max_memory",
        "max_memory_interval",
        "min_lifetime",
        "surge",
        "upgrade_auto",
    }
)
"""The settings that gunicorn has not."""


class Verdict(StrEnum):
    """How a setting does in comparison with gunicorn and its Uvicorn worker."""

    SAME = "same"
    BETTER = "better"
    DIFFERS = "differs"
    NO_EFFECT = "no effect"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Difference:
    """A verdict, and how or why, as a clause without a full stop; empty where it is the same.

    ``always`` is whether it is so without the setting being given at all.
    """

    verdict: Verdict
    text: str = ""
    always: bool = False


def difference(name: str) -> Difference:
    """What to say of a setting of gunicorn's."""
    if reason := TABLE[name].no_effect:
        return Difference(Verdict.REFUSED if name in _REFUSED else Verdict.NO_EFFECT, reason)
    return _WRITTEN[name]


def _better(text: str) -> Difference:
    return Difference(Verdict.BETTER, text)


def _differs(text: str, *, always: bool = False) -> Difference:
    return Difference(Verdict.DIFFERS, text, always)


_SAME = Difference(Verdict.SAME)
_IGNORED = "gunicorn's UvicornWorker ignores it"
_LOGCONFIG = "a handler that is used and not defined is the default one, and what cannot be used is refused at HUP"
_CLIENT = "the client's certificate is in the scope (the ASGI TLS extension)"
_NAMES = "as in gunicorn for WSGI; an ASGI application gets the names as they came"
_GOES_ON = "one that raises is reported with its traceback and the service goes on, where gunicorn ends"

_WRITTEN: Mapping[str, Difference] = {
    # The file, the addresses, the workers
    "config": _better("a TOML file will do as well, and a name in the file that looks like a misspelt setting is told"),
    "wsgi_app": _SAME,
    "bind": _better("at HUP a new address is bound before an old one is given up; who holds one in use is named"),
    "backlog": _SAME,
    "workers": _better('"auto" counts the CPUs that the container may use'),
    "worker_class": _differs(
        "sync, gthread and the names of Uvicorn's workers mean the worker of this package, for ASGI and for WSGI; "
        "gevent, eventlet and tornado are refused",
        always=True,
    ),
    "threads": _SAME,
    "worker_connections": _differs(
        f"requests above it are answered with 503, WebSockets included; {_IGNORED}", always=True
    ),
    "max_requests": _better("the replacement is ready before the worker leaves, and no connection is dropped"),
    "max_requests_jitter": _SAME,
    "timeout": _differs(
        "bounds how long the event loop may be blocked, which is logged with its stack; imports and startup have "
        "boot_timeout (300 s), and a drain is not cut short by it",
        always=True,
    ),
    "graceful_timeout": _better("kept at every end, at HUP too, and the lifespan is shut down"),
    "keepalive": _SAME,
    "asgi_loop": _better(f"{_IGNORED} in favour of its own choice"),
    "asgi_lifespan": _better(f"honoured; {_IGNORED}"),
    "asgi_disconnect_grace_period": _better(
        f"heeded where it is set, or with worker_class asgi; else a task runs to its end, as with Uvicorn; {_IGNORED}"
    ),
    "websocket_max_message_size": _better(f"honoured; {_IGNORED}"),
    # Requests
    "limit_request_line": _differs(f"a longer one is answered with 414; {_IGNORED}", always=True),
    "limit_request_fields": _differs(f"more are answered with 431; {_IGNORED}", always=True),
    "limit_request_field_size": _differs(f"a longer one is answered with 431; {_IGNORED}", always=True),
    "secure_scheme_headers": _better(f"honoured; {_IGNORED}"),
    "forwarded_allow_ips": _SAME,
    "forwarder_headers": _differs(_NAMES),
    "header_map": _differs(_NAMES),
    "root_path": _better(f"honoured; {_IGNORED}"),
    "proxy_protocol": _better(f"honoured; {_IGNORED}"),
    "proxy_allow_ips": _better(f"honoured; {_IGNORED}"),
    "http_protocols": _better(f"h2 is spoken over TLS where uvicorn's parser for it is installed; {_IGNORED}"),
    "protocol": _differs("uwsgi is refused: have the proxy speak HTTP"),
    # Development and questions
    "reload": _better(
        "new code has to be ready before the old goes; a syntax error is shown, and the old code serves on"
    ),
    "reload_engine": _differs("inotify takes the package watchfiles; auto looks at the files where it is missing"),
    "reload_extra_files": _better("a pattern may match files that come later, and a directory stands for its files"),
    "spew": _differs("loaders and workers are traced, not the arbiter"),
    "check_config": _better("reports all problems at once, addresses, pidfile, certificates and forks included"),
    "print_config": _differs("each line ends in the source of its value, and the application is not imported"),
    # Processes
    "preload_app": _differs(
        "a loader process imports the application, not the arbiter, so that HUP loads new code; hooks in the arbiter "
        "do not see its objects"
    ),
    "reuse_port": _better("the arbiter keeps the sockets, so that no connection is lost when a worker goes"),
    "chdir": _SAME,
    "daemon": _better("the command returns when all workers serve, or with the reason and the exit code why not"),
    "enable_stdio_inheritance": _SAME,
    "raw_env": _SAME,
    "pidfile": _better("locked while its owner lives, so that a stale one is replaced and one in use never is"),
    "worker_tmp_dir": _differs("by default /dev/shm where it is writable, not the temporary directory", always=True),
    "user": _better("root is given up for good before application code runs, with preload_app too"),
    "group": _differs("unset, it is the group of the user, where gunicorn keeps root's"),
    "initgroups": _better("without it none of root's groups are kept"),
    "umask": _better("a string such as '022' is octal in the file too, as on the command line"),
    "pythonpath": _better("links stay links, so that HUP follows one that was moved"),
    "proc_name": _differs("titles are supervisor: arbiter, loader and worker, with the name behind", always=True),
    "default_proc_name": _SAME,
    "control_socket_disable": _SAME,
    # Logs and metrics
    "accesslog": _SAME,
    "access_log_format": _better(f"all atoms have their values; {_IGNORED}"),
    "errorlog": _SAME,
    "loglevel": _better("a level that does not exist is refused; gunicorn takes it for info"),
    "capture_output": _SAME,
    "logger_class": _better("its access() and atoms() are called; gunicorn's UvicornWorker ignores them"),
    "logconfig": _better(_LOGCONFIG),
    "logconfig_dict": _better(_LOGCONFIG),
    "logconfig_json": _better(_LOGCONFIG),
    "syslog": _better("one that is not there keeps nothing from starting, and is tried again"),
    "syslog_addr": _better("#stream is heeded"),
    "syslog_prefix": _SAME,
    "syslog_facility": _SAME,
    "disable_redirect_access_to_syslog": _SAME,
    "statsd_host": _better("requests are measured too; with gunicorn's UvicornWorker they are not"),
    "statsd_prefix": _SAME,
    "dogstatsd_tags": _SAME,
    "enable_backlog_metric": _SAME,
    # TLS
    "certfile": _better("a new certificate is taken up at HUP without a connection being dropped"),
    "keyfile": _differs(
        "one with a password is refused unless ssl_context loads it: OpenSSL would ask for it in each worker"
    ),
    "ca_certs": _better(_CLIENT),
    "cert_reqs": _better(_CLIENT),
    "ciphers": _SAME,
    # Hooks
    "on_starting": _differs(_GOES_ON),
    "when_ready": _differs(_GOES_ON),
    "nworkers_changed": _differs(_GOES_ON),
    "on_reload": _better("runs only when the new configuration can be used; one that raises breaks nothing"),
    "pre_fork": _better("one that raises is reported and breaks nothing; gunicorn ends"),
    "post_fork": _SAME,
    "post_worker_init": _SAME,
    "pre_request": _better("called; gunicorn's UvicornWorker does not call it"),
    "post_request": _better("called; gunicorn's UvicornWorker does not call it"),
    "worker_int": _better("called; gunicorn's UvicornWorker does not call it"),
    "worker_abort": _better("called; gunicorn's UvicornWorker does not call it"),
    "worker_exit": _SAME,
    "child_exit": _better("one that raises is reported and breaks nothing; gunicorn ends"),
    "pre_exec": _SAME,
    "on_exit": _better("runs at every end of the arbiter, also when the workers cannot boot"),
    "ssl_context": _better("called in each worker, and again at HUP; gunicorn's UvicornWorker does not call it"),
}

_REFUSED = frozenset({"paste"})
"""What the service is not started with, though it is a setting that has no effect otherwise."""

DEPRECATED: Mapping[str, str] = {
    "uvicorn.workers.UvicornWorker": "Uvicorn has deprecated this name; here it stays valid",
    "uvicorn.workers.UvicornH11Worker": "Uvicorn has deprecated this name; here it stays valid",
    "eventlet": "gunicorn has deprecated it",
}
"""Names of worker classes that are on their way out elsewhere."""

STAND_IN = frozenset({*MODULES, *(f"{module}.{name}" for module, names in MODULES.items() for name in names)})
"""What a configuration file can import of gunicorn where gunicorn is not installed."""
