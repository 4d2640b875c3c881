# State that hooks share, and signals that they send.
import os
import signal
import threading

state = {"reloads": 0}


def when_ready(server):
    def renew():
        state["reloads"] += 1
        os.kill(server.pid, signal.SIGHUP)

    timer = threading.Timer(3600, renew)
    timer.daemon = True


def post_worker_init(worker):
    previous = signal.getsignal(signal.SIGTERM)

    def leave(number, frame):
        worker.log.info("leaving")
        if callable(previous):
            previous(number, frame)

    signal.signal(signal.SIGTERM, leave)


def on_starting(server):
    server.cfg.set("proc_name", "renamed")
    server.cfg.settings["timeout"].set(50)
