# Runs the Python hooks and stream classes of one watcher for circusd. Any Python from 2.7 on, standard library only.
#
# circusd starts it with one end of a socket pair, whose number is in CIRCUSD_HELPER_FD, and both sides
# write JSON objects to it, one a line. `RemoteWatcher` and `RemoteArbiter` come from the package `circus`, whose
# `_remote.py` is sent before this file:
#
#   circusd -> helper   load, call, reply, start, stop, chunk
#   helper -> circusd   loaded, result, failure, request, log, credit
#
# Each hook runs in a thread of its own, so what it asks of circusd is answered while it runs, and so is
# what a thread asks that it has left behind. The end of the socket ends the helper.
import fcntl
import json
import logging
import os
import socket
import sys
import threading
import time
import traceback
import types
from importlib import import_module

try:
    from Queue import Queue
except ImportError:
    from queue import Queue

PYTHON_2 = sys.version_info[0] == 2

# What a hook may assign to its watcher, and circusd takes over.
WRITABLE = ('cmd', 'args', 'working_dir', 'numprocesses', 'graceful_timeout')


def native(value):
    """Text as `str`, also on Python 2, all the way down."""
    if PYTHON_2:
        if isinstance(value, unicode):  # noqa: F821
            return value.encode('utf-8')
        if isinstance(value, dict):
            return dict((native(k), native(v)) for k, v in value.items())
        if isinstance(value, list):
            return [native(item) for item in value]
    return value


class CircusError(Exception):
    """circusd has refused a request."""


class Connection(object):
    """The socket to circusd: lines out, and the answers to what was asked."""

    def __init__(self, fd):
        self.socket = socket.fromfd(fd, socket.AF_UNIX, socket.SOCK_STREAM)
        os.close(fd)
        # Python 2 would hand it on to everything that a hook starts.
        fcntl.fcntl(self.socket, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        self.socket.setblocking(True)
        self.lines = self.socket.makefile('rb')
        self.sending = threading.Lock()
        self.asking = threading.Lock()
        self.next_id = 0
        self.waiting = {}

    def send(self, kind, **fields):
        fields['type'] = kind
        line = json.dumps(fields, default=plain) + '\n'
        with self.sending:
            self.socket.sendall(line.encode('ascii'))

    def ask(self, **fields):
        """Sends a request, waits for the reply and gives its value."""
        box = Queue()
        with self.asking:
            self.next_id += 1
            number = self.next_id
            self.waiting[number] = box
        self.send('request', id=number, **fields)
        reply = box.get()
        if reply.get('error') is not None:
            raise CircusError(reply['error'])
        return reply.get('value')

    def answered(self, message):
        with self.asking:
            box = self.waiting.pop(message['id'], None)
        if box is not None:
            box.put(message)


def plain(value):
    """What JSON has no form for is told as text, bytes and sets in their nearest form."""
    if isinstance(value, bytes):
        return value.decode('utf-8', 'replace')
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    return str(value)


class Proxy(object):
    """Something that lives in circusd. What is not there fails visibly."""

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        raise AttributeError('%s has no attribute %r when hooks run outside of circusd; see docs/hooks.md'
                             % (type(self).__name__, name))


class Process(Proxy):
    """A process of a watcher."""

    def __init__(self, watcher, fields):
        self._watcher = watcher
        for key in ('cmd', 'args', 'env', 'uid', 'gid', 'working_dir', 'shell'):
            setattr(self, key, getattr(watcher, key))
        self.__dict__.update(fields)

    def __repr__(self):
        return '<Process %s of %s>' % (self.pid, self._watcher.name)

    def age(self):
        return time.time() - self.started

    def info(self):
        return self._watcher.process_info(self.pid)

    def children(self, recursive=False):
        info = self.info()
        return [] if not isinstance(info, dict) else [child['pid'] for child in info['children']]

    def send_signal(self, signum):
        self._watcher.send_signal(self.pid, signum)

    def is_alive(self):
        return self.status == 0

    @property
    def status(self):
        # The numbers of circus.process: running, zombie, gone.
        try:
            with open('/proc/%d/stat' % self.pid) as stat:
                return 1 if stat.read().rpartition(')')[2].split()[0] in 'ZX' else 0
        except (IOError, OSError):
            return 2

    def stop(self):
        self._watcher.kill_process(self)


class Watcher(Proxy, RemoteWatcher):
    """A watcher: its attributes as they were when the hook was called, its methods live."""

    def __init__(self, connection, picture, fresh):
        self._connection = connection
        # A hook sees its watcher as it was when it was called; everybody else sees it as it is.
        self._fresh = fresh
        self._take(picture)

    def _take(self, picture):
        processes = picture.pop('processes')
        self.__dict__.update(picture)
        self._processes = dict((fields['pid'], Process(self, fields)) for fields in processes)

    def _look(self):
        if self._fresh:
            self._take(native(self._connection.ask(watcher=self.name)))

    def __repr__(self):
        return '<Watcher %s>' % self.name

    def __len__(self):
        return len(self.processes)

    def __bool__(self):
        return True

    __nonzero__ = __bool__

    @property
    def processes(self):
        self._look()
        return self._processes

    @property
    def pids(self):
        return sorted(self.processes)

    def get_active_processes(self):
        return [process for process in self.processes.values() if process.is_alive()]

    def get_active_pids(self):
        return [process.pid for process in self.get_active_processes()]

    def options(self, *args):
        return sorted(self._all_options.items())

    def status(self):
        self._look()
        return self._status

    def _command(self, command, **properties):
        properties.setdefault('name', self.name)
        return command_of(self._connection, command, properties)

    # Nobody can wait inside a hook for what waits for the hook, so this only begins.
    def _begin(self, command, **properties):
        self._command(command, **properties)

    def notify_event(self, topic, msg):
        self._connection.ask(event=topic, watcher=self.name, payload=msg)


class Socket(Proxy):
    """A managed socket, as `listsockets` shows it."""

    def __init__(self, fields):
        self.__dict__.update(fields)


class Arbiter(Proxy, RemoteArbiter):
    """circusd."""

    def __init__(self, connection, facts):
        self._connection = connection
        self.__dict__.update(facts)

    def __repr__(self):
        return '<Arbiter of circusd %s>' % self.pid

    def _command(self, command, **properties):
        return command_of(self._connection, command, properties)

    def _begin(self, command, **properties):
        self._command(command, **properties)

    def get_watcher(self, name):
        try:
            picture = self._connection.ask(watcher=name)
        except CircusError as error:
            raise KeyError(str(error))
        return Watcher(self._connection, native(picture), True)

    @property
    def watchers(self):
        return list(self.iter_watchers())

    @property
    def sockets(self):
        listed = native(self._command('listsockets')['sockets'])
        return dict((fields['name'], Socket(fields)) for fields in listed)

    def add_watcher(self, name, cmd, **options):
        self._command('add', name=name, cmd=cmd, options=options)
        return self.get_watcher(name)


def command_of(connection, command, properties):
    return native(connection.ask(command=command, properties=properties))


class LogToDaemon(logging.Handler):
    """What hooks log with circus' own logger is in circusd's log."""

    def __init__(self, connection):
        logging.Handler.__init__(self)
        self.connection = connection

    def emit(self, record):
        try:
            self.connection.send('log', level=record.levelname, message=self.format(record))
        except Exception:
            self.handleError(record)


class LoggerOnly(object):
    """Stands in for the package `circus` where it is not installed, for those who only want its logger."""

    def find_module(self, name, path=None):
        return self if name == 'circus' else None

    def load_module(self, name):
        module = types.ModuleType(name)
        self.exec_module(module)
        module.__loader__ = self
        sys.modules[name] = module
        return module

    def find_spec(self, name, path=None, target=None):
        if name != 'circus':
            return None
        from importlib.machinery import ModuleSpec
        return ModuleSpec(name, self)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.logger = logging.getLogger('circus')


def resolve(path):
    """Imports `package.module.attribute` or `package.module:attribute`."""
    module, _, attributes = path.partition(':')
    parts = module.split('.')
    name = parts[0]
    found = import_module(name)
    for part in parts[1:]:
        name += '.' + part
        if not hasattr(found, part):
            if isinstance(found, types.ModuleType) and not hasattr(found, '__path__'):
                raise AttributeError('module %r has no %r' % (found.__name__, part))
            import_module(name)
        found = getattr(found, part)
    for part in attributes.split('.') if attributes else []:
        found = getattr(found, part)
    return found


class Host(object):
    """Carries out what circusd asks for."""

    def __init__(self, connection):
        self.connection = connection
        self.hooks = {}
        self.arbiter = None
        self.streams = []
        self.output = Queue()

    def run(self):
        while True:
            line = self.connection.lines.readline()
            if not line:
                return
            message = json.loads(line.decode('utf-8'))
            getattr(self, 'on_' + message['type'])(message)

    def on_reply(self, message):
        self.connection.answered(message)

    def on_load(self, message):
        # Imports may take long and may ask circusd something, so this goes on beside them.
        self.in_thread(self.load, message)

    def in_thread(self, function, *arguments):
        thread = threading.Thread(target=function, args=arguments)
        thread.daemon = True
        thread.start()

    def load(self, message):
        message = native(message)
        # Modules of the watcher come first, those beside the configuration last, as in circus.
        for path in reversed(message['first_paths']):
            if path not in sys.path:
                sys.path.insert(0, path)
        for path in message['last_paths']:
            if path not in sys.path:
                sys.path.append(path)
        self.arbiter = Arbiter(self.connection, message['arbiter'])
        what = None
        try:
            for name, path in sorted(message['hooks'].items()):
                what = 'hooks.%s = %s' % (name, path)
                self.hooks[name] = resolve(path)
                if not callable(self.hooks[name]):
                    raise TypeError('%s is not a function' % path)
            for name, path, options in message['streams']:
                what = '%s_stream.class = %s' % (name, path)
                self.streams.append((name, resolve(path)(**options)))
        except BaseException as error:
            self.connection.send('loaded', error='%s: %s: %s' % (what, type(error).__name__, error))
        else:
            if self.streams:
                self.in_thread(self.carry_output)
            self.connection.send('loaded', error=None)

    def on_call(self, message):
        self.in_thread(self.call, message)

    def call(self, message):
        message = native(message)
        name = message['hook']
        keywords = message['keywords']
        watcher = Watcher(self.connection, message['watcher'], False)
        before = dict((key, getattr(watcher, key)) for key in WRITABLE)
        env = dict(watcher.env)
        try:
            if name == 'extended_stats':
                # The original calls this one with three plain arguments.
                result = self.hooks[name](watcher, self.arbiter, name, **keywords)
            else:
                result = self.hooks[name](watcher=watcher, arbiter=self.arbiter, hook_name=name, **keywords)
            result = bool(result)
        except BaseException as error:
            self.connection.send('failure', id=message['id'], error=str(error) or type(error).__name__,
                                 traceback=traceback.format_exc())
            return
        finally:
            watcher.__dict__['_fresh'] = True
        answer = {'id': message['id'], 'ok': result}
        if watcher.env != env:
            answer['env'] = dict((str(key), str(value)) for key, value in watcher.env.items())
        changed = dict((k, getattr(watcher, k)) for k in WRITABLE if getattr(watcher, k) != before[k])
        if changed:
            answer['attributes'] = changed
        if 'stats' in keywords:
            answer['stats'] = keywords['stats']
        try:
            self.connection.send('result', **answer)
        except (TypeError, ValueError) as error:
            self.connection.send('failure', id=message['id'], traceback=traceback.format_exc(),
                                 error='what it changed cannot be told to circusd: %s' % error)


    def on_output(self, message):
        self.output.put(message)

    on_chunk = on_start = on_stop = on_output

    def carry_output(self):
        while True:
            message = self.output.get()
            if message['type'] == 'chunk':
                self.chunk(message)
                continue
            # As in circus, both are optional.
            method = 'open' if message['type'] == 'start' else 'close'
            for name, stream in self.streams:
                if hasattr(stream, method):
                    self.attempt('%s of the %s stream' % (method, name), getattr(stream, method))
            self.connection.send('result', id=message['id'], ok=True)

    def chunk(self, message):
        # One character per byte: JSON has no bytes.
        data = {'data': message['data'].encode('latin-1'), 'pid': message['pid'],
                'name': str(message['stream'])}
        if 'timestamp' in message:
            data['timestamp'] = message['timestamp']
        size = len(data['data'])
        for name, stream in self.streams:
            if name == data['name']:
                self.attempt('the %s stream' % name, stream, data)
        self.connection.send('credit', bytes=size)

    def attempt(self, what, function, *arguments):
        try:
            function(*arguments)
        except BaseException:
            self.connection.send('log', level='ERROR', message='%s: %s' % (what, traceback.format_exc().rstrip()))


def main():
    fd = int(os.environ.pop('CIRCUSD_HELPER_FD'))
    connection = Connection(fd)
    logger = logging.getLogger('circus')
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(LogToDaemon(connection))
    # Behind everything else: a package that is installed wins.
    sys.meta_path.append(LoggerOnly())
    # What hooks see as the main program is nobody's business but ours.
    sys.argv[:] = ['circusd']
    if sys.path and sys.path[0] == '':
        del sys.path[0]
    try:
        Host(connection).run()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Threads that hooks have left behind must not keep us.
        os._exit(0)


main()
