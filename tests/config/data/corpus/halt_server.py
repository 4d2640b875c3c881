from gunicorn.errors import HaltServer
from gunicorn.arbiter import Arbiter

FATAL = (Arbiter.WORKER_BOOT_ERROR, Arbiter.APP_LOAD_ERROR)
workers = len(FATAL)


def post_worker_init(worker):
    if worker.wsgi is None:
        raise HaltServer("no application", FATAL[1])
