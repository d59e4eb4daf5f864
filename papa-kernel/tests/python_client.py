"""Everything that the README of papa 1.0.6 describes, done with its own client library.

Arguments: the port of a running kernel, a directory of its own.
"""
import os
import select
import sys
import time

import papa

port, directory = int(sys.argv[1]), sys.argv[2]
p = papa.Papa(port, connection_timeout=5)

# Sockets
made = p.make_socket('web')
assert made['family'] == 'inet' and made['type'] == 'stream' and int(made['port']) > 0, made
assert p.make_socket('web') == made
path = os.path.join(directory, 'u.sock')
unix = p.make_socket('local', path=path, backlog=7, umask=0o177)
assert unix['path'] == path and int(unix['backlog']) == 7, unix
assert os.stat(path).st_mode & 0o777 == 0o600
assert set(p.list_sockets()) == {'web', 'local'}
assert set(p.list_sockets('w*')) == {'web'}
try:
    p.make_socket('web', host='127.0.0.2')
    raise SystemExit('a socket with other parameters was made')
except papa.Error as error:
    assert 'already been created' in str(error), error

# Values
p.set('count', '5')
p.set('name', 'two words')
assert p.get('count') == '5' and p.get('name') == 'two words' and p.get('nothing') is None
assert set(p.list_values()) == {'count', 'name'}
p.remove_values('count')
p.set('name')
assert p.list_values() == {}

# A process that gets a socket, is watched and ends
script = 'import os,sys; os.fstat(int(sys.argv[1])); print("hello"); sys.stderr.write("oops\\n"); sys.exit(3)'
p.make_process('one', sys.executable, args=['-c', script, '$(socket.web.fileno)'], env={'PATH': os.environ['PATH']})
out, err, closed = b'', b'', []
with papa.Papa(port, connection_timeout=5).watch_processes('one') as watcher:
    while watcher.ready or select.select([watcher], [], [], 10)[0]:
        o, e, c = watcher.read()
        out += b''.join(r.data for r in o or ())
        err += b''.join(r.data for r in e or ())
        closed += c or ()
        if closed:
            break
assert (out, err) == (b'hello\n', b'oops\n'), (out, err)
assert closed[0].data == 3 and watcher.exit_code['one'] == 3, closed

# Parameters, listing and removal
p.make_process('two', 'sleep', args='100', working_dir='/', uid=os.getuid(), env={'A': 'b c', 'PATH': '/usr/bin:/bin'},
               rlimits={'nofile': 50}, stdout=papa.DEVNULL, stderr=papa.STDOUT, bufsize=4096)
two = p.list_processes('t*')['two']
pid = int(two['pid'])
environ, end = b'', time.time() + 60
while not environ and time.time() < end:
    # Empty until the system has laid out the new program, which may be a moment after the kernel's answer.
    environ = open('/proc/%d/environ' % pid, 'rb').read()
assert os.readlink('/proc/%d/cwd' % pid) == '/' and b'A=b c' in environ
assert ' 50 ' in [line for line in open('/proc/%d/limits' % pid) if 'open files' in line][0]
with p.make_process('three', '/bin/sh', args=['-c', 'echo now'], watch_immediately=True) as now:
    out = b''
    while not now.exit_code:
        o, e, c = now.read()
        out += b''.join(r.data for r in o or ())
assert out == b'now\n', out
p = papa.Papa(port, connection_timeout=5)
assert p.exit_if_idle() is False
os.kill(pid, 9)
p.remove_processes('two')
p.remove_sockets('*')
assert not os.path.exists(path)
print('all done')
