from uvicorn.workers import UvicornWorker


class SiteWorker(UvicornWorker):
    CONFIG_KWARGS = {"lifespan": "on"}
