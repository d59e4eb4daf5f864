"""The event loop of a plugin: tornado's where it is installed, else what plugins use of it, over asyncio."""


def new_loop():
    """A loop of its own."""
    try:
        from tornado.ioloop import IOLoop
    except ImportError:
        return _on_asyncio().Loop()
    try:
        return IOLoop(make_current=False)
    except TypeError:
        return IOLoop()


def new_stream(socket, loop):
    """Something that calls back with what a ZeroMQ socket receives in this loop."""
    if hasattr(loop, 'asyncio_loop') and type(loop).__module__.startswith('circus.'):
        return _on_asyncio().Stream(socket, loop)
    from zmq.eventloop.zmqstream import ZMQStream
    return ZMQStream(socket, loop)


def _on_asyncio():
    try:
        from circus.plugins import _asyncio_loop
    except (ImportError, SyntaxError):
        raise ImportError('a plugin needs Python 3.6 or later, or the package tornado')
    return _asyncio_loop


class Periodic(object):
    """Calls a function every so many seconds, for the first time after the first of them."""

    def __init__(self, function, seconds, loop):
        self.function, self.seconds, self.loop = function, seconds, loop
        self.timer = None

    def start(self):
        self.timer = self.loop.call_later(self.seconds, self._run)

    def _run(self):
        self.timer = self.loop.call_later(self.seconds, self._run)
        self.function()

    def stop(self):
        if self.timer is not None:
            self.loop.remove_timeout(self.timer)
            self.timer = None
