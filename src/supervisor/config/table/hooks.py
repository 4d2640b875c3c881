"""The hooks of the configuration file, and gunicorn's pool of dirty workers, which ours has not."""

from __future__ import annotations

from supervisor.config.hooks import post_request
from supervisor.config.schema import Applies
from supervisor.config.table.build import callback, integer, strings

HOOKS = "Server Hooks"
DIRTY = "Dirty Arbiters"
DIRTY_HOOKS = "Dirty Arbiter Hooks"

_DIRTY = "there is no pool of dirty workers; run long work in a task queue"
_NEW = Applies.NEW_WORKERS

SETTINGS = (
    callback("on_starting", HOOKS, "In the arbiter, before it binds its addresses.", "server", unset="OnStarting"),
    callback("on_reload", HOOKS, "In the arbiter, after HUP has read the settings anew.", "server", unset="OnReload"),
    callback("when_ready", HOOKS, "In the arbiter, after it has bound its addresses.", "server", unset="WhenReady"),
    callback("pre_fork", HOOKS, "In the arbiter, before a worker is forked.", "server", "worker", unset="Prefork"),
    callback(
        "post_fork", HOOKS, "In the worker, right after its fork.", "server", "worker", unset="Postfork", applies=_NEW
    ),
    callback(
        "post_worker_init",
        HOOKS,
        "In the worker, after the application is loaded.",
        "worker",
        unset="PostWorkerInit",
        applies=_NEW,
    ),
    callback("worker_int", HOOKS, "In the worker, on INT and QUIT.", "worker", unset="WorkerInt", applies=_NEW),
    callback(
        "worker_abort",
        HOOKS,
        "In the worker, on ABRT, which is what a blocked event loop gets.",
        "worker",
        unset="WorkerAbort",
        applies=_NEW,
    ),
    callback(
        "pre_exec",
        HOOKS,
        "In the process that USR2 has forked, before it becomes the new arbiter.",
        "server",
        unset="PreExec",
    ),
    callback(
        "pre_request", HOOKS, "In the worker, before a request.", "worker", "req", unset="PreRequest", applies=_NEW
    ),
    callback(
        "post_request",
        HOOKS,
        "In the worker, after a response. The last argument, or the last two, may be left out.",
        "worker",
        "req",
        "environ",
        "resp",
        unset="PostRequest",
        applies=_NEW,
        validate=post_request,
    ),
    callback("child_exit", HOOKS, "In the arbiter, after a worker has exited.", "server", "worker", unset="ChildExit"),
    callback(
        "worker_exit",
        HOOKS,
        "In the worker, just before it exits.",
        "server",
        "worker",
        unset="WorkerExit",
        applies=_NEW,
    ),
    callback(
        "nworkers_changed",
        HOOKS,
        "In the arbiter, when the wanted number of workers changes; at first the old number is None.",
        "server",
        "new_value",
        "old_value",
        unset="NumWorkersChanged",
    ),
    callback("on_exit", HOOKS, "In the arbiter, last of all.", "server", unset="OnExit"),
    callback(
        "ssl_context",
        HOOKS,
        "In the worker, to make the TLS context; the factory makes the one that the settings describe.",
        "config",
        "default_ssl_context_factory",
        unset="NewSSLContext",
        applies=_NEW,
    ),
    strings("dirty_apps", DIRTY, "Applications of the pool.", [], "--dirty-app", metavar="STRING", no_effect=_DIRTY),
    integer("dirty_workers", DIRTY, "Processes of the pool.", 0, "--dirty-workers", no_effect=_DIRTY),
    integer("dirty_timeout", DIRTY, "Seconds that a task may take.", 300, "--dirty-timeout", no_effect=_DIRTY),
    integer("dirty_threads", DIRTY, "Threads of a process of the pool.", 1, "--dirty-threads", no_effect=_DIRTY),
    integer(
        "dirty_graceful_timeout",
        DIRTY,
        "Seconds that the pool has to finish.",
        30,
        "--dirty-graceful-timeout",
        no_effect=_DIRTY,
    ),
    callback(
        "on_dirty_starting",
        DIRTY_HOOKS,
        "Before the pool starts.",
        "arbiter",
        unset="OnDirtyStarting",
        no_effect=_DIRTY,
    ),
    callback(
        "dirty_post_fork",
        DIRTY_HOOKS,
        "After a process of the pool is forked.",
        "arbiter",
        "worker",
        unset="DirtyPostFork",
        no_effect=_DIRTY,
    ),
    callback(
        "dirty_worker_init",
        DIRTY_HOOKS,
        "After a process of the pool has loaded its applications.",
        "worker",
        unset="DirtyWorkerInit",
        no_effect=_DIRTY,
    ),
    callback(
        "dirty_worker_exit",
        DIRTY_HOOKS,
        "When a process of the pool exits.",
        "arbiter",
        "worker",
        unset="DirtyWorkerExit",
        no_effect=_DIRTY,
    ),
)
