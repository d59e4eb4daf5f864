"""An arbiter: watchers, sockets and plugins of a program, run by a circusd of its own. Python 3 only."""
import concurrent.futures
import os
import sys
import threading
import time

from circus import _definition, logger
from circus._daemon import Daemon, DaemonError, dump
from circus._remote import RemoteArbiter
from circus.exc import AlreadyExist, CallError
from circus.sockets import CircusSocket
from circus.util import DEFAULT_ENDPOINT_DEALER, DEFAULT_ENDPOINT_MULTICAST, DEFAULT_ENDPOINT_SUB
from circus.watcher import Watcher

# Seconds until an operation that was refused because of another one is tried again.
_BUSY = 0.05

__all__ = ['Arbiter', 'DaemonError', 'ThreadedArbiter']


class Done(concurrent.futures.Future):
    """A future of something that is over. What waits for it, by `yield` or `await`, goes on at once."""

    def __init__(self, result=None):
        concurrent.futures.Future.__init__(self)
        self.set_result(result)

    def __await__(self):
        return self.result()
        yield


def made_of(watchers, controller, pubsub_endpoint, background, env, options):
    """The arbiter that `circus.get_arbiter` gives."""
    watchers = [Watcher.load_from_config(dict(watcher, env=dict(env or {}, **(watcher.get('env') or {}))))
                for watcher in watchers]
    options.pop('name', None)
    kind = ThreadedArbiter if background else Arbiter
    return kind(watchers, controller or DEFAULT_ENDPOINT_DEALER, pubsub_endpoint or DEFAULT_ENDPOINT_SUB, **options)


class Arbiter(RemoteArbiter):
    """Runs watchers in a circusd that is started with it, asks it, and ends with it.

    circusd is the one that the variable CIRCUSD names, else the one on PATH.
    """

    _config_file = None

    def __init__(self, watchers, endpoint, pubsub_endpoint, check_delay=1.0, prereload_fn=None, context=None,
                 loop=None, statsd=False, stats_endpoint=None, statsd_close_outputs=False, multicast_endpoint=None,
                 plugins=None, sockets=None, warmup_delay=0, httpd=False, httpd_host='localhost', httpd_port=8080,
                 httpd_close_outputs=False, debug=False, debug_gc=False, ssh_server=None, proc_name='circusd',
                 pidfile=None, loglevel=None, logoutput=None, loggerconfig=None, fqdn_prefix=None, umask=None,
                 endpoint_owner=None, papa_endpoint=None, stream_backend=None):
        self.endpoint, self.pubsub_endpoint, self.stats_endpoint = endpoint, pubsub_endpoint, stats_endpoint
        self.multicast_endpoint = DEFAULT_ENDPOINT_MULTICAST if multicast_endpoint is None else multicast_endpoint
        self.check_delay, self.warmup_delay, self.statsd, self.debug = check_delay, warmup_delay, statsd, debug
        # For the program: it makes the file and configures its own log, as circusd of the original does.
        self.pidfile, self.loglevel, self.logoutput, self.loggerconfig = pidfile, loglevel, logoutput, loggerconfig
        self.umask, self.endpoint_owner, self.context, self.pid = umask, endpoint_owner, context, os.getpid()
        self._restarting = False
        self._loop = loop
        self._daemon = None
        self._options = dict(
            endpoint=endpoint, pubsub_endpoint=pubsub_endpoint, check_delay=check_delay,
            statsd=bool(statsd or stats_endpoint), stats_endpoint=stats_endpoint,
            multicast_endpoint=self.multicast_endpoint, warmup_delay=int(warmup_delay), debug=debug,
            loglevel=loglevel, logoutput=logoutput, loggerconfig=loggerconfig, fqdn_prefix=fqdn_prefix,
            umask=umask, endpoint_owner=endpoint_owner, papa_endpoint=papa_endpoint, python=sys.executable,
            python_path=os.pathsep.join(os.path.abspath(path) for path in sys.path))
        if httpd:
            self._options.update(httpd=True, httpd_host=httpd_host, httpd_port=httpd_port)
        self._plugins = list(plugins or ())
        self._sockets = list(sockets.values() if hasattr(sockets, 'values') else sockets or ())
        self._known = {}
        for watcher in watchers:
            self._adopt(watcher)

    @classmethod
    def load_from_config(cls, config_file, loop=None):
        """An arbiter that runs what an ini file says."""
        circus = dump(config_file)
        arbiter = cls([], circus['endpoint'], circus['pubsub_endpoint'], check_delay=circus.get('check_delay', 5.0),
                      stats_endpoint=circus.get('stats_endpoint'), pidfile=circus.get('pidfile'), loop=loop)
        arbiter._config_file = os.path.abspath(config_file)
        return arbiter

    def _adopt(self, watcher):
        watcher.__dict__['_arbiter'] = self
        self._known.setdefault(watcher.name.lower(), watcher)
        return watcher

    def __repr__(self):
        return '<Arbiter of circusd at %s>' % self.endpoint

    @property
    def loop(self):
        """A loop for programs that run something in it; circusd has its own."""
        if self._loop is None:
            from circus.plugins._loop import new_loop
            self._loop = new_loop()
        return self._loop

    @property
    def running(self):
        return self._daemon is not None and self._daemon.running

    def initialize(self):
        """Nothing has to be done before the start."""

    def sections(self):
        """The configuration of circusd: sections, keys and values."""
        sections = {'circus': _definition.circus(self._options)}
        for watcher in self._known.values():
            sections.update(_definition.watcher(watcher._definition))
        sections.update(_definition.plugins(self._plugins))
        sections.update(_definition.sockets(self._sockets))
        return sections

    def start(self, cb=None):
        """Starts circusd and returns when it has ended; `cb` is called when its watchers have been started.

        What an operator sends to this process (INT, TERM, QUIT, HUP) is for circusd meanwhile.
        """
        daemon = self._prepared()
        with daemon.forwarding():
            self._launch(daemon, cb)
            daemon.wait()
        return Done(False)

    def _prepared(self):
        if self.running:
            raise RuntimeError('it runs already')
        for one in self._sockets:
            if isinstance(one, CircusSocket):
                # circusd makes its own, for which the address has to be free.
                one.close()
        return Daemon(self.endpoint, None if self._config_file else self.sections(), self._config_file)

    def _launch(self, daemon, cb=None):
        daemon.start()
        self._daemon = daemon
        logger.info('circusd runs with pid %d', daemon.process.pid)
        if cb is not None:
            # As long as watchers are started, no other operation on all of them is accepted.
            self._begin('start')
            cb(Done())

    def stop(self, for_shutdown=True):
        """Stops everything, circusd too."""
        if self._daemon is not None:
            self._daemon.end()
        return Done()

    _emergency_stop = stop

    def _command(self, command, **properties):
        if self._daemon is None:
            raise CallError('circusd does not run')
        answer = self._daemon.ask(command, **properties)
        if answer.get('status') == 'error':
            reason = answer.get('reason', '')
            raise (AlreadyExist if reason.endswith('already exist') else CallError)(reason)
        return answer

    def _begin(self, command, **properties):
        while True:
            try:
                return Done(self._command(command, waiting=True, **properties))
            except CallError as error:
                # Nothing says when the other operation, perhaps the start of all watchers, will be over.
                if not str(error).startswith('arbiter is already running'):
                    raise
            time.sleep(_BUSY)

    @property
    def watchers(self):
        if not self.running:
            return list(self._known.values())
        return list(self.iter_watchers())

    def iter_watchers(self, reverse=True):
        if self.running:
            return RemoteArbiter.iter_watchers(self, reverse)
        return iter(sorted(self._known.values(), key=lambda watcher: watcher.priority, reverse=reverse))

    def get_watcher(self, name):
        """Raises KeyError if there is none."""
        known = self._known.get(name.lower())
        if self.running:
            try:
                options = self._command('options', name=name)['options']
            except CallError as error:
                raise KeyError(str(error))
            if known is None:
                known = self._adopt(Watcher(name, options.pop('cmd', '')))
        elif known is None:
            raise KeyError(name)
        return known

    def add_watcher(self, name, cmd, **kw):
        """Adds a watcher, which is not started. Raises `AlreadyExist`."""
        if not self.running:
            if name.lower() in self._known:
                raise AlreadyExist('%r already exist' % name)
            return self._adopt(Watcher(name, cmd, **kw))
        self._command('add', name=name, cmd=cmd, options=kw)
        self._known.pop(name.lower(), None)
        return self._adopt(Watcher(name, cmd, **kw))

    def rm_watcher(self, name, nostop=False):
        if self.running:
            RemoteArbiter.rm_watcher(self, name, nostop)
        self._known.pop(name.lower(), None)
        return Done()

    def start_watcher(self, watcher):
        return watcher.start()

    @property
    def sockets(self):
        """Sockets by name, as `listsockets` shows them while circusd runs."""
        if not self.running:
            return dict((one.name if isinstance(one, CircusSocket) else one['name'], one) for one in self._sockets)
        return dict((one['name'], one) for one in self._command('listsockets')['sockets'])


class ThreadedArbiter(threading.Thread, Arbiter):
    """An arbiter beside the program: `start` returns when circusd answers."""

    def __init__(self, *args, **kw):
        threading.Thread.__init__(self)
        Arbiter.__init__(self, *args, **kw)
        self._launched = threading.Event()
        self._failure = None

    def start(self):
        threading.Thread.start(self)
        self._launched.wait()
        if self._failure is not None:
            raise self._failure

    def run(self):
        # circusd is asked to end when the thread that has started it ends, so one thread does both.
        try:
            self._launch(self._prepared())
        except BaseException as error:
            self._failure = error
            return
        finally:
            self._launched.set()
        try:
            self._daemon.wait()
        except DaemonError as error:
            logger.error('%s', error)

    def stop(self):
        Arbiter.stop(self)
        if self.is_alive() and threading.current_thread() is not self:
            self.join()
        return Done()
