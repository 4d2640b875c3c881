# Each of the sixteen.
def on_starting(server):
    server.log.info("starting")


def on_reload(server):
    server.log.info("reloading")


def when_ready(server):
    server.log.info("ready at %s", server.address)


def pre_fork(server, worker):
    worker.number = len(server.WORKERS)


def post_fork(server, worker):
    worker.log.info("%s", getattr(worker, "number", None))


def post_worker_init(worker):
    worker.log.info("initialised")


def worker_int(worker):
    worker.log.info("interrupted")


def worker_abort(worker):
    worker.log.info("aborted")


def pre_exec(server):
    server.log.info("executing")


def pre_request(worker, req):
    worker.log.debug("%s %s", req.method, req.path)


def post_request(worker, req, environ, resp):
    worker.log.debug("%s", resp.status)


def child_exit(server, worker):
    server.log.info("gone: %s", worker.pid)


def worker_exit(server, worker):
    server.log.info("leaving: %s", worker.pid)


def nworkers_changed(server, new_value, old_value):
    server.log.info("%s, before %s", new_value, old_value)


def on_exit(server):
    server.log.info("end")


def ssl_context(config, default_ssl_context_factory):
    return default_ssl_context_factory()
