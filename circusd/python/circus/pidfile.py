"""Files with the pid of a daemon."""
import errno
import os
import tempfile


class Pidfile(object):
    """The file at `fname`, which may be none."""

    def __init__(self, fname):
        self.fname = fname
        self.pid = None

    def create(self, pid):
        """Writes the pid. Raises RuntimeError when another process that lives stands there."""
        other = self.validate()
        if other:
            if other == os.getpid():
                return
            raise RuntimeError('Already running on PID %d, as %r says' % (other, self.fname))
        self.pid = pid
        folder = os.path.dirname(self.fname or '')
        if folder and not os.path.isdir(folder):
            raise RuntimeError('%r does not exist; the pid file cannot be made there' % folder)
        if not self.fname:
            fd, self.fname = tempfile.mkstemp(dir=folder or None)
        else:
            fd = os.open(self.fname, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        with os.fdopen(fd, 'w') as file:
            file.write('%d\n' % pid)

    def rename(self, path):
        """Goes on as another file."""
        self.unlink()
        self.fname = path
        self.create(self.pid)

    def unlink(self):
        """Removes the file, if it is ours."""
        try:
            with open(self.fname) as file:
                own = int(file.read() or 0) == self.pid
            if own:
                os.unlink(self.fname)
        except (IOError, OSError, TypeError, ValueError):
            pass

    def validate(self):
        """The pid in the file, if that process lives."""
        if not self.fname:
            return None
        try:
            with open(self.fname) as file:
                pid = int(file.read() or 0)
        except (IOError, OSError) as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        except ValueError:
            return None
        if pid <= 0:
            return None
        try:
            os.kill(pid, 0)
        except OSError as error:
            return pid if error.errno == errno.EPERM else None
        return pid
