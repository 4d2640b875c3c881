# gunicorn: refuses this file
# The application's own settings are called config.
class Settings:
    workers = 3


config = Settings()
workers = config.workers
