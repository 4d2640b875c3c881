# The default hooks of gunicorn are called from hooks of one's own.
from gunicorn.config import OnStarting, Postfork, PostRequest, PreRequest, WhenReady, WorkerInt

workers = 2


def on_starting(server):
    OnStarting.on_starting(server)
    server.log.info("starting")


def when_ready(server):
    WhenReady.when_ready(server)


def post_fork(server, worker):
    Postfork.post_fork(server=server, worker=worker)


def worker_int(worker):
    WorkerInt.worker_int(worker)


def pre_request(worker, req):
    PreRequest.pre_request(worker, req)


def post_request(worker, req, environ, resp):
    PostRequest.post_request(worker, req, environ, resp)
