# environ: SHOP_WORKERS=3 SHOP_DEBUG=false
# A library that reads settings, here a stub beside the file.
from decouple_stub import config as read

workers = read("SHOP_WORKERS", default=1, cast=int)
preload_app = not read("SHOP_DEBUG", default=False, cast=lambda text: text.lower() == "true")
bind = read("SHOP_BIND", default="127.0.0.1:8004")
del read
