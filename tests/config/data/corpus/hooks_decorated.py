import functools


def quiet(function):
    @functools.wraps(function)
    def wrapper(server, worker):
        try:
            return function(server, worker)
        except Exception:
            server.log.exception("hook failed")

    return wrapper


@quiet
def post_fork(server, worker):
    worker.log.info("forked")


@quiet
def child_exit(server, worker):
    server.log.info("gone")
