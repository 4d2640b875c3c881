"""The factory of Flask's page on Gunicorn: ``gunicorn -w 4 'hello:create_app()'``."""

import os
import time
from collections.abc import Iterator

from flask import Flask, Response, jsonify, request


def create_app() -> Flask:
    app = Flask(__name__)

    @app.get("/")
    def index() -> Response:
        return jsonify(framework="flask", pid=os.getpid(), client=request.remote_addr, scheme=request.scheme)

    @app.post("/form")
    def form() -> Response:
        return jsonify(request.form.to_dict())

    @app.post("/json")
    def echo() -> Response:
        return jsonify(request.get_json())

    @app.post("/upload")
    def upload() -> Response:
        return jsonify(size=len(request.files["file"].read()))

    @app.get("/events")
    def events() -> Response:
        def stream() -> Iterator[str]:
            for number in range(3):
                yield f"data: {number}\n\n"
                # Until the client has said that it got the first one.
                while number == 0 and not os.path.exists("seen"):
                    time.sleep(0.01)

        return Response(stream(), mimetype="text/event-stream")

    @app.get("/error")
    def error() -> Response:
        raise RuntimeError("meant to fail")

    return app
