#!/usr/bin/env python3
"""Measures `stats` and circusd-stats beside those of circus 0.17.2 in the same run and prints the ratios.

  tests/bench/stats.py --ours target/release --original VENV/bin [--workers 1000] [--seconds 60] [--quick]

Run it with a Python that has pyzmq. tests/bench/README.md says what the figures mean.
"""
import argparse, json, os, shutil, signal, statistics, subprocess, sys, tempfile, threading, time

import zmq

# Seconds that a command may be delayed before it is given up.
PATIENCE = 30

TICKS = os.sysconf('SC_CLK_TCK')


# Asks for fresh figures without looking at them, so that it is the daemon that works.
ASKER = '''
import sys, zmq
socket = zmq.Context().socket(zmq.DEALER)
socket.connect(sys.argv[1])
while True:
    socket.send(b'{"id": "x", "command": "stats", "properties": {"fresh": true}}')
    socket.recv()
'''


class Stack:
    """A circusd with its workers and circusd-stats in a directory of its own."""

    def __init__(self, name, circusd, circusctl, workers):
        self.name, self.circusctl, self.workers = name, circusctl, workers
        self.dir = tempfile.mkdtemp(prefix='bench-')
        self.endpoint, self.pubsub, self.stats = ('ipc://%s/%s' % (self.dir, e) for e in ('control', 'events', 'stats'))
        ini = os.path.join(self.dir, 'circus.ini')
        with open(ini, 'w') as f:
            f.write('[circus]\nendpoint = %s\npubsub_endpoint = %s\nstats_endpoint = %s\nstatsd = True\nmulticast_endpoint =\n'
                    'loglevel = error\n[socket:web]\nhost = 127.0.0.1\nport = 0\n'
                    '[watcher:worker]\ncmd = sleep 100000\nnumprocesses = %d\n'
                    % (self.endpoint, self.pubsub, self.stats, workers))
        self.context = zmq.Context()
        self.log = open(os.path.join(self.dir, 'log'), 'w')
        self.process = subprocess.Popen([circusd, ini], cwd=self.dir, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, start_new_session=True)
        self.socket = self.dealer()
        deadline = time.time() + 300
        while True:
            reply = self.call('numprocesses', name='worker', timeout=60)
            helper = self.call('list', name='circusd-stats', timeout=60)
            if reply.get('numprocesses') == workers and helper.get('pids'):
                self.helper = helper['pids'][0]
                return
            if time.time() > deadline:
                raise SystemExit('%s: its workers do not come; see %s/log' % (name, self.dir))
            time.sleep(.2)

    def dealer(self):
        socket = self.context.socket(zmq.DEALER)
        socket.linger = 0
        socket.connect(self.endpoint)
        return socket

    def call(self, command, timeout=120, socket=None, needed=True, **properties):
        socket = socket or self.socket
        number = os.urandom(8).hex()
        socket.send(json.dumps({'id': number, 'command': command, 'properties': properties}).encode())
        deadline = time.time() + timeout
        while socket.poll(max(0, deadline - time.time()) * 1000):
            reply = json.loads(socket.recv())
            if reply.get('id') == number:
                return reply
        if needed:
            raise SystemExit('%s does not answer %s' % (self.name, command))
        return {}

    def command_line_s(self, times):
        command = [self.circusctl, '--endpoint', self.endpoint, '--timeout', '120', 'stats']
        taken = []
        for _ in range(times):
            begin = time.perf_counter()
            out = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
            taken.append(time.perf_counter() - begin)
            assert out.count(b'sleep') >= self.workers, out[-500:]
        return statistics.median(taken)

    def daemon_s(self, times, **properties):
        taken = []
        for _ in range(times):
            begin = time.perf_counter()
            self.call('stats', **properties)
            taken.append(time.perf_counter() - begin)
        return statistics.median(taken)

    def round_trips_ms(self, seconds, with_stats=False):
        """`numwatchers` one after the other, while a process of its own asks for `stats` again and again."""
        helper = None
        if with_stats:
            helper = subprocess.Popen([sys.executable, '-c', ASKER, self.endpoint])
            time.sleep(1)
        taken, end, socket = [], time.time() + seconds, self.dealer()
        while time.time() < end:
            begin = time.perf_counter()
            # One that is not answered at all counts as long as it was waited for.
            self.call('numwatchers', timeout=PATIENCE, socket=socket, needed=False)
            taken.append((time.perf_counter() - begin) * 1000)
            time.sleep(.002)
        if helper:
            helper.kill()
            helper.wait()
        taken.sort()
        return taken

    def cpu_s(self, pid):
        with open('/proc/%d/stat' % pid) as f:
            fields = f.read().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def stats_cpu_per_minute(self, seconds, subscribed):
        stop, messages = threading.Event(), [0]
        def read():
            socket = self.context.socket(zmq.SUB)
            socket.linger, socket.rcvhwm = 0, 100000
            socket.subscribe(b'stat.')
            socket.connect(self.stats)
            while not stop.is_set():
                if socket.poll(200):
                    while socket.poll(0):
                        socket.recv_multipart()
                        messages[0] += 1
        reader = threading.Thread(target=read) if subscribed else None
        if reader:
            reader.start()
            time.sleep(3)
        before, count, begin = self.cpu_s(self.helper), messages[0], time.time()
        time.sleep(seconds)
        used, elapsed = self.cpu_s(self.helper) - before, time.time() - begin
        if reader:
            stop.set()
            reader.join()
            print('%-10s %.0f messages a second' % (self.name, (messages[0] - count) / elapsed))
        return used * 60 / elapsed

    def measure(self, args):
        few = 2 if args.quick else 3
        seconds = 4 if args.quick else 10
        quiet = self.round_trips_ms(seconds)
        figures = {
            'stats_command_line_s': self.command_line_s(few),
            'stats_daemon_s': self.daemon_s(few),
            'call_quiet_p50_ms': quiet[len(quiet) // 2],
            'call_quiet_p99_ms': quiet[int(len(quiet) * .99)],
            'call_quiet_max_ms': quiet[-1],
            'call_quiet_over_2_ms': sum(taken > 2 for taken in quiet),
        }
        beside = self.round_trips_ms(seconds, with_stats=True)
        figures['call_while_stats_p50_ms'] = beside[len(beside) // 2]
        figures['call_while_stats_p99_ms'] = beside[int(len(beside) * .99)]
        figures['call_while_stats_max_ms'] = beside[-1]
        figures['call_while_stats_over_2_ms'] = sum(taken > 2 for taken in beside)
        figures['stats_cpu_s_per_min'] = self.stats_cpu_per_minute(args.seconds, True)
        figures['stats_cpu_s_per_min_nobody'] = self.stats_cpu_per_minute(args.seconds, False)
        return figures

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            pass
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.context.destroy(0)
        shutil.rmtree(self.dir, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--ours', required=True, help='the directory with our programs')
    parser.add_argument('--original', help='the directory with those of circus 0.17.2')
    parser.add_argument('--workers', type=int, default=1000)
    parser.add_argument('--seconds', type=float, default=60)
    parser.add_argument('--quick', action='store_true')
    args = parser.parse_args()
    if args.quick:
        args.seconds = min(args.seconds, 15)
    results = {}
    for name, folder in (('ours', args.ours), ('original', args.original)):
        if folder:
            stack = Stack(name, os.path.abspath(os.path.join(folder, 'circusd')),
                          os.path.abspath(os.path.join(folder, 'circusctl')), args.workers)
            try:
                results[name] = stack.measure(args)
            finally:
                stack.end()
    print('%-28s' % ('%d workers' % args.workers) + ''.join('%12s' % name for name in results) + '       ratio')
    for key in results['ours']:
        values = [result[key] for result in results.values()]
        ratio = '%12.1f' % (values[1] / values[0]) if len(values) > 1 and values[0] else ''
        print('%-28s' % key + ''.join('%12.3f' % value for value in values) + ratio)


if __name__ == '__main__':
    main()
