"""The errors of circus."""


class AlreadyExist(Exception):
    """There is a watcher of that name."""


class MessageError(Exception):
    """A message that circusd does not understand."""


class CallError(Exception):
    """A call has no answer."""


class ArgumentError(Exception):
    """Wrong arguments of a command."""


class ConflictError(Exception):
    """Another operation is under way."""
