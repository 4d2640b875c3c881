"""The test that shows what each setting does, for the settings that do something."""

from __future__ import annotations

from supervisor.config.settings import TABLE

SAID = "parity/test_no_effect.py::test_it_is_said_once"
"""What is shown of a setting without effect."""

HOOKS = "process/test_config_forms.py::test_every_hook_runs_in_its_process_at_its_moment"

TESTS = {
    "config": "parity/test_precedence.py::test_any_layers",
    "wsgi_app": "config/test_precedence.py::test_the_application",
    "bind": "process/test_boot.py::test_several_addresses",
    "backlog": "process/test_settings.py::test_they_do_what_they_say",
    "workers": "parity/test_signals.py::test_side_by_side",
    "worker_class": "process/test_library.py::test_worker_classes_by_the_names_that_files_use",
    "worker_connections": "workers/test_http.py::test_too_many_at_once_get_503",
    "max_requests": "process/test_recycle.py::test_max_requests_under_load",
    "max_requests_jitter": "process/test_settings.py::test_they_do_what_they_say",
    "timeout": "process/test_wedge.py::test_while_serving",
    "graceful_timeout": "process/test_signals.py::test_graceful_timeout_ends_a_drain",
    "keepalive": "workers/test_conformance.py::test_keepalive_begins_with_the_last_response",
    "asgi_loop": "process/test_settings.py::test_they_do_what_they_say",
    "asgi_lifespan": "process/test_failures.py::test_a_lifespan_that_must_be_spoken",
    "websocket_max_message_size": "process/test_settings.py::test_they_do_what_they_say",
    "limit_request_line": "workers/test_http.py::test_limits_of_the_head",
    "limit_request_fields": "workers/test_http.py::test_limits_of_the_head",
    "limit_request_field_size": "workers/test_http.py::test_limits_of_the_head",
    "secure_scheme_headers": "workers/test_proxy.py::test_scheme",
    "forwarded_allow_ips": "workers/test_proxy.py::test_who_is_trusted",
    "root_path": "process/test_boot.py::test_root_path_and_trusted_proxy_headers",
    "check_config": "config/test_check_config.py::test_what_would_not",
    "print_config": "parity/test_precedence.py::test_any_layers",
    "preload_app": "process/test_preload.py::test_the_module_is_imported_once_per_generation",
    "chdir": "config/test_settings.py::test_paths_start_from_chdir",
    "raw_env": "process/test_boot.py::test_environment",
    "pidfile": "process/test_failures.py::test_a_pidfile_of_a_live_arbiter_is_refused",
    "worker_tmp_dir": "runtime/test_heartbeat.py::test_the_directory_of_the_user_is_taken",
    "umask": "process/test_boot.py::test_a_unix_socket_with_the_mode_of_the_umask",
    "pythonpath": "process/test_boot.py::test_environment",
    "proc_name": "process/test_config_forms.py::test_access_log_line_and_process_titles",
    "default_proc_name": "config/test_precedence.py::test_the_application",
    "accesslog": "process/test_logs.py::test_the_access_log_on_standard_output",
    "access_log_format": "process/test_logs.py::test_every_atom_of_the_access_log",
    "errorlog": "process/test_logs.py::test_usr1_reopens_every_log_in_every_process",
    "loglevel": "process/test_logs.py::test_loglevel",
    "capture_output": "logs/test_setup.py::test_captured_output_goes_to_the_error_log_and_follows_it",
    "logconfig": "logs/test_setup.py::test_logconfig_file",
    "logconfig_dict": "logs/test_setup.py::test_logconfig_dict_is_laid_over_defaults",
    "logconfig_json": "logs/test_setup.py::test_logconfig_json",
    "keyfile": "config/test_settings.py::test_certificates_are_looked_for_from_chdir",
    "certfile": "process/test_config_forms.py::test_form_with_certificate",
    "ca_certs": "config/test_certificates.py::test_what_does_not",
    "cert_reqs": "workers/test_tls.py::test_what_cannot_be_used_is_said_in_one_line",
    "ciphers": "workers/test_tls.py::test_what_cannot_be_used_is_said_in_one_line",
    # Processes
    "reuse_port": "process/test_loss.py::test_reloads",
    "spew": "process/test_beside_gunicorn.py::test_spew",
    "daemon": "process/test_beside_gunicorn.py::test_a_daemon",
    "enable_stdio_inheritance": "process/test_beside_gunicorn.py::test_a_daemon",
    "user": "process/test_user.py::test_the_same_as_gunicorn",
    "group": "process/test_user.py::test_the_same_as_gunicorn",
    "initgroups": "process/test_user.py::test_who_runs_what",
    # Development
    "reload": "process/test_reload.py::test_reloads_under_load",
    "reload_engine": "process/test_reload.py::test_without_the_library_files_are_looked_at",
    "reload_extra_files": "process/test_reload.py::test_extra_files_patterns_and_the_configuration",
    "asgi_disconnect_grace_period": "process/test_asgi_settings.py::test_as_gunicorn_has_it",
    "control_socket_disable": "config/test_settings.py::test_the_control_socket_is_mentioned_by_who_sets_it",
    # Logs and metrics
    "logger_class": "parity/test_logging.py::test_a_logger_class_does_the_same",
    "syslog": "parity/test_logging.py::test_syslog_gets_the_same_messages",
    "syslog_addr": "parity/test_logging.py::test_syslog_gets_the_same_messages",
    "syslog_prefix": "parity/test_logging.py::test_syslog_gets_the_same_messages",
    "syslog_facility": "parity/test_logging.py::test_syslog_gets_the_same_messages",
    "disable_redirect_access_to_syslog": "parity/test_logging.py::test_the_access_log_can_be_kept_out_of_syslog",
    "statsd_host": "parity/test_logging.py::test_statsd_gets_the_same_lines",
    "statsd_prefix": "parity/test_logging.py::test_statsd_gets_the_same_lines",
    "dogstatsd_tags": "parity/test_logging.py::test_statsd_gets_the_same_lines",
    "enable_backlog_metric": "parity/test_logging.py::test_statsd_gets_the_same_lines",
    # Requests
    "threads": "parity/test_wsgi.py::test_dangerous_header_names_and_threads",
    "forwarder_headers": "parity/test_wsgi.py::test_environ",
    "header_map": "parity/test_wsgi.py::test_refused_header_names",
    "proxy_protocol": "workers/test_proxy_protocol.py::test_what_is_announced_is_what_applications_see",
    "proxy_allow_ips": "workers/test_proxy_protocol.py::test_who_may_speak_for_others",
    "http_protocols": "workers/test_http2.py::test_clients_get_the_version_that_they_agree_upon",
    "protocol": "config/test_protocols.py::test_uwsgi",
    # Hooks
    "on_starting": HOOKS,
    "on_reload": HOOKS,
    "when_ready": HOOKS,
    "pre_fork": HOOKS,
    "post_fork": HOOKS,
    "post_worker_init": HOOKS,
    "worker_int": HOOKS,
    "worker_abort": HOOKS,
    "pre_exec": HOOKS,
    "pre_request": HOOKS,
    "post_request": HOOKS,
    "child_exit": HOOKS,
    "worker_exit": HOOKS,
    "nworkers_changed": HOOKS,
    "on_exit": HOOKS,
    "ssl_context": "process/test_config_forms.py::test_the_ssl_context_hook_runs_in_the_worker",
}
"""By setting: the file under ``tests``, and the function in it. It counts as soon as the setting works."""


def shown_by(name: str) -> str:
    """The test, or an empty string where none is named, which `tests.parity` takes for a failure."""
    return SAID if TABLE[name].no_effect else TESTS.get(name, "")
