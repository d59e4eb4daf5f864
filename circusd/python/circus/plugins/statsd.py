"""Telling a statsd server, and the base of plugins that do so now and then."""
import socket

from circus import logger
from circus.plugins import CircusPlugin
from circus.plugins._loop import Periodic
from circus.util import human2bytes

__all__ = ['BaseObserver', 'FullStats', 'StatsdClient', 'StatsdEmitter', 'human2bytes']


class StatsdClient(object):
    """Sends figures to a statsd server, each in a datagram of its own."""

    def __init__(self, host=None, port=None, prefix=None, sample_rate=1):
        self.host = host
        self.port = port
        self.prefix = prefix
        self.sample_rate = sample_rate
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send(self, bucket, value, sample_rate=None):
        """Sends a value with its kind, such as `1|c`, to a bucket below the prefix."""
        sample_rate = sample_rate or self.sample_rate
        name = '%s.%s' % (self.prefix, bucket) if self.prefix else bucket
        rate = '|@%s' % sample_rate if sample_rate != 1 else ''
        try:
            message = ('%s:%s%s' % (name, value, rate)).encode('utf-8')
            self.socket.sendto(message, (self.host or 'localhost', int(self.port or 8125)))
        except (OSError, socket.error) as error:
            # Nobody who counts may be harmed by nobody who listens.
            logger.warning('%s cannot be sent to statsd: %s', name, error)

    def decrement(self, bucket, delta=1):
        self.increment(bucket, -delta)

    def increment(self, bucket, delta=1):
        self.send(bucket, '%d|c' % delta)

    def gauge(self, bucket, value):
        self.send(bucket, '%s|g' % value)

    def timed(self, bucket, value):
        self.send(bucket, '%s|ms' % value)

    def stop(self):
        self.socket.close()


class StatsdEmitter(CircusPlugin):
    """Counts every event of every watcher."""

    name = 'statsd'
    default_app_name = 'app'

    def __init__(self, endpoint, pubsub_endpoint, check_delay, ssh_server, **config):
        # As in circus, plugins of this family have no `config`.
        CircusPlugin.__init__(self, endpoint, pubsub_endpoint, check_delay, ssh_server=ssh_server)
        self.app = config.get('application_name', self.default_app_name)
        self.prefix = 'circus.%s.watcher' % self.app
        self.statsd = StatsdClient(host=config.get('host', 'localhost'), port=int(config.get('port', 8125)),
                                   prefix=self.prefix, sample_rate=float(config.get('sample_rate', 1)))

    def handle_recv(self, data):
        watcher, action, _ = self.split_data(data)
        self.statsd.increment('%s.%s' % (watcher, action))

    def stop(self):
        CircusPlugin.stop(self)
        self.statsd.stop()


class BaseObserver(StatsdEmitter):
    """Calls `look_after` every `loop_rate` seconds."""

    def __init__(self, *args, **config):
        StatsdEmitter.__init__(self, *args, **config)
        self.loop_rate = float(config.get('loop_rate', 60))

    def handle_init(self):
        self.period = Periodic(self.look_after, self.loop_rate, self.loop)
        self.period.start()

    def handle_stop(self):
        self.period.stop()

    def handle_recv(self, data):
        pass

    def look_after(self):
        raise NotImplementedError()


class FullStats(BaseObserver):
    """Tells how many processes each watcher has, and their CPU time and memory."""

    name = 'full_stats'

    def look_after(self):
        answer = self.call('stats')
        if answer.get('status') == 'error':
            self.statsd.increment('_stats.error')
            return
        for name, processes in answer['infos'].items():
            if not name.startswith('plugin:'):
                self._tell(name, [info for info in processes.values() if isinstance(info, dict)])

    def _tell(self, name, processes):
        gauges = [('watchers_num', len(processes))]
        for gauge, key, read in (('cpu', 'cpu', float), ('mem_pct', 'mem', float), ('mem', 'mem_info1', human2bytes)):
            values = [read(info[key]) for info in processes if info.get(key) not in (None, 'N/A')]
            if values:
                gauges += [(gauge + '_max', max(values)), (gauge + '_sum', sum(values))]
        for gauge, value in gauges:
            self.statsd.gauge('_stats.%s.%s' % (name, gauge), value)
