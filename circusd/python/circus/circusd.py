"""Going into the background, and running circusd."""
import os
import sys

from circus.util import MAXFD, REDIRECT_TO


def get_maxfd():
    """How many descriptors a process may have."""
    import resource
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return MAXFD if most == resource.RLIM_INFINITY else most


def daemonize():
    """Goes on in the background: a process without terminal, whose standard streams lead nowhere.

    Does nothing in a process that a service manager has started with sockets (LISTEN_PID).
    """
    if os.environ.get('LISTEN_PID') == str(os.getpid()):
        return
    for _ in range(2):
        if os.fork():
            os._exit(0)
        if _ == 0:
            os.setsid()
    nowhere = os.open(REDIRECT_TO, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    if nowhere > 2:
        os.close(nowhere)


def main():
    """Becomes circusd with the arguments of this program."""
    from circus._daemon import program
    path = program()
    os.execv(path, [path] + sys.argv[1:])
