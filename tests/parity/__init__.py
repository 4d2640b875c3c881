"""gunicorn and this package on the same input: what is the same, and what is different on purpose.

gunicorn is the oracle. It reads the environment when it is imported, so it never is in the process of the tests:

- `tests.parity.oracle` keeps one process per test session that forks a fresh gunicorn for each question about
  configuration, which takes some 30 ms;
- what concerns a running service starts ``python -m gunicorn`` beside ours.

``python -m tests.parity`` prints the whole comparison of the settings (`tests.parity.comparison`); ``nox -s
gunicorn_parity`` installs what it needs. What differs on purpose stands, with its reason, in `tests.parity.purposeful`;
which test shows that a setting does what it should, in `tests.parity.behaviour`.
"""
