"""The types of the settings' values, for type checkers and editors. At run time the values come from the table.

A test compares the names with the table. Kept apart because annotations are all there is to it.
"""

from __future__ import annotations

from typing import Any, Literal

from supervisor.config.addresses import Address
from supervisor.config.hooks import Hook


class TypedSettings:
    # Configuration file, sockets, workers, development.
    config: str | None
    wsgi_app: str | None
    bind: list[str]
    backlog: int
    reuse_port: bool | None
    workers: int
    worker_class: type[Any] | str
    threads: int
    worker_connections: int
    max_requests: int
    max_requests_jitter: int
    max_memory: int
    max_memory_interval: int
    max_lifetime: int
    max_lifetime_jitter: int
    min_lifetime: int
    timeout: int
    graceful_timeout: int
    boot_timeout: int
    surge: int
    drain_delay: int
    upgrade_auto: bool | None
    keepalive: int
    asgi_loop: Literal["auto", "asyncio", "uvloop"]
    asgi_lifespan: Literal["auto", "on", "off"]
    asgi_disconnect_grace_period: int
    websocket_max_message_size: int
    reload: bool | None
    reload_engine: str
    reload_extra_files: list[str]
    spew: bool | None
    check_config: bool | None
    print_config: bool | None
    # Processes.
    preload_app: bool | None
    sendfile: bool | None
    chdir: str
    daemon: bool | None
    raw_env: list[str]
    pidfile: str | None
    worker_tmp_dir: str | None
    user: int
    group: int
    umask: int
    initgroups: bool | None
    pythonpath: str | None
    forwarded_allow_ips: list[str]
    root_path: str | None
    proc_name: str
    default_proc_name: str
    control_socket: str | None
    control_socket_mode: int
    control_socket_disable: bool | None
    # Logs and metrics.
    accesslog: str | None
    disable_redirect_access_to_syslog: bool | None
    access_log_format: str | None
    errorlog: str | None
    loglevel: str
    capture_output: bool | None
    logger_class: type[Any] | str
    logconfig: str | None
    logconfig_dict: dict[str, Any]
    logconfig_json: str | None
    syslog_addr: str | None
    syslog: bool | None
    syslog_prefix: str | None
    syslog_facility: str | None
    enable_stdio_inheritance: bool | None
    statsd_host: Address | None
    dogstatsd_tags: str | None
    statsd_prefix: str | None
    enable_backlog_metric: bool | None
    # TLS, limits, HTTP.
    keyfile: str | None
    certfile: str | None
    ssl_version: Any
    cert_reqs: int
    ca_certs: str | None
    suppress_ragged_eofs: bool | None
    do_handshake_on_connect: bool | None
    ciphers: str | None
    limit_request_line: int
    limit_request_fields: int
    limit_request_field_size: int
    secure_scheme_headers: dict[str, str]
    forwarder_headers: list[str]
    header_map: str | None
    proxy_protocol: Literal["off", "v1", "v2", "auto"]
    proxy_allow_ips: list[str]
    protocol: str | None
    uwsgi_allow_ips: list[str]
    tmp_upload_dir: str | None
    paste: str | None
    raw_paste_global_conf: list[str]
    permit_obsolete_folding: bool | None
    strip_header_spaces: bool | None
    permit_unconventional_http_method: bool | None
    permit_unconventional_http_version: bool | None
    casefold_http_method: bool | None
    http_parser: str
    http_protocols: list[str]
    http2_cleartext: str
    http2_max_concurrent_streams: int
    http2_initial_window_size: int
    http2_max_frame_size: int
    http2_max_header_list_size: int
    # Hooks.
    on_starting: Hook | None
    on_reload: Hook | None
    when_ready: Hook | None
    pre_fork: Hook | None
    post_fork: Hook | None
    post_worker_init: Hook | None
    worker_int: Hook | None
    worker_abort: Hook | None
    pre_exec: Hook | None
    pre_request: Hook | None
    post_request: Hook | None
    child_exit: Hook | None
    worker_exit: Hook | None
    nworkers_changed: Hook | None
    on_exit: Hook | None
    ssl_context: Hook | None
    # The pool of dirty workers.
    dirty_apps: list[str]
    dirty_workers: int
    dirty_timeout: int
    dirty_threads: int
    dirty_graceful_timeout: int
    on_dirty_starting: Hook | None
    dirty_post_fork: Hook | None
    dirty_worker_init: Hook | None
    dirty_worker_exit: Hook | None
