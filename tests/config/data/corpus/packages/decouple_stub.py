import os


def config(name, default=None, cast=str):
    value = os.environ.get(name)
    return default if value is None else cast(value)
