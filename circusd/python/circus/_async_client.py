"""Asking circusd from a coroutine. Python 3 only; `circus.client` has the name for everybody."""
import asyncio
import json
import uuid

import zmq
import zmq.asyncio

from circus.client import dealer, make_message, numbered
from circus.exc import CallError
from circus.util import DEFAULT_ENDPOINT_DEALER, to_bytes


class AsyncCircusClient(object):
    """Sends requests and waits for their answers, for as long as they take.

    Its coroutines run in asyncio's loop, which is tornado's as well. Several calls may be under way.
    """

    def __init__(self, context=None, endpoint=DEFAULT_ENDPOINT_DEALER, timeout=5.0, ssh_server=None,
                 ssh_keyfile=None):
        self._init_context(context)
        self.endpoint = endpoint
        self._id = to_bytes(uuid.uuid4().hex)
        # Not a limit on answers: as in circus a coroutine is waited for by whoever knows how long.
        self._timeout = timeout
        self.timeout = timeout * 1000
        self.socket = dealer(self.context, endpoint, self._id, ssh_server, ssh_keyfile)
        self._waiting = {}
        self._reader = None

    def _init_context(self, context):
        self._keeps_context = context is not None
        if context is not None and not isinstance(context, zmq.asyncio.Context):
            context = zmq.asyncio.Context.shadow(context.underlying)
        self.context = context or zmq.asyncio.Context()

    def stop(self):
        """Closes the connection. May be called again."""
        if self._reader is not None:
            self._reader.cancel()
            self._reader = None
        self._fail(CallError('The client was stopped.'))
        self.socket.close()
        if not self._keeps_context and not self.context.closed:
            self.context.term()

    async def send_message(self, command, **props):
        """The answer to a command with these properties."""
        return await self.call(make_message(command, **props))

    async def call(self, cmd):
        """The answer to a request, which is a dictionary. Raises `CallError` when it cannot be sent."""
        number, message = numbered(cmd)
        answer = asyncio.get_event_loop().create_future()
        self._waiting[number] = answer
        try:
            try:
                await self.socket.send(message)
            except zmq.ZMQError as error:
                raise CallError(str(error))
            if self._reader is None or self._reader.done():
                self._reader = asyncio.ensure_future(self._read())
            return await answer
        finally:
            self._waiting.pop(number, None)

    async def _read(self):
        # One reader for all calls, so none takes the answer of another.
        while self._waiting:
            try:
                answer = json.loads((await self.socket.recv()).decode('utf-8'))
            except (ValueError, zmq.ZMQError) as error:
                return self._fail(CallError(str(error)))
            waiting = self._waiting.get(answer.get('id')) if isinstance(answer, dict) else None
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)
                # Lets the caller go on, and perhaps ask again, before this one waits or ends.
                await asyncio.sleep(0)

    def _fail(self, error):
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(error)
