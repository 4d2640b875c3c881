def on_starting(_):
    pass


def post_fork(_server, _worker):
    pass


def post_request(_, req):
    return req


def nworkers_changed(_server, _new, _old):
    pass
