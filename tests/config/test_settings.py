"""`Settings` as the arbiter, workers and hooks of users see it."""

from __future__ import annotations

import copy
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from supervisor.config.settings import TABLE
from supervisor.errors import ConfigError

if TYPE_CHECKING:
    from tests.config.conftest import Start


def test_what_configuration_files_use_of_gunicorns_object(start: Start) -> None:
    settings = start.load(
        bind=["a:1", "unix:/s", "fd://3"], raw_env=["A=1", "B=x=y"], proc_name="shop", worker_class="x.Y"
    )
    assert settings.settings["workers"].get() == settings.settings["workers"].value == settings.workers == 1
    assert (settings.settings["workers"].name, settings.settings["ciphers"].section) == ("workers", "SSL")
    assert settings.settings["timeout"].default == 30
    assert settings.address == [("a", 1), "/s", 3]
    assert settings.env == {"A": "1", "B": "x=y"}
    assert settings.proc_name == "shop"
    assert (settings.uid, settings.gid) == (os.geteuid(), os.getegid())
    assert settings.worker_class_str == "x.Y"
    assert settings.is_ssl is False
    assert set(settings.ssl_options) == {
        "keyfile",
        "certfile",
        "ssl_version",
        "cert_reqs",
        "ca_certs",
        "suppress_ragged_eofs",
        "do_handshake_on_connect",
        "ciphers",
    }


def test_a_hook_changes_settings_with_set(start: Start) -> None:
    settings = start.load()
    settings.set("workers", "4")
    assert (settings.workers, settings.source("workers")) == (4, "set by a hook")
    with pytest.raises(ConfigError, match=r"workers must be a whole number, not 'x' \(set by a hook\)"):
        settings.set("workers", "x")
    with pytest.raises(ConfigError, match=r"bind has no valid port number: a:b; .* \(set by a hook\)"):
        settings.set("bind", "a:b")
    with pytest.raises(ConfigError, match=r"There is no setting 'wokers'; did you mean 'workers'\?"):
        settings.set("wokers", 4)
    with pytest.raises(AttributeError, match="workers is a setting: change it with set"):
        settings.workers = 5
    assert (settings.workers, settings.bind) == (4, ["127.0.0.1:8000"])


def test_names_that_are_no_settings(start: Start) -> None:
    settings = start.load()
    with pytest.raises(AttributeError, match="there is no setting 'wokers'"):
        settings.wokers  # noqa: B018  # the access is the test
    assert copy.copy(settings).workers == 1


def test_values_are_not_shared_between_loads(start: Start) -> None:
    start.load().raw_env.append("A=1")
    start.load().logconfig_dict["version"] = 1
    settings = start.load()
    assert (settings.raw_env, settings.logconfig_dict) == ([], {})


def test_paths_start_from_chdir(start: Start) -> None:
    start.write("sub/x", "")
    settings = start.load(chdir="sub", pythonpath="lib, /opt/lib")
    sub = str(start.directory / "sub")
    assert settings.chdir == sub
    assert settings.path("run/pid") == f"{sub}/run/pid"
    assert settings.path("/run/pid") == "/run/pid"
    assert settings.import_paths == ["/opt/lib", f"{sub}/lib", sub]
    assert sub in sys.path


def test_certificates_are_looked_for_from_chdir(start: Start) -> None:
    certificate = trustme.CA().issue_cert("test")
    start.write("sub/cert.pem", certificate.cert_chain_pems[0].bytes().decode())
    start.write("sub/key.pem", certificate.private_key_pem.bytes().decode())
    settings = start.load(chdir="sub", certfile="cert.pem", keyfile="key.pem")
    assert settings.is_ssl
    with pytest.raises(ConfigError, match=r"certfile names a file that cannot be read: 'cert\.pem': No such file"):
        start.load(certfile="cert.pem")
    with pytest.raises(ConfigError, match="keyfile needs certfile beside it"):
        start.load(chdir="sub", keyfile="key.pem")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"worker_tmp_dir": "nope"}, "worker_tmp_dir names a directory that does not exist: 'nope'"),
        ({"logconfig": "nope.ini"}, "logconfig names a file that cannot be read: 'nope.ini'"),
        ({"logconfig_json": "a\0b"}, "logconfig_json names a file that cannot be read: 'a.x00b': embedded null byte"),
        ({"bind": []}, "bind names no address"),
        ({"user": -1}, "user must be a number from 0 to 4294967294, not -1"),
        ({"group": 2**32 - 1}, "group must be a number from 0 to 4294967294, not 4294967295"),
        ({"paste": "x.ini"}, "paste names a PasteDeploy file, which is not read: 'x.ini'; name the application as"),
        ({"raw_env": "=x"}, "raw_env must hold NAME=VALUE, not '=x'"),
    ],
)
def test_what_makes_settings_unusable(start: Start, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        start.load(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"user": 0},
            r"^user can be changed by root only, and .* user 1234; start .* as that user instead",
        ),
        ({"group": 0}, r"^group can be changed by root only, .*; start the program with that group instead \(command"),
        ({"user": 0, "group": 0}, r"^user can be changed by root only, and this process is user 1234; start"),
    ],
)
def test_who_is_not_root_changes_nobody(
    start: Start, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1234)
    monkeypatch.setattr("os.getegid", lambda: 1234)
    assert start.load(user=1234, group=1234).warnings == []
    with pytest.raises(ConfigError, match=message) as caught:
        start.load(**values)
    assert caught.value.detail == ""


def test_root_without_the_capabilities_changes_nobody(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("supervisor.config.identity._held", lambda: 1 << 6)
    assert start.load(user=0, group=1234).gid == 1234
    with pytest.raises(ConfigError, match=r"^user needs root with CAP_SETUID, CAP_KILL, which this process does not"):
        start.load(user=1234, group=1234)


def test_the_group_of_a_user(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gunicorn's workers would keep the group of root, and read what only that group may."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("supervisor.config.identity._held", lambda: -1)
    daemon = pwd.getpwnam("daemon")
    settings = start.load(user="daemon")
    assert (settings.uid, settings.gid) == (daemon.pw_uid, daemon.pw_gid)
    assert settings.source("group") == "the group of user daemon"
    assert start.load(user="daemon", group=0).gid == 0
    (warning,) = start.load(user=54321).warnings
    assert warning.startswith("user = 54321 (command line user) has no entry in the password database")
    later = start.load()
    later.set("user", "daemon")
    assert later.gid == daemon.pw_gid


SAMPLES: dict[str, Any] = {
    "control_socket": "x.ctl",
    "control_socket_mode": "0660",
    "dogstatsd_tags": "a:b",
    "forwarder_headers": "A",
    "header_map": "refuse",
    "http2_cleartext": "both",
    "http_parser": "fast",
    "http_protocols": "h2",
    "logger_class": "a.Logger",
    "protocol": "uwsgi",
    "proxy_protocol": "v1",
    "sendfile": True,
    "statsd_host": "h:1",
    "suppress_ragged_eofs": False,
}


@pytest.mark.parametrize("name", [name for name, setting in TABLE.items() if setting.no_effect])
def test_a_setting_without_effect_says_so_when_it_is_used(start: Start, name: str) -> None:
    setting = TABLE[name]
    default = start.load().settings[name].value
    assert start.load(**as_values(name, default)).warnings == [], "its default, spelled out, is no use of it"
    if name == "paste":
        return  # refused
    value = SAMPLES.get(name)
    if value is None:
        value = {bool: True, int: 20000, list: ["10.0.0.1"], str: "x", type(None): "x"}[type(default)]
    if setting.parameters:
        value = f"{__name__}.accept"
    (warning,) = start.load(**as_values(name, value)).warnings
    assert warning.startswith(f"{name} = ")
    assert f"(command line {name})" in warning
    assert warning.endswith(f": {setting.no_effect}.")


def test_a_pattern_of_files_to_watch_may_match_none(start: Start) -> None:
    assert start.load(reload_extra_files=["*.none"]).warnings == [
        "reload_extra_files (command line reload_extra_files): *.none matches no file now."
    ]


def test_inotify_needs_a_library_where_it_is_used(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    start.load(reload_engine="inotify")
    start.load(reload=True)
    with pytest.raises(ConfigError, match=r"^reload_engine = inotify needs the package watchfiles: pip install "):
        start.load(reload=True, reload_engine="inotify")


def test_the_control_socket_is_mentioned_by_who_sets_it(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its default is a path of the user's, which nobody asked for; and who wants none has none."""
    assert start.load().warnings == []
    assert start.load(control_socket_disable=True).warnings == []
    (warning,) = start.load(control_socket="x.ctl", control_socket_disable=True).warnings
    assert warning == (
        "control_socket = 'x.ctl' (command line control_socket) has no effect: there is no control socket; "
        "signals do its work (HUP, TTIN, TTOU, USR1, USR2, WINCH)."
    )


def as_values(name: str, value: Any) -> dict[str, Any]:
    return {name: value}


def accept(*arguments: object) -> None:
    """A hook that takes anything."""


def test_an_unknown_level_is_refused(start: Start) -> None:
    levels = "debug, info, warning, error, critical"
    with pytest.raises(ConfigError) as caught:
        start.load(loglevel="verbose")
    assert str(caught.value) == f"loglevel must be one of {levels}, not 'verbose' (command line loglevel)."
    assert start.load(loglevel="WARNING").warnings == []


def test_the_settings_are_found_without_the_heavy_modules(tmp_path: Path) -> None:
    code = (
        "import sys; from supervisor.config.load import Inputs, load; load(Inputs(app='a:b', environ={})); "
        "print({'uvicorn', 'asyncio', 'click', 'ssl', 'tomllib'} & set(sys.modules))"
    )
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "set()\n"
