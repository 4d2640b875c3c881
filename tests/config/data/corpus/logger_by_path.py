logger_class = "gunicorn.glogging.Logger"
accesslog = "-"
capture_output = True
enable_stdio_inheritance = True
errorlog = "/dev/null"
