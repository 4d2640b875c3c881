import json

fields = {
    "remote_ip": "%(h)s",
    "method": "%(m)s",
    "path": "%(U)s",
    "query": "%(q)s",
    "status": "%(s)s",
    "size": "%(B)s",
    "micros": "%(D)s",
    "seconds": "%(L)s",
    "agent": "%(a)s",
    "request_id": "%({x-request-id}i)s",
    "type": "%({content-type}o)s",
}
access_log_format = json.dumps(fields)
accesslog = "-"
