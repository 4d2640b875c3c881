import functools
import logging


def note(text, *_):
    logging.getLogger("gunicorn.error").info(text)


when_ready = lambda server: server.log.info("ready")  # noqa: E731
on_exit = lambda _: None  # noqa: E731
post_fork = functools.partial(note, "forked")
# The print of a partial has no name in gunicorn; everything else has.
# gunicorn: cannot print this file
