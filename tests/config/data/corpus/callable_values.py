# A function gives the value; lambdas and classes stay helpers.
def _count():
    return 3


workers = _count()
timeout = (lambda seconds: seconds * 2)(21)


class Chooser:
    def __call__(self):
        return "critical"


loglevel = Chooser()()
