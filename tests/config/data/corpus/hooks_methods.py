class Life:
    def __init__(self):
        self.events = []

    def starting(self, server):
        self.events.append("starting")

    @staticmethod
    def forked(server, worker):
        worker.log.info("forked")

    @classmethod
    def ended(cls, server):
        server.log.info(cls.__name__)


life = Life()
on_starting = life.starting
post_fork = life.forked
on_exit = Life.ended
