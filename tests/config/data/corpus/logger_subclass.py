import logging

from gunicorn.glogging import Logger


class HealthFilter(logging.Filter):
    def filter(self, record):
        return "/health" not in record.getMessage()


class SiteLogger(Logger):
    datefmt = "[%d/%b/%Y %H:%M:%S]"
    error_fmt = "%(asctime)s %(process)d %(levelname)s %(message)s"

    def setup(self, cfg):
        super().setup(cfg)
        self.access_log.addFilter(HealthFilter())

    def now(self):
        return super().now().replace("+0000", "Z")


logger_class = SiteLogger
accesslog = "-"
