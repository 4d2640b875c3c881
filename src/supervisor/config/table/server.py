"""Settings of the configuration file itself, the sockets, the workers, and development."""

from __future__ import annotations

from supervisor.config import validators
from supervisor.config.schema import Applies, Kind, Setting, Surroundings
from supervisor.config.table.build import choice, integer, string, strings, switch
from supervisor.cpus import available_cpus

DEFAULT_WORKER = "supervisor.workers.uvicorn.UvicornWorker"

FILE = "Config File"
SOCKET = "Server Socket"
WORKERS = "Worker Processes"
MECHANICS = "Server Mechanics"
DEBUGGING = "Debugging"


def _bind_default(around: Surroundings) -> tuple[list[str], str] | None:
    port = around.environ.get("PORT")
    return None if port is None else ([f"0.0.0.0:{port}"], "environment PORT")


def _workers_default(around: Surroundings) -> tuple[str, str] | None:
    count = around.environ.get("WEB_CONCURRENCY")
    return None if count is None else (count, "environment WEB_CONCURRENCY")


SETTINGS = (
    string(
        "config",
        FILE,
        "The configuration file: PATH, file:PATH, python:MODULE, or a PATH that ends in .toml. "
        "It has an effect on the command line and in the environment, not in the file itself.",
        "./gunicorn.conf.py",
        "-c",
        "--config",
        metavar="CONFIG",
        default_text="./gunicorn.conf.py, where it exists",
        applies=Applies.RESTART,
    ),
    string(
        "wsgi_app",
        FILE,
        "The application as MODULE:ATTRIBUTE, where the command line names none. The name is gunicorn's.",
        None,
    ),
    strings(
        "bind",
        SOCKET,
        "The address to listen on: HOST, HOST:PORT, [IPV6]:PORT, unix:PATH or fd://N. May be given several times. "
        "Sockets that systemd passes (LISTEN_FDS) are used instead.",
        ["127.0.0.1:8000"],
        "-b",
        "--bind",
        metavar="ADDRESS",
        derive=_bind_default,
        environment=("PORT",),
        default_text="127.0.0.1:8000, or 0.0.0.0:$PORT where PORT is set",
        applies=Applies.LIVE,
    ),
    integer(
        "backlog",
        SOCKET,
        "How many connections may wait in the kernel to be accepted, for each address; see listen(2).",
        2048,
        "--backlog",
        applies=Applies.RESTART,
    ),
    switch(
        "reuse_port",
        MECHANICS,
        "Listen at each TCP address with as many sockets as there are workers at the start, with SO_REUSEPORT. "
        "Other programs of the same user can then listen there too. Each worker accepts from all of the sockets.",
        "--reuse-port",
        applies=Applies.RESTART,
    ),
    integer(
        "workers",
        WORKERS,
        'The number of worker processes. "auto" is one for each CPU that the control group\'s quota and the affinity '
        "mask allow.",
        1,
        "-w",
        "--workers",
        auto=available_cpus,
        derive=_workers_default,
        environment=("WEB_CONCURRENCY",),
        default_text="1, or $WEB_CONCURRENCY",
        applies=Applies.LIVE,
    ),
    Setting(
        name="worker_class",
        group=WORKERS,
        doc="The worker: a class, its dotted path, or a name that is registered as an entry point.",
        kind=Kind.CLASS,
        validate=validators.class_or_name,
        default=DEFAULT_WORKER,
        flags=("-k", "--worker-class"),
        metavar="STRING",
    ),
    integer(
        "threads",
        WORKERS,
        "How many requests a worker answers at the same time if the application is a WSGI one. With 1, timeout bounds "
        "each request, as with gunicorn's sync worker. ASGI applications size their own pools of threads.",
        1,
        "--threads",
    ),
    integer(
        "worker_connections",
        WORKERS,
        "How many requests a worker serves at the same time; what comes above that is answered with 503.",
        1000,
        "--worker-connections",
    ),
    integer(
        "max_requests",
        WORKERS,
        "Replace a worker after so many requests; 0 never does. The replacement is ready before the worker leaves.",
        0,
        "--max-requests",
    ),
    integer(
        "max_requests_jitter",
        WORKERS,
        "Add a random number up to this one to max_requests, anew for each worker, so that they do not leave together.",
        0,
        "--max-requests-jitter",
    ),
    Setting(
        name="max_memory",
        group=WORKERS,
        doc="Replace a worker whose private memory is larger, in bytes or as 512M, 1.5G; 0 never does. "
        "The replacement is ready before the worker leaves.",
        kind=Kind.SIZE,
        validate=validators.size(1 << 20),
        default=0,
        flags=("--max-memory",),
        metavar="SIZE",
    ),
    integer(
        "max_memory_interval",
        WORKERS,
        "Seconds between two looks at a worker's memory. A process in which a look takes long is looked at less often.",
        10,
        "--max-memory-interval",
        minimum=1,
    ),
    integer(
        "max_lifetime",
        WORKERS,
        "Replace a worker that has served for so many seconds; 0 never does. The replacement is ready before the "
        "worker leaves.",
        0,
        "--max-lifetime",
    ),
    integer(
        "max_lifetime_jitter",
        WORKERS,
        "Add a random number of seconds up to this one to max_lifetime, anew for each worker.",
        0,
        "--max-lifetime-jitter",
    ),
    integer(
        "min_lifetime",
        WORKERS,
        "Seconds that a worker serves at least before max_memory replaces it: a bound for applications that are larger "
        "than max_memory from the start.",
        30,
        "--min-lifetime",
        minimum=1,
    ),
    integer(
        "timeout",
        WORKERS,
        "Replace a worker whose event loop was blocked for so many seconds; 0 never does. A request may take longer.",
        30,
        "-t",
        "--timeout",
        applies=Applies.LIVE,
    ),
    integer(
        "graceful_timeout",
        WORKERS,
        "Seconds that a worker has to finish the requests in flight when it is told to leave.",
        30,
        "--graceful-timeout",
        applies=Applies.LIVE,
    ),
    integer(
        "boot_timeout",
        WORKERS,
        "Seconds that a worker has to import the application and finish its startup.",
        300,
        "--boot-timeout",
        minimum=1,
        applies=Applies.LIVE,
    ),
    integer(
        "drain_delay",
        WORKERS,
        "Seconds that all workers serve on after TERM, for load balancers that need time to look elsewhere.",
        0,
        "--drain-delay",
        applies=Applies.LIVE,
    ),
    switch(
        "upgrade_auto",
        WORKERS,
        "After USR2, stop by itself as soon as the new arbiter is ready.",
        "--upgrade-auto",
        applies=Applies.LIVE,
    ),
    integer(
        "surge",
        WORKERS,
        "How many workers there may be above the wanted number while old ones are replaced.",
        1,
        "--surge",
        minimum=1,
        applies=Applies.LIVE,
    ),
    integer(
        "keepalive",
        WORKERS,
        "Seconds that an idle connection is kept open for its next request.",
        2,
        "--keep-alive",
    ),
    choice(
        "asgi_loop",
        WORKERS,
        "The event loop: uvloop, asyncio, or auto for uvloop where it is installed.",
        "auto",
        "--asgi-loop",
        choices=("auto", "asyncio", "uvloop"),
    ),
    choice(
        "asgi_lifespan",
        WORKERS,
        "Whether the lifespan protocol is spoken: on demands it, auto tries it, off leaves it out.",
        "auto",
        "--asgi-lifespan",
        choices=("auto", "on", "off"),
    ),
    integer(
        "asgi_disconnect_grace_period",
        WORKERS,
        "Seconds that an application has after its client went away in the middle of a request or WebSocket, until "
        "its task is cancelled; with 0 it is cancelled as soon as it has heard http.disconnect. Unless it is set, the "
        "task runs to its end, as with Uvicorn; with worker_class asgi, as gunicorn calls its own ASGI worker, the "
        "default holds.",
        3,
        "--asgi-disconnect-grace-period",
        default_text="3 with worker_class asgi, else the task runs to its end",
    ),
    integer(
        "websocket_max_message_size",
        WORKERS,
        "The largest WebSocket message in bytes; 0 sets no bound.",
        16 * 1024 * 1024,
        "--websocket-max-message-size",
    ),
    switch(
        "reload",
        DEBUGGING,
        "Load the application anew when its code changes, as HUP does. For development only: while nothing can be "
        "started, every client is shown the traceback.",
        "--reload",
        applies=Applies.LIVE,
    ),
    choice(
        "reload_engine",
        DEBUGGING,
        "How changes are noticed: inotify tells of them (with the package watchfiles), poll looks at all files each "
        "second, auto is inotify where it is installed, with a look every two seconds.",
        "auto",
        "--reload-engine",
        choices=("auto", "poll", "inotify"),
        validate=validators.choice("auto", "poll", "inotify"),
        applies=Applies.LIVE,
    ),
    strings(
        "reload_extra_files",
        DEBUGGING,
        "More files to watch with reload, as paths or glob patterns, from the directory in which the program was "
        "started. A directory stands for all files in it.",
        [],
        "--reload-extra-file",
        metavar="FILES",
        validate=validators.files_or_patterns,
        applies=Applies.LIVE,
    ),
    switch(
        "spew",
        DEBUGGING,
        "Print every line of Python that loaders and workers execute, to standard output. For debugging only.",
        "--spew",
    ),
    switch(
        "check_config",
        DEBUGGING,
        "As the command check: report all that is wrong with the configuration, the addresses and files that it names, "
        "and the application, loaded in a process that is thrown away, and exit: 0 if it would start, 1 if not.",
        "--check-config",
        applies=Applies.RESTART,
    ),
    switch(
        "print_config",
        DEBUGGING,
        "Print every setting with its value and where it came from, check the configuration without importing the "
        "application, and exit.",
        "--print-config",
        applies=Applies.RESTART,
    ),
)
