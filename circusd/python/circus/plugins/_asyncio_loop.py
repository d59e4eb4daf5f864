"""What plugins use of tornado, over asyncio. Python 3 only."""
import asyncio
import datetime
import inspect
import logging
import time

import zmq

# Events that are handled in one go before everything else has its turn.
_AT_ONCE = 100

_log = logging.getLogger('circus')


class Loop(object):
    """The methods of tornado's IOLoop that plugins call."""

    NONE, READ, WRITE, ERROR = 0, 1, 4, 0x18

    def __init__(self):
        self.asyncio_loop = asyncio.new_event_loop()
        self._tasks = set()

    def make_current(self):
        asyncio.set_event_loop(self.asyncio_loop)

    def start(self):
        self.asyncio_loop.run_forever()

    def stop(self):
        self.asyncio_loop.call_soon_threadsafe(self.asyncio_loop.stop)

    def close(self, all_fds=False):
        self.asyncio_loop.close()

    def time(self):
        return time.time()

    def add_callback(self, callback, *args, **kwargs):
        """Also for other threads and for signal handlers."""
        self.asyncio_loop.call_soon_threadsafe(self.run, callback, args, kwargs)

    spawn_callback = add_callback_from_signal = add_callback

    def call_later(self, delay, callback, *args, **kwargs):
        return self.asyncio_loop.call_later(max(delay, 0), self.run, callback, args, kwargs)

    def call_at(self, when, callback, *args, **kwargs):
        return self.call_later(when - self.time(), callback, *args, **kwargs)

    def add_timeout(self, deadline, callback, *args, **kwargs):
        if isinstance(deadline, datetime.timedelta):
            return self.call_later(deadline.total_seconds(), callback, *args, **kwargs)
        return self.call_at(deadline, callback, *args, **kwargs)

    def remove_timeout(self, timeout):
        timeout.cancel()

    def add_future(self, future, callback):
        future.add_done_callback(lambda done: self.add_callback(callback, done))

    def run_in_executor(self, executor, func, *args):
        return self.asyncio_loop.run_in_executor(executor, func, *args)

    def run_sync(self, func, timeout=None):
        """Runs the loop until the function, or the coroutine that it gives, is done."""
        async def whole():
            result = func()
            return await result if inspect.isawaitable(result) else result
        return self.asyncio_loop.run_until_complete(asyncio.wait_for(whole(), timeout))

    def add_handler(self, fd, handler, events):
        number = fd if isinstance(fd, int) else fd.fileno()
        self.remove_handler(number)
        if events & self.READ:
            self.asyncio_loop.add_reader(number, self.run, handler, (fd, self.READ), {})
        if events & self.WRITE:
            self.asyncio_loop.add_writer(number, self.run, handler, (fd, self.WRITE), {})

    update_handler = add_handler

    def remove_handler(self, fd):
        number = fd if isinstance(fd, int) else fd.fileno()
        self.asyncio_loop.remove_reader(number)
        self.asyncio_loop.remove_writer(number)

    def run(self, callback, args, kwargs):
        """Calls it. What it raises is logged, and everything else goes on."""
        try:
            result = callback(*args, **kwargs)
        except Exception:
            _log.exception('Exception in callback %r', callback)
            return
        if inspect.iscoroutine(result):
            task = self.asyncio_loop.create_task(result)
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task):
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error('Exception in a callback', exc_info=task.exception())


class Stream(object):
    """Calls back with what a ZeroMQ socket receives."""

    def __init__(self, socket, io_loop):
        self.socket, self.io_loop = socket, io_loop
        self._callback = None
        io_loop.asyncio_loop.add_reader(socket.getsockopt(zmq.FD), self._drain)

    def on_recv(self, callback, copy=True):
        self._callback = callback
        # Its descriptor tells of changes only, so what is there already has to be looked for.
        self.io_loop.asyncio_loop.call_soon(self._drain)

    def stop_on_recv(self):
        self._callback = None

    def _drain(self):
        for _ in range(_AT_ONCE):
            if self._callback is None or self.socket.closed:
                return
            try:
                message = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self.io_loop.run(self._callback, (message,), {})
        self.io_loop.asyncio_loop.call_soon(self._drain)

    def closed(self):
        return self.socket.closed

    def close(self, linger=None):
        if not self.socket.closed:
            self.io_loop.asyncio_loop.remove_reader(self.socket.getsockopt(zmq.FD))
            self.socket.close(linger)
