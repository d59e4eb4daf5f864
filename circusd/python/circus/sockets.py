"""Sockets that processes share."""
import os
import socket

_FAMILIES = {'AF_INET': socket.AF_INET, 'AF_INET6': socket.AF_INET6, 'AF_UNIX': socket.AF_UNIX}
_TYPES = dict((name, getattr(socket, name)) for name in
              ('SOCK_STREAM', 'SOCK_DGRAM', 'SOCK_RAW', 'SOCK_RDM', 'SOCK_SEQPACKET') if hasattr(socket, name))


def _name(number, names):
    return next((name for name, known in names.items() if known == number), number)


class CircusSocket(socket.socket):
    """A socket by its name. An arbiter lets circusd make its own of the same kind at the same address."""

    def __init__(self, name='', host='localhost', port=8080, family=socket.AF_INET, type=socket.SOCK_STREAM,
                 proto=0, backlog=2048, path=None, umask=None, replace=False, interface=None, so_reuseport=False,
                 blocking=False):
        family, type = _FAMILIES.get(family, family), _TYPES.get(type, type)
        if path is not None:
            family = socket.AF_UNIX
        socket.socket.__init__(self, family, type, proto)
        # As in circus, a socket is handed on to what this process starts.
        self.set_inheritable(True)
        # With the flag for not blocking in it, the type of the socket is another number.
        self._type = type
        self.name, self.path, self.umask, self.replace = name, path, umask, replace
        self.host, self.port, self.backlog = host, int(port), int(backlog)
        self.interface, self.so_reuseport = interface, so_reuseport
        self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if so_reuseport:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.setblocking(blocking)
        self._blocking = blocking

    @classmethod
    def load_from_config(cls, config):
        """A socket of a dictionary of options."""
        known = ('name', 'host', 'port', 'family', 'type', 'proto', 'backlog', 'path', 'umask', 'replace',
                 'interface', 'so_reuseport', 'blocking')
        return cls(**dict((key, config[key]) for key in known if key in config))

    @property
    def location(self):
        """Where it is."""
        return '%r' % self.path if self.family == socket.AF_UNIX else '%s:%d' % (self.host, self.port)

    def __str__(self):
        return 'socket %r at %s' % (self.name, self.location)

    def bind_and_listen(self):
        """Binds it and, if it is one for connections, listens."""
        if self.family == socket.AF_UNIX:
            if self.replace and os.path.exists(self.path):
                os.unlink(self.path)
            before = None if self.umask is None else os.umask(int(str(self.umask), 8))
            try:
                self.bind(self.path)
            finally:
                if before is not None:
                    os.umask(before)
        else:
            if self.interface is not None:
                self.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.interface.encode() + b'\0')
            address = socket.getaddrinfo(self.host, self.port, self.family, self._type)[0][4]
            self.bind(address)
            self.host, self.port = self.getsockname()[:2]
        if self._type in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
            self.listen(self.backlog)

    def close(self):
        """Closes it. The file of a unix socket goes with it."""
        bound = self.family == socket.AF_UNIX and self.fileno() >= 0 and self.getsockname() == self.path
        socket.socket.close(self)
        if bound and os.path.exists(self.path):
            os.unlink(self.path)

    def definition(self):
        """What a configuration says of it, as pairs."""
        unix = self.family == socket.AF_UNIX
        pairs = [('name', self.name), ('family', _name(self.family, _FAMILIES)), ('type', _name(self._type, _TYPES)),
                 ('backlog', self.backlog), ('so_reuseport', self.so_reuseport), ('blocking', self._blocking)]
        if unix:
            return pairs + [('path', self.path), ('umask', self.umask), ('replace', self.replace)]
        return pairs + [('host', self.host), ('port', self.port), ('interface', self.interface),
                        ('proto', self.proto or None)]


class CircusSockets(dict):
    """Sockets by name."""

    def __init__(self, sockets=None, backlog=2048):
        dict.__init__(self)
        self.backlog = backlog
        for one in sockets or ():
            self[one.name] = one

    def add(self, name, host='localhost', port=8080, family=socket.AF_INET, type=socket.SOCK_STREAM, proto=0,
            backlog=None, path=None, umask=None, interface=None, use_papa=False):
        one = self.get(name)
        if one is None:
            one = self[name] = CircusSocket(name=name, host=host, port=port, family=family, type=type, proto=proto,
                                            backlog=backlog or self.backlog, path=path, umask=umask,
                                            interface=interface)
        return one

    def bind_and_listen_all(self):
        for one in self.values():
            one.bind_and_listen()

    def close_all(self):
        for one in self.values():
            one.close()
