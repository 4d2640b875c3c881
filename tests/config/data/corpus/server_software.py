import gunicorn

gunicorn.SERVER_SOFTWARE = "shop"
gunicorn.SERVER = "shop"
workers = 2
