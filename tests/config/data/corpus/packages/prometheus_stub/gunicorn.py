from prometheus_stub.multiprocess import mark_process_dead


def child_exit(server, worker):
    mark_process_dead(worker.pid)
