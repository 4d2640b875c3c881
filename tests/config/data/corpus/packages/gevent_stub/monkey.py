patched = False


def patch_all():
    global patched
    patched = True
