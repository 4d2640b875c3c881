from base_settings import *  # noqa: F403

workers = workers * 2  # noqa: F405
timeout = 99
