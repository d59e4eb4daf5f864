"""Following the figures that circusd-stats publishes."""
import json

from circus.consumer import CircusConsumer
from circus.util import DEFAULT_ENDPOINT_STATS, to_str


class StatsClient(CircusConsumer):
    """Gives figures as watcher, subtopic and dictionary.

    The subtopic is a pid or, with the watcher `sockets`, a descriptor; none for the sums.
    """

    def __init__(self, endpoint=DEFAULT_ENDPOINT_STATS, ssh_server=None, context=None):
        CircusConsumer.__init__(self, ['stat.'], context, endpoint, ssh_server)

    def iter_messages(self):
        with self:
            for topic, message in self._frames():
                names = to_str(topic).split('.')
                if len(names) in (2, 3):
                    yield names[1], (names[2] if len(names) == 3 else None), json.loads(to_str(message))
