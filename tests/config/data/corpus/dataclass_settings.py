# environ: APP_WORKERS=5
import os
from dataclasses import asdict, dataclass, field


@dataclass
class Server:
    bind: list = field(default_factory=lambda: ["unix:/tmp/site.sock"])
    workers: int = int(os.environ.get("APP_WORKERS", 1))
    umask: int = 0o007
    backlog: int = 512


for key, value in asdict(Server()).items():
    globals()[key] = value
