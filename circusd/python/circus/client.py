"""Asking circusd."""
import json
import time
import uuid

import zmq

from circus.exc import CallError
from circus.util import DEFAULT_ENDPOINT_DEALER, get_connection, to_bytes

__all__ = ['AsyncCircusClient', 'CallError', 'CircusClient', 'cast_message', 'make_json', 'make_message']


def make_message(command, **props):
    """A request."""
    return {'command': command, 'properties': props or {}}


def cast_message(command, **props):
    """A request that is not answered."""
    return {'command': command, 'msg_type': 'cast', 'properties': props or {}}


def make_json(command, **props):
    """A request as bytes."""
    return to_bytes(json.dumps(make_message(command, **props)))


def dealer(context, endpoint, identity, ssh_server=None, ssh_keyfile=None):
    """A socket to the endpoint of a circusd."""
    socket = context.socket(zmq.DEALER)
    try:
        socket.setsockopt(zmq.IDENTITY, identity)
        socket.setsockopt(zmq.LINGER, 0)
        get_connection(socket, endpoint, ssh_server, ssh_keyfile)
    except BaseException:
        socket.close()
        raise
    return socket


def numbered(cmd):
    """Gives a request a number of its own: the number, and the request as bytes."""
    if not hasattr(cmd, 'keys'):
        if isinstance(cmd, type(u'')) or isinstance(cmd, str):
            raise DeprecationWarning('call() takes a mapping')
        raise TypeError('a request is a dictionary, not %s' % type(cmd).__name__)
    cmd['id'] = uuid.uuid4().hex
    return cmd['id'], to_bytes(json.dumps(cmd))


class CircusClient(object):
    """Sends a request and waits for its answer, at most `timeout` seconds."""

    def __init__(self, context=None, endpoint=DEFAULT_ENDPOINT_DEALER, timeout=5.0, ssh_server=None,
                 ssh_keyfile=None):
        self._init_context(context)
        self.endpoint = endpoint
        self._id = to_bytes(uuid.uuid4().hex)
        try:
            self.socket = dealer(self.context, endpoint, self._id, ssh_server, ssh_keyfile)
        except BaseException:
            if not self._keeps_context:
                self.context.term()
            raise
        self._init_poller()
        # As everywhere in ZeroMQ, in milliseconds.
        self._timeout = timeout
        self.timeout = timeout * 1000

    def _init_context(self, context):
        self._keeps_context = context is not None
        self.context = context or zmq.Context()

    def _init_poller(self):
        self.poller = zmq.Poller()
        self.poller.register(self.socket, zmq.POLLIN)

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        self.stop()

    def stop(self):
        """Closes the connection. May be called again."""
        self.socket.close()
        if not self._keeps_context and not self.context.closed:
            self.context.term()

    def send_message(self, command, **props):
        """The answer to a command with these properties."""
        return self.call(make_message(command, **props))

    def call(self, cmd):
        """The answer to a request, which is a dictionary. Raises `CallError` when there is none."""
        number, message = numbered(cmd)
        try:
            self.socket.send(message)
        except zmq.ZMQError as error:
            raise CallError(str(error))
        deadline = time.time() + self.timeout / 1000.0
        while True:
            answer = self._receive(deadline)
            # Another number is that of a call that was given up.
            if answer.get('id') == number:
                return answer

    def _receive(self, deadline):
        left = max(deadline - time.time(), 0) * 1000
        try:
            if not dict(self.poller.poll(left)):
                raise CallError('Timed out.')
            message = self.socket.recv()
        except zmq.ZMQError as error:
            raise CallError(str(error))
        try:
            answer = json.loads(message.decode('utf-8'))
        except ValueError as error:
            raise CallError(str(error))
        return answer if isinstance(answer, dict) else {}


try:
    from circus._async_client import AsyncCircusClient
except (ImportError, SyntaxError):
    class AsyncCircusClient(object):
        """Needs asyncio."""

        def __init__(self, *args, **kwargs):
            raise NotImplementedError('AsyncCircusClient needs Python 3.6 or later')
