from uvicorn_worker import UvicornWorker


class SiteWorker(UvicornWorker):
    CONFIG_KWARGS = {**UvicornWorker.CONFIG_KWARGS, "headers": [("x-served-by", "site")], "date_header": False}

    def handle_exit(self, sig, frame):
        self.log.info("told to go")
        super().handle_exit(sig, frame)


worker_class = SiteWorker
