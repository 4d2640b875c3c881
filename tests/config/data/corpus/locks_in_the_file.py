import ctypes
import multiprocessing

lock = multiprocessing.Lock()
counter = multiprocessing.Value(ctypes.c_int, 0)


def post_fork(server, worker):
    with lock:
        counter.value += 1
        worker.log.info("%d", counter.value)
