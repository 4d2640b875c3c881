"""Settings of the processes: code, directories, user, names, trust in proxies, and the control socket."""

from __future__ import annotations

import os

from supervisor.config import validators
from supervisor.config.schema import Applies, Kind, Setting, Surroundings
from supervisor.config.table.build import integer, string, strings, switch, words

MECHANICS = "Server Mechanics"
NAMING = "Process Naming"
CONTROL = "Control"

_CONTROL = "there is no control socket; signals do its work (HUP, TTIN, TTOU, USR1, USR2, WINCH)"


def _chdir_default(around: Surroundings) -> tuple[str, str]:
    return around.cwd, "default"


def _forwarded_default(around: Surroundings) -> tuple[str, str] | None:
    addresses = around.environ.get("FORWARDED_ALLOW_IPS")
    return None if addresses is None else (addresses, "environment FORWARDED_ALLOW_IPS")


def _control_default(around: Surroundings) -> tuple[str, str]:
    runtime = around.environ.get("XDG_RUNTIME_DIR", "")
    folder = runtime if runtime and os.path.isdir(runtime) else os.path.join(os.path.expanduser("~"), ".gunicorn")
    return os.path.join(folder, "gunicorn.ctl"), "default"


SETTINGS = (
    switch(
        "preload_app",
        MECHANICS,
        "Import the application once for each generation and fork the workers from there.",
        "--preload",
    ),
    switch(
        "sendfile",
        MECHANICS,
        "Whether files are sent with sendfile(2).",
        "--no-sendfile",
        default=None,
        flag_value=False,
        no_effect="an ASGI application sends its files itself",
    ),
    Setting(
        name="chdir",
        group=MECHANICS,
        doc="The directory to change to before the application is loaded.",
        kind=Kind.STRING,
        validate=validators.directory,
        derive=_chdir_default,
        flags=("--chdir",),
        metavar="DIR",
        default_text="the current directory",
    ),
    switch(
        "daemon",
        MECHANICS,
        "Detach from the terminal and run in the background. The command returns when all workers serve, or with the "
        "arbiter's exit code where they cannot. PID 1, and what has NOTIFY_SOCKET from a service manager, stays.",
        "-D",
        "--daemon",
        applies=Applies.RESTART,
    ),
    strings(
        "raw_env",
        MECHANICS,
        "An environment variable for the application, as NAME=VALUE. May be given several times.",
        [],
        "-e",
        "--env",
        metavar="ENV",
    ),
    string(
        "pidfile",
        MECHANICS,
        "The file that holds the arbiter's process id while it runs.",
        None,
        "-p",
        "--pid",
        metavar="FILE",
        applies=Applies.LIVE,
    ),
    string(
        "worker_tmp_dir",
        MECHANICS,
        "The directory of the workers' heartbeat files; best one that is kept in memory.",
        None,
        "--worker-tmp-dir",
        metavar="DIR",
        default_text="shared memory (/dev/shm) where it is writable",
    ),
    Setting(
        name="user",
        group=MECHANICS,
        doc="The user that the workers run as, by name or number. Only root can change it; the arbiter stays root.",
        kind=Kind.STRING,
        validate=validators.user,
        derive=lambda _: (os.geteuid(), "default"),
        flags=("-u", "--user"),
        metavar="USER",
        default_text="the current user",
    ),
    Setting(
        name="group",
        group=MECHANICS,
        doc="The group that the workers run as, by name or number.",
        kind=Kind.STRING,
        validate=validators.group,
        derive=lambda _: (os.getegid(), "default"),
        flags=("-g", "--group"),
        metavar="GROUP",
        default_text="the group of user, where that is set, else the current group",
    ),
    integer(
        "umask",
        MECHANICS,
        "The permission bits that new files and Unix sockets do not get, in octal with a leading zero.",
        0,
        "-m",
        "--umask",
        octal=True,
    ),
    switch(
        "initgroups",
        MECHANICS,
        "Give the workers all groups of their user, where user or group is another one than the arbiter's.",
        "--initgroups",
    ),
    string(
        "pythonpath",
        MECHANICS,
        "Directories to put in front of the module search path, separated by commas.",
        None,
        "--pythonpath",
    ),
    words(
        "forwarded_allow_ips",
        MECHANICS,
        "The proxies whose X-Forwarded headers are believed: addresses and networks separated by commas, or *.",
        ["127.0.0.1", "::1"],
        "--forwarded-allow-ips",
        validate=validators.networks,
        derive=_forwarded_default,
        environment=("FORWARDED_ALLOW_IPS",),
        default_text="127.0.0.1,::1, or $FORWARDED_ALLOW_IPS",
    ),
    string(
        "root_path",
        MECHANICS,
        "The path under which a proxy publishes the application: root_path of the ASGI scope.",
        "",
        "--root-path",
    ),
    string("proc_name", NAMING, "The name in the titles of the processes.", None, "-n", "--name"),
    string(
        "default_proc_name",
        NAMING,
        "The name in the titles of the processes where proc_name is not set.",
        "gunicorn",
        default_text="the application's name",
    ),
    string(
        "control_socket",
        CONTROL,
        "The Unix socket for controlling the arbiter.",
        None,
        "--control-socket",
        metavar="PATH",
        derive=_control_default,
        default_text="gunicorn.ctl in $XDG_RUNTIME_DIR, else in ~/.gunicorn",
        applies=Applies.RESTART,
        no_effect=_CONTROL,
    ),
    integer(
        "control_socket_mode",
        CONTROL,
        "The permissions of the control socket, in octal with a leading zero.",
        0o600,
        "--control-socket-mode",
        octal=True,
        applies=Applies.RESTART,
        no_effect=_CONTROL,
    ),
    switch(
        "control_socket_disable",
        CONTROL,
        "Open no control socket. None is opened in any case.",
        "--no-control-socket",
        applies=Applies.RESTART,
    ),
)
