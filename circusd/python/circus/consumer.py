"""Following the events of circusd."""
import zmq

from circus.util import DEFAULT_ENDPOINT_SUB, get_connection, to_bytes


class CircusConsumer(object):
    """Gives the events whose topic begins with one of `topics`, each as topic and message in bytes.

    An iteration ends when somebody calls `stop()`, which is noticed within `timeout` seconds.
    """

    def __init__(self, topics, context=None, endpoint=DEFAULT_ENDPOINT_SUB, ssh_server=None, timeout=1.0):
        self.topics = topics
        self.keep_context = context is not None
        self._init_context(context)
        self.endpoint = endpoint
        self.pubsub_socket = self.context.socket(zmq.SUB)
        self.pubsub_socket.setsockopt(zmq.LINGER, 0)
        try:
            get_connection(self.pubsub_socket, endpoint, ssh_server)
        except BaseException:
            self.stop()
            raise
        for topic in topics:
            self.pubsub_socket.setsockopt(zmq.SUBSCRIBE, to_bytes(topic))
        self._init_poller()
        self.timeout = timeout

    def _init_context(self, context):
        self.context = context or zmq.Context()

    def _init_poller(self):
        self.poller = zmq.Poller()
        self.poller.register(self.pubsub_socket, zmq.POLLIN)

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        self.stop()

    def __iter__(self):
        return self.iter_messages()

    def iter_messages(self):
        """The events, one after the other. The consumer is stopped with the iteration."""
        with self:
            for topic, message in self._frames():
                yield topic, message

    def _frames(self):
        while not self.pubsub_socket.closed:
            try:
                if self.poller.poll(self.timeout * 1000):
                    frames = self.pubsub_socket.recv_multipart()
                    if len(frames) == 2:
                        yield tuple(frames)
            except zmq.ZMQError:
                # Closed by another thread, or a context that is going.
                if self.pubsub_socket.closed or self.context.closed:
                    return
                raise

    def stop(self):
        """Closes the connection. May be called again."""
        self.pubsub_socket.close()
        if not self.keep_context and not self.context.closed:
            self.context.destroy(0)
