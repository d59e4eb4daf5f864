"""The Python side of Circus in Rust, for interpreters that have no circus of their own.

It has the names and the behaviour of the package `circus` from PyPI where programs, plugins and hooks use
it to speak with a daemon, and needs pyzmq alone. Where the real one is installed it is what an import gives:
this file then makes room for it, wherever it stands on the path.
"""
import logging
import os
import pkgutil
import sys


def _installed():
    """The package from PyPI, if this interpreter has it."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = [entry for entry in sys.path if os.path.abspath(entry or '.') != folder]
    if len(path) == len(sys.path):
        return None
    before, sys.path[:] = sys.path[:], path
    own = sys.modules.pop(__name__)
    try:
        loader = _loader()
        if loader is not None:
            return loader()
    except BaseException:
        sys.modules[__name__] = own
        raise
    # A hook or a plugin may have changed the path list itself, so it stays the same object.
    sys.path[:] = before
    sys.modules[__name__] = own
    return None


def _loader():
    """What loads it; none if there is none. A directory without `__init__.py` is nobody's package."""
    if sys.version_info[0] == 2:
        found = pkgutil.find_loader(__name__)
        return found and (lambda: found.load_module(__name__))
    from importlib import import_module
    from importlib.util import find_spec
    spec = find_spec(__name__)
    return None if spec is None or spec.origin is None else (lambda: import_module(__name__))


if _installed() is None:
    # The version of the package that this one stands in for; programs compare with it.
    version_info = (0, 17, 2)
    __version__ = '.'.join(str(part) for part in version_info)

    logger = logging.getLogger('circus')

    def get_arbiter(watchers, controller=None, pubsub_endpoint=None, background=False, env=None, **options):
        """Makes an arbiter that runs these watchers, which are dictionaries of options, in a circusd.

        Nothing is started before its `start()`, which returns when circusd has ended. With `background` it is
        a thread, and `start()` returns at once.
        """
        from circus.arbiter import made_of
        return made_of(watchers, controller, pubsub_endpoint, background, env, options)
