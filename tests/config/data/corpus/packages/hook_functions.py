def announce(server):
    server.log.info("announced")


def release(server, worker):
    server.log.info("released %s", worker.pid)


def prepare(worker):
    worker.log.info("prepared")
