"""The applications that are served in the benchmark."""

MODELS = 400
"""How many models and routes the application with much code has."""
