dead = []


def mark_process_dead(pid):
    dead.append(pid)
