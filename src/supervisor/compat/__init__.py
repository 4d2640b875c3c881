"""What gunicorn's users import from gunicorn: stand-ins where it is not installed, and homes for what derives from it.

`standin` puts modules in gunicorn's place while a configuration file or a worker class is loaded, `bases` and `guests`
take in worker classes that derive from gunicorn's or Uvicorn's, `app` has the classes of custom launchers.
"""
