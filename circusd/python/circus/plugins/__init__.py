"""Plugins: programs beside circusd that follow its events and send it commands."""
import argparse
import inspect
import json
import logging
import os
import signal
import sys
import uuid

import zmq

from circus import __version__, logger
from circus.client import cast_message, dealer, make_message
from circus.plugins._loop import new_loop, new_stream
from circus.util import (DEFAULT_ENDPOINT_DEALER, DEFAULT_ENDPOINT_SUB, configure_logger, debuglog,
                         get_connection, resolve_name, to_bool, to_bytes, to_str)


class CircusPlugin(object):
    """The base of all plugins.

    The life of one: `handle_init`, then `initialize`, then `handle_recv` for each event, at the end
    `handle_stop`. Before `initialize` it can neither call nor cast.
    """

    name = ''

    def __init__(self, endpoint, pubsub_endpoint, check_delay, ssh_server=None, **config):
        self.daemon = True
        self.config = config
        self.active = to_bool(config.get('active', True))
        self.pubsub_endpoint = pubsub_endpoint
        self.endpoint = endpoint
        self.check_delay = check_delay
        self.ssh_server = ssh_server
        self._id = to_bytes(uuid.uuid4().hex)
        self.running = False
        self.loop = new_loop()

    @debuglog
    def initialize(self):
        """Connects to circusd."""
        self.context = zmq.Context()
        self.client = dealer(self.context, self.endpoint, self._id, self.ssh_server)
        self.sub_socket = self.context.socket(zmq.SUB)
        self.sub_socket.setsockopt(zmq.SUBSCRIBE, b'watcher.')
        self.sub_socket.setsockopt(zmq.LINGER, 0)
        get_connection(self.sub_socket, self.pubsub_endpoint, self.ssh_server)
        self.substream = new_stream(self.sub_socket, self.loop)
        self.substream.on_recv(self.handle_recv)

    @debuglog
    def start(self):
        """Runs the plugin until somebody calls `stop`."""
        if not self.active:
            raise ValueError('Will not start an inactive plugin')
        self.loop.make_current()
        self.handle_init()
        self.initialize()
        self.running = True
        self.loop.start()

    @debuglog
    def stop(self):
        """Ends the plugin."""
        if not self.running:
            return
        self.running = False
        try:
            self.handle_stop()
        finally:
            self.loop.stop()

    def call(self, command, **props):
        """The answer of circusd to a command. Waits for as long as it takes."""
        self.client.send(to_bytes(json.dumps(make_message(command, **props))))
        return json.loads(to_str(self.client.recv()))

    def cast(self, command, **props):
        """Sends a command that is not answered."""
        self.client.send(to_bytes(json.dumps(cast_message(command, **props))))

    def handle_recv(self, data):
        """Takes an event: its topic and its message, in bytes."""
        raise NotImplementedError()

    def handle_init(self):
        """Called before anything else."""

    def handle_stop(self):
        """Called at the end."""

    @staticmethod
    def split_data(data):
        """Watcher, action and message of an event."""
        topic, message = data
        names = to_str(topic).split('.')
        return names[1], names[2], message

    @staticmethod
    def load_message(msg):
        """What the message of an event says."""
        return json.loads(to_str(msg))


def _cfg2str(cfg):
    return ':::'.join('%s:%s' % pair for pair in sorted(cfg.items()))


def _str2cfg(data):
    if data and data.startswith('{'):
        # What circusd writes for values that the form with colons would cut.
        return json.loads(data)
    pairs = (item.split(':', 1) for item in (data or '').split(':::') if ':' in item)
    return dict((key.strip(), value.strip()) for key, value in pairs)


def _arguments():
    parser = argparse.ArgumentParser(prog='circus-plugin', description='Run a plugin')
    parser.add_argument('--endpoint', default=DEFAULT_ENDPOINT_DEALER, help='where circusd answers commands')
    parser.add_argument('--pubsub', default=DEFAULT_ENDPOINT_SUB, help='where circusd publishes events')
    parser.add_argument('--config', help='options of the plugin: KEY:VALUE:::KEY:VALUE, or a file')
    parser.add_argument('--version', action='store_true', help='print the version')
    parser.add_argument('--check-delay', type=float, default=5.0, help='seconds between checks of circusd')
    parser.add_argument('--log-level', dest='loglevel', default='info', help='least important messages to log')
    parser.add_argument('--log-output', dest='logoutput', default='-', help='where to log')
    parser.add_argument('--ssh', help='ssh server on the way to circusd')
    parser.add_argument('plugin', nargs='?', help='the class: package.module.Class')
    return parser


def _fail(text):
    sys.stderr.write('circus-plugin: %s\n' % text)
    sys.exit(1)


def _class_of(name):
    """The class of a plugin, or the end with a sentence that says what is wrong with it."""
    try:
        found = resolve_name(name)
    except Exception as error:
        cause = getattr(error, 'exception', error)
        _fail('cannot import the plugin %r: %s: %s' % (name, type(cause).__name__, cause))
    if not inspect.isclass(found):
        _fail('%r is no class, so it is no plugin' % name)
    return found


def _config_of(text):
    """Options from text, or from a file that has them one a line."""
    if text and os.path.isfile(text):
        with open(text) as file:
            return _str2cfg(':::'.join(file.read().splitlines()))
    return _str2cfg(text)


def main():
    """Runs the plugin that the command line names. SIGTERM and SIGINT end it in order."""
    parser = _arguments()
    args = parser.parse_args()
    if args.version:
        print(__version__)
        sys.exit(0)
    if args.plugin is None:
        parser.print_usage()
        sys.exit(0)
    factory = _class_of(args.plugin)
    name = getattr(factory, 'name', '') or None
    configure_logger(logger, args.loglevel, args.logoutput, name=name)
    # A plugin that was started in the background of a shell ignores SIGINT otherwise.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    plugin = None
    try:
        plugin = factory(args.endpoint, args.pubsub, args.check_delay, args.ssh, **_config_of(args.config))
        logger.info('Loading the plugin...')
        logger.info('Endpoint: %r', args.endpoint)
        logger.info('Pub/sub: %r', args.pubsub)
        plugin.start()
    except KeyboardInterrupt:
        pass
    except Exception as error:
        logging.getLogger('circus').exception('the plugin %s has failed: %s', args.plugin, error)
        sys.exit(1)
    finally:
        logger.info('Stopping')
        if plugin is not None:
            plugin.stop()
    sys.exit(0)
