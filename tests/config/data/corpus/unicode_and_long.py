# Namen und Zeichen: äöü, 中文
proc_name = "läden-中文"
access_log_format = (
    "%(t)s %(h)s "
    '"%(r)s" '
    "%(s)s %(b)s "
    "%(M)sms"
)
raw_env = ["GRUSS=schöne Grüße"]
