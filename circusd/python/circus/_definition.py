"""From what a program says about its watchers to the configuration of a circusd. Pure: neither files nor processes."""
import inspect
import logging
import shlex

_log = logging.getLogger('circus')

# Options that mean something inside the original's process only.
_WITHOUT_MEANING = ('context', 'loop', 'prereload_fn', 'proc_name', 'ssh_server', 'stream_backend')


def name_of(definition):
    """The name of a watcher; the name of its program if it has none."""
    if definition.get('name'):
        return definition['name']
    words = definition['cmd'] if isinstance(definition['cmd'], (list, tuple)) else definition['cmd'].split()
    return words[0].rpartition('/')[2]


def watcher(definition):
    """The sections of one watcher: its own and, if it has one, that of its environment."""
    definition = dict(definition)
    name = definition.pop('name')
    section = {}
    for key, value in definition.items():
        if value is None or key in _WITHOUT_MEANING:
            if value is not None:
                _log.warning('%s of the watcher %s means nothing to circusd', key, name)
        elif key in ('cmd', 'args', 'shell_args'):
            section[key] = value if isinstance(value, str) else ' '.join(shlex.quote(str(word)) for word in value)
        elif key in ('stdout_stream', 'stderr_stream'):
            section.update(('%s.%s' % (key, option), text(option_value))
                           for option, option_value in _stream(name, key, value).items())
        elif key == 'hooks':
            section.update(('hooks.%s' % hook, _hook(name, hook, given)) for hook, given in value.items())
        elif key == 'rlimits':
            section.update(('rlimit_%s' % limit, text(number)) for limit, number in value.items())
        elif key != 'env':
            section[key] = text(value)
    sections = {'watcher:%s' % name: section}
    if definition.get('env'):
        # The name is a pattern there.
        pattern = ''.join('[%s]' % c if c in '*?[' else '?' if c == ',' else c for c in name)
        sections['env:%s' % pattern] = dict((key, text(value)) for key, value in definition['env'].items())
    return sections


def text(value):
    """A value as it stands in a configuration."""
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if isinstance(value, int):
        return str(int(value))
    if inspect.isclass(value) or inspect.isroutine(value):
        return _dotted(value)
    return str(value)


def _stream(name, key, options):
    if not hasattr(options, 'items'):
        raise ValueError('%s of the watcher %s must be a dictionary with the name of a class and its options; an '
                         'object of this process cannot be called by circusd' % (key, name))
    options = dict(options)
    stream = options.pop('stream', None)
    if stream is not None:
        # The form of old versions: the class, or its name, in place of `class`.
        options.setdefault('class', stream)
    if not isinstance(options.get('class', ''), str) and not inspect.isclass(options['class']):
        return _stream(name, key, options['class'])
    return options


def _hook(name, hook, given):
    ignore = False
    if isinstance(given, (list, tuple)):
        given, ignore = given[0], len(given) > 1 and given[1]
    return '%s, %s' % (given if isinstance(given, str) else _dotted(given), text(bool(ignore)))


def _dotted(thing):
    """The name under which another Python can import it."""
    module, name = getattr(thing, '__module__', None), getattr(thing, '__qualname__', '')
    if module in (None, '__main__') or not name or '<' in name:
        raise ValueError('%r cannot be imported by another Python; put it into a module' % (thing,))
    return '%s.%s' % (module, name)


def plugins(definitions):
    """The sections of plugins."""
    sections = {}
    for definition in definitions or ():
        options = dict((key, text(value)) for key, value in definition.items() if value is not None)
        name = options.pop('name', options['use'].replace(':', '.').rpartition('.')[2])
        if not name.startswith('plugin:'):
            name = 'plugin:%s' % name
        if name in sections:
            name = next(n for n in ('%s-%d' % (name, i) for i in range(1, 1000)) if n not in sections)
        sections[name] = options
    return sections


def sockets(given):
    """The sections of sockets, which are dictionaries or `CircusSocket`s."""
    sections = {}
    for socket in given or ():
        options = dict(socket.items() if hasattr(socket, 'items') else socket.definition())
        name = options.pop('name')
        sections['socket:%s' % name] = dict((key, text(value)) for key, value in options.items()
                                            if value is not None)
    return sections


def circus(options):
    """The section `[circus]`."""
    section = {}
    for key, value in options.items():
        if key in _WITHOUT_MEANING or value is None:
            continue
        section[key] = '%o' % value if key == 'umask' and isinstance(value, int) else text(value)
    return section
