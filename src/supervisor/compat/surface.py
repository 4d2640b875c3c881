"""What gunicorn's objects have and ours leave out, each with the reason, which is what is said to who asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_LOOP = "it is part of gunicorn's own loop"
_SIGNAL = "send the signal instead: os.kill(server.pid, signal.SIGHUP)"
_DIRTY = "there is no pool of dirty workers"
_BY_NUMBER = "change the number of workers instead: server.num_workers = N, or the signals TTIN and TTOU"

SERVER_LEFT_OUT: Final[Mapping[str, str]] = {
    **dict.fromkeys(("SIG_QUEUE", "SIG_NAMES", "WAKEUP_REQUEST", "START_CTX"), _LOOP),
    **dict.fromkeys(("init_signals", "run", "setup", "signal_chld", "start", "wait_for_signals"), _LOOP),
    **dict.fromkeys(("maybe_promote_master", "murder_workers", "reap_workers", "halt"), _LOOP),
    **dict.fromkeys(("manage_workers", "spawn_worker", "spawn_workers"), _BY_NUMBER),
    **dict.fromkeys(("handle_chld", "handle_cld", "handle_hup", "handle_int", "handle_quit", "handle_term"), _SIGNAL),
    **dict.fromkeys(("handle_ttin", "handle_ttou", "handle_usr1", "handle_usr2", "handle_winch"), _SIGNAL),
    **dict.fromkeys(("reexec", "signal"), _SIGNAL),
    **dict.fromkeys(("dirty_arbiter", "dirty_arbiter_pid", "dirty_pidfile", "handle_dirty_arbiter_exit"), _DIRTY),
    **dict.fromkeys(
        ("kill_dirty_arbiter", "manage_dirty_arbiter", "reap_dirty_arbiter", "spawn_dirty_arbiter"), _DIRTY
    ),
}
"""Of gunicorn's ``Arbiter``."""

_ELSEWHERE = "it belongs to the worker's own process"
_SYNC = "it is part of the loop of gunicorn's sync worker"

WORKER_LEFT_OUT: Final[Mapping[str, str]] = {
    **dict.fromkeys(("SIGNALS", "PIPE", "wait_fds"), "no pipe wakes a loop of ours"),
    **dict.fromkeys(("handle_abort", "handle_exit", "handle_quit", "handle_usr1", "handle_winch"), _ELSEWHERE),
    **dict.fromkeys(("init_process", "init_signals", "load_wsgi", "run", "notify"), _ELSEWHERE),
    **dict.fromkeys(("accept", "handle", "handle_request", "is_parent_alive", "run_for_multiple"), _SYNC),
    **dict.fromkeys(("run_for_one", "wait"), _SYNC),
    "handle_error": "malformed requests are answered by the protocol",
    "reloader": "the arbiter watches the files",
}
"""Of gunicorn's ``Worker``, in the arbiter."""


_PARSER = "it belongs to gunicorn's parser"
_BODY = "the body is the application's to read, and is not kept"

REQUEST_LEFT_OUT: Final[Mapping[str, str]] = {
    **dict.fromkeys(("body", "get_data", "set_body_reader"), _BODY),
    **dict.fromkeys(("cfg", "force_close", "limit_request_field_size", "limit_request_fields"), _PARSER),
    **dict.fromkeys(("limit_request_line", "max_buffer_headers", "must_close", "parse", "parse_headers"), _PARSER),
    **dict.fromkeys(("parse_request_line", "proxy_protocol_access_check", "read_bytes", "read_into"), _PARSER),
    **dict.fromkeys(("read_line", "req_number", "should_close", "unreader"), _PARSER),
    "proxy_protocol_info": "remote_addr is the client that the PROXY header names",
}
"""Of gunicorn's ``Request``."""

_SENT = "the response was sent already, and not by gunicorn's code"

RESPONSE_LEFT_OUT: Final[Mapping[str, str]] = {
    **dict.fromkeys(("can_sendfile", "cfg", "chunked", "close", "default_headers", "force_close"), _SENT),
    **dict.fromkeys(("is_chunked", "must_close", "process_headers", "req", "response_length"), _SENT),
    **dict.fromkeys(("send_headers", "sendfile", "should_close", "sock", "start_response", "upgrade"), _SENT),
    **dict.fromkeys(("version", "write", "write_file"), _SENT),
}
"""Of gunicorn's ``Response``."""


def missing(owner: str, name: str, left_out: Mapping[str, str], where: str = "") -> str:
    """What to say about an attribute that is not there."""
    if name in left_out:
        return f"{owner}.{name} of gunicorn's is not there{f' {where}' if where else ''}: {left_out[name]}"
    return f"{owner} has no attribute {name!r}{f' {where}' if where else ''}"
