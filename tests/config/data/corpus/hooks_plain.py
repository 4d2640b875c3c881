# The hooks of the example that comes with gunicorn's source, in words of our own.
import sys
import threading
import traceback

spew = False
daemon = False
raw_env = ["A=1"]
pidfile = None
umask = 0
user = None
group = None
tmp_upload_dir = None
errorlog = "-"
loglevel = "info"
accesslog = "-"
proc_name = None


def post_fork(server, worker):
    server.log.info("worker %s was forked", worker.pid)


def pre_fork(server, worker):
    pass


def pre_exec(server):
    server.log.info("executing anew")


def when_ready(server):
    server.log.info("ready, workers follow")


def worker_int(worker):
    worker.log.info("worker was interrupted")
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines = []
    for ident, frame in sys._current_frames().items():
        lines.append(f"\n# {names.get(ident, '')}({ident})")
        lines += traceback.format_stack(frame)
    worker.log.debug("\n".join(lines))


def worker_abort(worker):
    worker.log.info("worker was aborted")


def ssl_context(conf, default_ssl_context_factory):
    context = default_ssl_context_factory()
    return context
