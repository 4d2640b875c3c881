import getpass

raw_env = [
    "DJANGO_SETTINGS_MODULE=shop.settings.production",
    "GREETING=good day, everybody",
    "EMPTY=",
    f"RUN_BY={getpass.getuser()}",
]
chdir = "/"
pythonpath = "/srv/shop,/srv/lib"
