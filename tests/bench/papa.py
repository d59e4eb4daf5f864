#!/usr/bin/env python3
"""Measures our kernel beside the real papa 1.0.6 in the same run and prints the ratios.

  tests/bench/papa.py --ours target/release/papa-kernel [--papa VENV/bin/papa] [--quick]

Needs nothing but Python 3. See tests/bench/README.md for what the figures mean.
"""
import argparse, os, resource, select, signal, socket, statistics, subprocess, sys, time

EXACT = '%'


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Client:
    def __init__(self, port):
        self.s = socket.create_connection(('127.0.0.1', port))
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reply()

    def reply(self):
        data = b''
        while not data.endswith(b'> '):
            piece = self.s.recv(1 << 20)
            if not piece:
                raise SystemExit('connection lost after %r' % data[-200:])
            data += piece
        return data

    def ask(self, line):
        self.s.sendall(line.encode() + b'\n')
        reply = self.reply()
        if reply.startswith(b'Error'):
            raise SystemExit('%s: %r' % (line, reply))
        return reply


class Kernel:
    def __init__(self, command, ours):
        self.port, self.ours = free_port(), ours
        self.p = subprocess.Popen(command + ['-p', str(self.port)], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        for _ in range(500):
            try:
                self.client()
                break
            except OSError:
                time.sleep(.01)

    def client(self):
        return Client(self.port)

    def status(self, key):
        total = 0
        for task in os.listdir('/proc/%d/task' % self.p.pid):
            with open('/proc/%d/task/%s/status' % (self.p.pid, task)) as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith(key))
        return total

    def cpu(self):
        with open('/proc/%d/stat' % self.p.pid) as f:
            fields = f.read().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def pss(self):
        with open('/proc/%d/smaps_rollup' % self.p.pid) as f:
            return sum(int(line.split()[1]) for line in f if line.startswith('Pss:')) / 1024

    def fds(self):
        return len(os.listdir('/proc/%d/fd' % self.p.pid))

    def children(self):
        found = []
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                with open('/proc/%s/stat' % pid) as f:
                    if int(f.read().rpartition(')')[2].split()[1]) == self.p.pid:
                        found.append(int(pid))
            except OSError:
                pass
        return found

    def stop(self):
        children = self.children()
        self.p.kill()
        self.p.wait()
        for pid in children:
            try:
                os.killpg(pid, signal.SIGKILL)
            except OSError:
                pass


def round_trips(kernel, count):
    """Milliseconds from the request to the prompt."""
    client, times = kernel.client(), []
    for i in range(count):
        begin = time.perf_counter()
        client.ask('make process r%d sleep 1000' % i)
        times.append((time.perf_counter() - begin) * 1e3)
    return {'make_median_ms': statistics.median(times), 'make_p99_ms': sorted(times)[int(len(times) * .99)]}


def hosted(kernel, count, idle, options=''):
    client, begin = kernel.client(), time.perf_counter()
    for i in range(count):
        client.ask('make process h%d %ssleep 1000' % (i, options))
    took = time.perf_counter() - begin
    time.sleep(1)
    switches, cpu = kernel.status('voluntary_ctxt_switches'), kernel.cpu()
    time.sleep(idle)
    figures = {'start_s': took, 'pss_mb': kernel.pss(), 'threads': kernel.status('Threads:') and
               len(os.listdir('/proc/%d/task' % kernel.p.pid)), 'fds': kernel.fds(),
               'idle_wakeups': kernel.status('voluntary_ctxt_switches') - switches, 'idle_cpu_s': kernel.cpu() - cpu}
    return {'%s_at_%d' % (k, count): v for k, v in figures.items()}


def records(stream):
    """Yields (data, when it was received); acknowledges each block."""
    f = stream.makefile('rb')
    f.readline()
    while True:
        head = f.peek(1)[:1]
        if head == b']':
            f.read(2)
            stream.sendall(b'\n')
        else:
            line = f.readline()
            now = time.monotonic()
            if line.startswith((b'out:', b'err:')):
                data = f.read(int(line.rsplit(b':', 1)[1]) + 1)[:-1]
                yield data, now
            elif line.startswith(b'dropped:'):
                yield int(line.rsplit(b':', 1)[1]), now
            else:
                return  # closed, or the end of the stream


LINES = ("import time,random,os\nrandom.seed(1)\ntime.sleep(.3)\n"
         "for i in range(%d):\n os.write(1,b'%%.9f\\n'%%time.monotonic()); time.sleep(random.random()*.02)\n")


def latency(kernel, count):
    """Milliseconds from the child's write to its receipt by the watching client."""
    path = '/tmp/papa-bench-%d.py' % os.getpid()
    with open(path, 'w') as f:
        f.write(LINES % count)
    client = kernel.client()
    client.ask('make process lines %s %s' % (sys.executable, path))
    client.s.sendall(b'watch processes lines\n')
    times = []
    for data, now in records(client.s):
        times += [(now - float(line)) * 1e3 for line in data.split()]
    os.unlink(path)
    times.sort()
    return {'delivery_median_ms': statistics.median(times), 'delivery_p99_ms': times[int(len(times) * .99)]}


def throughput(kernel, megabytes):
    client = kernel.client()
    client.ask('make process flood /bin/sh -c sleep\\ .3;exec\\ /usr/bin/head\\ -c\\ %d\\ /dev/zero' % (megabytes << 20))
    client.s.sendall((EXACT if kernel.ours else '').encode() + b'watch processes flood\n')
    got = lost = 0
    s, begin = client.s, None
    # Own parser: bulk data are counted, not copied. The buffer stays in the processor's cache.
    buffer = bytearray(256 << 10)
    pending, skip, ended = b'', 0, False
    while not ended:
        n = s.recv_into(buffer)
        if not n:
            break
        begin = begin or time.perf_counter()
        at = min(skip, n)
        skip -= at
        while at < n and not ended:
            end = buffer.find(b'\n', at, n)
            line = pending + bytes(buffer[at:end + 1 if end >= 0 else n])
            while line.startswith(b'] '):
                s.sendall(b'\n')
                line = line[2:]
            if end < 0:
                pending = line
                break
            pending, at = b'', end + 1
            if line.startswith(b'out:'):
                length = int(line.rsplit(b':', 1)[1])
                got += length
                skip = max(0, length + 1 - (n - at))
                at += length + 1 - skip
            elif line.startswith(b'dropped:'):
                lost += int(line.rsplit(b':', 1)[1])
            elif line.startswith(b'closed:'):
                ended = True
    took = time.perf_counter() - begin
    return {'flood_mb_s': got / took / (1 << 20), 'flood_lost_percent': 100 * (1 - got / (megabytes << 20)),
            'flood_lost_told_percent': 100 * lost / (megabytes << 20)}


def many_connections(kernel, count, each):
    """Hosted printing processes followed over one connection each, or over one for all."""
    client = kernel.client()
    for i in range(count):
        client.ask('make process w%d sleep 1000' % i)
    begin = time.perf_counter()
    if each:
        watching = [kernel.client() for _ in range(count)]
        for i, c in enumerate(watching):
            c.s.sendall(b'watch processes w%d\n' % i)
    else:
        watching = [kernel.client()]
        watching[0].s.sendall(b'watch processes w*\n')
    for c in watching:
        c.s.recv(100)
    took = time.perf_counter() - begin
    figures = {'connect_s': took, 'pss_mb': kernel.pss(), 'fds': kernel.fds()}
    figures.update(latency(kernel, 200))
    kind = 'connection_each' if each else 'one_connection'
    return {'%s_%s_at_%d' % (kind, k, count): v for k, v in figures.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--ours', required=True)
    parser.add_argument('--papa')
    parser.add_argument('--quick', action='store_true', help='fewer processes, shorter waits')
    parser.add_argument('--connections', action='store_true', help='compare ways of watching instead')
    parser.add_argument('--only', help='comma list of: make,delivery,flood,hosted,many')
    args = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    few, idle = (100, 3) if args.quick else (1000, 30)
    subjects = [('ours', [args.ours], True)]
    if args.papa:
        subjects.insert(0, ('papa', [args.papa], False))
    runs = [('make', lambda k: round_trips(k, 200)), ('delivery', lambda k: latency(k, 500)),
            ('flood', lambda k: throughput(k, 2048 if k.ours else 64)), ('hosted', lambda k: hosted(k, few, idle))]
    if args.connections:
        runs = [('c', lambda k, n=n, e=e: many_connections(k, n, e))
                for n in ((100,) if args.quick else (1000, min(10000, (hard - 200) // 4))) for e in (True, False)]
        subjects = subjects[-1:]
    figures = {}
    for name, command, ours in subjects:
        # Three descriptors for each process; one where the machine allows no more.
        options = '' if hard > 30100 else 'stdout=0 stderr=0 '
        todo = runs + ([('many', lambda k: hosted(k, 10000, 1, options))] if ours and not args.quick and not args.connections else [])
        for kind, run in todo:
            if args.only and kind not in args.only.split(','):
                continue
            kernel = Kernel(command, ours)
            try:
                for key, value in run(kernel).items():
                    figures.setdefault(key, {})[name] = value
            except SystemExit as stop:
                print('%s: %s stopped: %s' % (name, kind, stop))
            finally:
                kernel.stop()
    if hard <= 30100:
        print('only %d open files are allowed here: 10,000 processes ran without pipes' % hard)
    print('%-42s %12s %12s %10s' % ('', 'papa 1.0.6', 'ours', 'ours/papa'))
    for key, by in figures.items():
        shown = ['%12.3f' % by[n] if n in by else '%12s' % '-' for n in ('papa', 'ours')]
        ratio = '%10.4f' % (by['ours'] / by['papa']) if by.get('papa') and 'ours' in by else '%10s' % '-'
        print('%-42s %s %s %s' % (key, *shown, ratio))


if __name__ == '__main__':
    main()
