# The recipe against the header Server.
from gunicorn.http import wsgi


class Response(wsgi.Response):
    def default_headers(self, *args, **kwargs):
        headers = super(Response, self).default_headers(*args, **kwargs)
        return [header for header in headers if not header.lower().startswith("server:")]


wsgi.Response = Response
workers = 3
