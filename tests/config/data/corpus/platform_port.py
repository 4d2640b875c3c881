# environ: PORT=5005 WEB_CONCURRENCY=4
# A platform's variables feed the defaults; the file says nothing on them.
accesslog = "-"
access_log_format = '%(h)s "%(r)s" %(s)s %(b)s %(L)ss "%({x-request-id}i)s"'
