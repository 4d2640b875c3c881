# environ: ENVIRONMENT=staging
import os

match os.environ.get("ENVIRONMENT"):
    case "production":
        workers, loglevel = 8, "warning"
    case "staging" | "test":
        workers, loglevel = 2, "info"
    case _:
        workers, loglevel = 1, "debug"
