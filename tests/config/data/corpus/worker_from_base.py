# A worker with a loop of its own.
import select

from gunicorn.workers.base import Worker


class EchoWorker(Worker):
    def run(self):
        while self.alive:
            self.notify()
            ready, _, _ = select.select(self.sockets, [], [], self.timeout or 1)
            for listener in ready:
                client, _ = listener.accept()
                client.close()


worker_class = EchoWorker
