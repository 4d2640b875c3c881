# A worker class of the file's own.
from uvicorn.workers import UvicornWorker


class SiteWorker(UvicornWorker):
    CONFIG_KWARGS = {"loop": "asyncio", "http": "h11", "lifespan": "on", "server_header": False}


worker_class = SiteWorker
workers = 2
