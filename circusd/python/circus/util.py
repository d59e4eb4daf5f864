"""Small things that plugins, hooks and clients use."""
import functools
import grp
import importlib
import logging
import logging.config
import logging.handlers
import os
import pwd
import re
import signal
import socket
import sys

DEFAULT_ENDPOINT_DEALER = 'tcp://127.0.0.1:5555'
DEFAULT_ENDPOINT_SUB = 'tcp://127.0.0.1:5556'
DEFAULT_ENDPOINT_STATS = 'tcp://127.0.0.1:5557'
DEFAULT_ENDPOINT_MULTICAST = 'udp://237.219.251.97:12027'

LOG_LEVELS = {'critical': logging.CRITICAL, 'error': logging.ERROR, 'warning': logging.WARNING,
              'info': logging.INFO, 'debug': logging.DEBUG}
LOG_FMT = '%(asctime)s %(name)s[%(process)d] [%(levelname)s] %(message)s'
LOG_DATE_FMT = '%Y-%m-%d %H:%M:%S'
LOG_DATE_SYSLOG_FMT = '%b %d %H:%M:%S'

TRUTHY_STRINGS = ('yes', 'true', 'on', '1')
FALSY_STRINGS = ('no', 'false', 'off', '0')

MAXFD = 1024
REDIRECT_TO = getattr(os, 'devnull', '/dev/null')
IS_WINDOWS = False

_TEXT = type(u'')

# Powers of 1024 by the names that sizes may have.
_UNITS = {}
for _names in ('B K M G T P E Z Y', 'byte kilo mega giga tera peta exa zetta iotta',
               'Bi Ki Mi Gi Ti Pi Ei Zi Yi', 'byte kibi mebi gibi tebi pebi exbi zebi yobi'):
    for _power, _name in enumerate(_names.split()):
        _UNITS[_name] = 1 << (10 * _power)
_UNITS['k'] = _UNITS['K']


def to_str(s, encoding='utf8', errors='replace'):
    """Text of anything; bytes are decoded."""
    if isinstance(s, bytes) and not isinstance(s, str):
        return s.decode(encoding, errors)
    return s if isinstance(s, (str, _TEXT)) else str(s)


def to_bytes(s, encoding='utf8'):
    """Bytes of anything; text is encoded."""
    if isinstance(s, bytes):
        return s
    return s.encode(encoding) if isinstance(s, _TEXT) else str(s).encode(encoding)


def to_bool(s):
    """What yes, no and their kind mean in any case. A boolean stays what it is, and nothing is false."""
    if s is None or isinstance(s, bool):
        return bool(s)
    word = s.lower().strip()
    if word in TRUTHY_STRINGS:
        return True
    if word in FALSY_STRINGS:
        return False
    raise ValueError('%r is not a boolean' % s)


def human2bytes(s):
    """Bytes of a size with a unit, such as `1.5M`. Raises ValueError without one."""
    number = re.match(r'[0-9.]*', s).group()
    unit = s[len(number):].strip()
    number = float(number)
    if unit not in _UNITS:
        raise ValueError("can't interpret %r" % s)
    return int(number * _UNITS[unit])


def bytes2human(n):
    """A whole number of bytes with a unit: `1.50K`."""
    if not isinstance(n, int):
        raise TypeError(n)
    for power, unit in reversed(list(enumerate('BKMGTPEZY'))):
        if power and n >= 1 << (10 * power):
            return '%.2f%s' % (n / float(1 << (10 * power)), unit)
    return '%dB' % n


def to_signum(signum):
    """The number of a signal that is given as a number or by name: `9`, `KILL`, `sigkill`, `RTMIN+1`."""
    try:
        return int(signum)
    except ValueError:
        pass
    found = re.match(r'(SIG)?([A-Z_]+)(\+(\d+))?', str(signum).strip().upper())
    if found is None:
        raise ValueError('signal invalid: %s' % signum)
    return int(getattr(signal, 'SIG' + found.group(2))) + int(found.group(4) or 0)


def _number(name):
    if isinstance(name, int):
        return name
    return int(name) if re.match(r'\s*-?\d+\s*$', name) else None


def to_uid(name):
    """The number of a user that is given by number or name. Raises ValueError if there is none."""
    number = int(name) if name is None else _number(name)
    try:
        if number is None:
            return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ValueError("%r isn't a valid user name" % name)
    try:
        return pwd.getpwuid(number).pw_uid
    except (KeyError, OverflowError):
        raise ValueError("%r isn't a valid user id" % number)


def to_gid(name):
    """The number of a group that is given by number or name. Raises ValueError if there is none."""
    number = int(name) if name is None else _number(name)
    try:
        return grp.getgrnam(name).gr_gid if number is None else grp.getgrgid(number).gr_gid
    except (KeyError, OverflowError):
        raise ValueError('No such group: %r' % name)


def get_default_gid(uid):
    """The first group of a user."""
    return pwd.getpwuid(uid).pw_gid


def get_username_from_uid(uid):
    """The name of a user."""
    return pwd.getpwuid(uid).pw_name


def replace_env(var):
    """Text with the values of the environment in place of `$NAME`."""
    return re.sub(r'\$([A-Z][A-Z0-9_]*)', lambda found: os.environ.get(found.group(1), ''), var).strip()


def parse_env_str(env_str):
    """A dictionary of `A=1,B=2`."""
    return parse_env_dict(dict(pair.split('=', 1) for pair in env_str.split(',')))


def parse_env_dict(env):
    """An environment with the values of our own in place of `$NAME`."""
    return dict((key.strip(), replace_env(value)) for key, value in env.items())


def env_to_str(env):
    """The other way of `parse_env_str`, sorted."""
    return ','.join('%s=%s' % pair for pair in sorted((env or {}).items()))


def get_working_dir():
    """Where we are, by the name that the shell has for it."""
    named = os.environ.get('PWD')
    try:
        if named and os.path.samefile(named, os.getcwd()):
            return named
    except OSError:
        pass
    return os.getcwd()


def get_python_version():
    """Three numbers."""
    return tuple(sys.version_info[:3])


def close_on_exec(fd):
    """Keeps a descriptor from programs that are started."""
    import fcntl
    fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.fcntl(fd, fcntl.F_GETFD) | fcntl.FD_CLOEXEC)


class ImportStringError(ImportError):
    """Something that is named in a configuration cannot be imported."""

    def __init__(self, import_name, exception):
        self.import_name = import_name
        self.exception = exception
        ImportError.__init__(self, 'cannot import %r: %s: %s'
                             % (import_name, type(exception).__name__, exception))

    def __repr__(self):
        return '<%s(%r, %r)>' % (type(self).__name__, self.import_name, self.exception)


def resolve_name(import_name, silent=False, reload=False):
    """What `package.module.name` or `package.module:name` stands for. With `silent`, none if there is none."""
    module, colon, names = import_name.partition(':')
    try:
        if colon:
            found = _imported(module, reload)
            for name in names.split('.'):
                found = getattr(found, name)
            return found
        parent, _, name = import_name.rpartition('.')
        if not parent:
            return _imported(import_name, reload)
        found = _imported(parent, reload)
        return getattr(found, name) if hasattr(found, name) else _imported(import_name, reload)
    except ImportError as error:
        if silent:
            return None
        raise ImportStringError(import_name, error)


def _imported(name, reload):
    module = importlib.import_module(name)
    if reload and hasattr(importlib, 'reload'):
        module = importlib.reload(module)
    return module


def replace_gnu_args(data, prefix='circus', **options):
    """Text with the options in place of `$(circus.name)` and `((circus.name))`; what is unknown stays."""
    values = {}
    for key, value in options.items():
        for name, value in ([('%s.%s' % (key, k), v) for k, v in value.items()]
                            if isinstance(value, dict) else [(key, value)]):
            values[(name if prefix is None else '%s.%s' % (prefix, name)).lower()] = value

    def value_of(found):
        return str(values.get(found.group(1).lower(), found.group()))

    for pattern in (r'\$\(([\w.\-]+)\)', r'\(\(([\w.\-]+)\)\)'):
        data = re.sub(pattern, value_of, data)
    return data


def convert_opt(key, val):
    """An option as text."""
    if key == 'env':
        return env_to_str(val)
    return '' if val is None else str(val)


class ObjectDict(dict):
    """A dictionary whose values are attributes as well."""

    def __getattr__(self, item):
        return self[item]


def get_connection(socket, endpoint, ssh_server=None, ssh_keyfile=None):
    """Connects a ZeroMQ socket, through ssh if a server is given."""
    if ssh_server is None:
        if endpoint.startswith('tcp://') and ':' in endpoint[6:].rpartition(':')[0]:
            import zmq
            socket.setsockopt(zmq.IPV6, 1)
        socket.connect(endpoint)
        return
    from zmq import ssh
    try:
        ssh.tunnel_connection(socket, endpoint, ssh_server, keyfile=ssh_keyfile)
    except ImportError as error:
        raise ImportError('%s\nAn ssh tunnel needs the package pexpect or paramiko.' % error)


def debuglog(func):
    """Logs each call of a method, with `circus` as logger at level DEBUG."""
    @functools.wraps(func)
    def logged(self, *args, **kwargs):
        logger = logging.getLogger('circus')
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug('%s.%s', type(self).__name__, getattr(func, '__name__', 'call'))
        return func(self, *args, **kwargs)
    return logged


def configure_logger(logger, level='INFO', output='-', loggerconfig=None, name=None):
    """Lets everything be logged to `output`: a file, `-` for stderr, or `syslog://HOST[:PORT]?FACILITY`.

    A `loggerconfig` (a dictionary, or a file .ini, .json or .yaml) takes the place of level and output.
    """
    if loggerconfig and str(loggerconfig).lower() != 'default':
        return _configure_as(loggerconfig)
    root = logging.getLogger()
    datefmt = LOG_DATE_FMT
    if output in ('-', 'stdout'):
        handler = logging.StreamHandler()
    elif output.startswith('syslog://'):
        handler, datefmt = _syslog(output[len('syslog://'):]), LOG_DATE_SYSLOG_FMT
    else:
        handler = logging.handlers.WatchedFileHandler(output)
        close_on_exec(handler.stream.fileno())
    handler.setFormatter(logging.Formatter(LOG_FMT, datefmt))
    root.handlers[:] = [handler]
    root.setLevel(LOG_LEVELS.get(level.lower(), logging.INFO))


def _syslog(target):
    target, _, facility = target.partition('?')
    if target.startswith('/'):
        address = target
    else:
        host, _, port = target.partition(':')
        address = (host or 'localhost', int(port or logging.handlers.SYSLOG_UDP_PORT))
    return logging.handlers.SysLogHandler(address, facility or 'user', socket.SOCK_DGRAM)


def _configure_as(loggerconfig):
    if isinstance(loggerconfig, dict):
        return logging.config.dictConfig(loggerconfig)
    loggerconfig = os.path.abspath(loggerconfig)
    if loggerconfig.lower().endswith('.ini'):
        return logging.config.fileConfig(loggerconfig, disable_existing_loggers=True)
    with open(loggerconfig) as file:
        if loggerconfig.lower().endswith('.json'):
            import json
            return logging.config.dictConfig(json.load(file))
        if loggerconfig.lower().endswith('.yaml'):
            import yaml
            return logging.config.dictConfig(yaml.safe_load(file))
    raise ValueError('%r is no logger configuration; its name must end with .ini, .json or .yaml' % loggerconfig)


def check_future_exception_and_log(future):
    """Logs the exception of a future that is done with one; gives it, or none."""
    if future is None or not future.done():
        return None
    error = future.exception()
    if error is not None:
        logging.getLogger('circus').error('exception %s caught', error,
                                          exc_info=(type(error), error, error.__traceback__)
                                          if hasattr(error, '__traceback__') else None)
    return error
