# A class as a namespace for what depends on the stage.
# environ: STAGE=production
import os


class Base:
    workers = 1
    loglevel = "debug"


class Production(Base):
    workers = 9
    loglevel = "error"


chosen = {"production": Production, "development": Base}[os.environ.get("STAGE", "development")]
workers = chosen.workers
loglevel = chosen.loglevel
proc_name = "shop-" + os.environ.get("STAGE", "development")
