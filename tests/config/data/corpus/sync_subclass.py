from gunicorn.workers.sync import SyncWorker


class PatientWorker(SyncWorker):
    def handle_quit(self, sig, frame):
        self.handle_exit(sig, frame)


worker_class = PatientWorker
