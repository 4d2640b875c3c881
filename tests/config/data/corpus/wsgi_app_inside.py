# app: none
wsgi_app = "shop.main:create_app()"
bind = "127.0.0.1:8011"
workers = 2
reload = True
reload_engine = "poll"
