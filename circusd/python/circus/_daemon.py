"""A circusd that is started, asked and ended by this program. It ends when this program does."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from circus.client import CircusClient, make_message, numbered
from circus.exc import CallError

# A variable of the environment that names the program.
VARIABLE = 'CIRCUSD'

# Seconds between looks whether circusd is still there, while its answer is waited for.
_LOOK = 0.2

# Runs a program that is asked to end when its parent has ended. In a process of its own, because it is not safe
# to do anything between fork and exec in a program with threads.
_LAUNCHER = '''\
import os, signal, sys
try:
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
except Exception:
    pass
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
'''

# What an operator may send to the process that stands for circusd.
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)


class DaemonError(RuntimeError):
    """circusd cannot be run, or has ended badly."""


def program():
    """The path of our circusd: what `CIRCUSD` names, else the first on PATH that is ours and not a script."""
    named = os.environ.get(VARIABLE)
    if named:
        return named
    for folder in os.environ.get('PATH', os.defpath).split(os.pathsep):
        path = os.path.join(folder, 'circusd')
        if os.access(path, os.X_OK) and os.path.isfile(path):
            with open(path, 'rb') as file:
                if file.read(4) == b'\x7fELF':
                    return path
    raise DaemonError('there is no circusd on PATH; install it, or let the variable %s name it' % VARIABLE)


def dump(config_file):
    """The configuration that a file stands for."""
    done = subprocess.run([program(), '--dump-config', config_file], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise DaemonError(done.stderr.decode('utf-8', 'replace').strip())
    return json.loads(done.stdout.decode('utf-8'))


class Daemon(object):
    """A circusd with the configuration of a file, or with these sections."""

    def __init__(self, endpoint, sections=None, config_file=None):
        self.endpoint = endpoint
        self.sections = sections
        self.config_file = config_file
        self.folder = None
        self.process = None
        # Signals that came before there was a process.
        self.early = []

    def start(self):
        """Starts it and waits until it answers."""
        path = self.config_file or self._write()
        command = [sys.executable, '-E', '-S', '-c', _LAUNCHER, str(os.getpid()), program(), path]
        try:
            # A session of its own, so that what a terminal sends arrives once, by way of us.
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
            for number in self.early:
                self.process.send_signal(number)
            # Another one may be listening there.
            while self.ask('dstats')['info'].get('pid') != self.process.pid:
                time.sleep(_LOOK)
        except CallError:
            status = self.process.wait()
            self._clean()
            # Somebody else may have asked it to end before it has answered us.
            if status != 0:
                raise DaemonError('circusd has ended with status %s and has said why' % status)
        except BaseException:
            if self.process is not None:
                self.end()
            self._clean()
            raise

    def _write(self):
        # Values of environments may be secrets: the directory is private.
        self.folder = tempfile.mkdtemp(prefix='circus-')
        path = os.path.join(self.folder, 'circus.json')
        with open(path, 'w') as file:
            json.dump(self.sections, file, indent=1, sort_keys=True)
        return path

    def _clean(self):
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def ask(self, command, **properties):
        """The answer to a command, for as long as circusd runs. Raises `CallError` when it does not."""
        client = CircusClient(endpoint=self.endpoint)
        try:
            number, message = numbered(make_message(command, **properties))
            client.socket.send(message)
            while self.running:
                if client.poller.poll(_LOOK * 1000):
                    answer = json.loads(client.socket.recv().decode('utf-8'))
                    if answer.get('id') == number:
                        return answer
        finally:
            client.stop()
        raise CallError('circusd does not run')

    @contextlib.contextmanager
    def forwarding(self):
        """Meanwhile what an operator sends to this process is for circusd, also before that runs."""
        before = {}
        try:
            for number in _FORWARDED:
                before[number] = signal.signal(number, self._forward)
        except ValueError:
            # Signals belong to the main thread, and this is another.
            pass
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _forward(self, number, frame):
        if self.process is None:
            self.early.append(number)
        elif self.running:
            self.process.send_signal(number)

    def wait(self):
        """Waits for its end."""
        status = self.process.wait()
        self._clean()
        if status not in (0, -signal.SIGKILL, -signal.SIGTERM):
            raise DaemonError('circusd has ended with status %s' % status)

    def end(self):
        """Ends it in order."""
        if self.running:
            self.process.terminate()
        if self.process is not None:
            self.process.wait()
        self._clean()
