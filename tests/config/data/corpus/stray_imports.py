# Names of settings that come from somewhere else altogether.
import multiprocessing
from os import environ as env
from threading import active_count as workers_alive

from shop_constants import TIMEOUT as timeout

bind = env.get("BIND", "127.0.0.1:8007")
worker_alive = workers_alive()
count = multiprocessing.cpu_count()
