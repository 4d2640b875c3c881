# environ: CPUS=6
import math
import os

cpus = int(os.getenv("CPUS", os.cpu_count() or 1))
workers = max(2, math.floor(cpus * 1.5))
threads = 2 * cpus
worker_connections = workers * 500
