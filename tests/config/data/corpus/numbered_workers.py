# Each worker gets the smallest free number.
def on_starting(server):
    server.numbers = {}


def pre_fork(server, worker):
    used = {getattr(other, "number", None) for other in server.WORKERS.values()}
    worker.number = next(n for n in range(1, 1000) if n not in used)


def post_fork(server, worker):
    import os

    os.environ["WORKER_NUMBER"] = str(worker.number)


def nworkers_changed(server, new_value, old_value):
    server.log.info("%s -> %s of %s", old_value, new_value, server.num_workers)
