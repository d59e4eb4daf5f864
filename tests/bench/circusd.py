#!/usr/bin/env python3
"""Measures circusd beside the original and, where they are installed, s6, runit and Supervisor.

  tests/bench/circusd.py --ours target/release/circusd [--original VENV/bin/circusd] [--workers 1000] [--quick]

Run it with a Python that has pyzmq. Needs a C compiler for the worker, which tells on a FIFO that it has started,
so that every supervisor is measured by the same yardstick. tests/bench/README.md says what the figures mean.
"""
import argparse, json, os, select, shutil, signal, socket, statistics, struct, subprocess, sys, tempfile, time

import zmq

from processes import read

WORKER = r'''
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv) {
    char text[16], fifo[] = "FIFO";
    int fd = open(fifo, O_WRONLY);
    if (write(fd, text, snprintf(text, sizeof text, "%d\n", getpid())) < 0) return 1;
    close(fd);
    for (;;) pause();
}
'''


class Wire:
    """A DEALER that speaks ZMTP 3.0 (rfc.zeromq.org/spec/23) by itself and never sleeps, so that of the client, its
    threads and the scheduler as little as possible is measured."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.sendall(b'\xff' + bytes(8) + b'\x7f\x03\x00' + b'NULL'.ljust(20, b'\0') + bytes(32))
        self.read(64)
        ready = b'\x05READY\x0bSocket-Type' + struct.pack('>I', 6) + b'DEALER'
        self.socket.sendall(bytes([4, len(ready)]) + ready)
        self.read(self.read(2)[1])
        self.socket.setblocking(False)

    def read(self, count):
        data = b''
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError('the server has ended the connection')
            data += part
        return data

    def call(self, body):
        """Any message up to 255 bytes; replies of that size come in one piece."""
        self.socket.sendall(bytes([0, len(body)]) + body)
        while True:
            try:
                reply = self.socket.recv(65536)
            except BlockingIOError:
                continue
            if not reply:
                raise EOFError('the server has ended the connection')
            return reply

    def median_ms(self, count):
        times, body = [], b'{"id": "1", "command": "numwatchers", "properties": {}}'
        for _ in range(count):
            begin = time.perf_counter()
            self.call(body)
            times.append((time.perf_counter() - begin) * 1e3)
        return statistics.median(times)


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def descendants(pid):
    """The process and its descendants."""
    parents = {}
    for entry in filter(str.isdigit, os.listdir('/proc')):
        fields = read('/proc/%s/stat' % entry).rpartition(')')[2].split()
        if fields:
            parents.setdefault(int(fields[1]), []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += parents.get(found[-1], [])
    return found


class Supervisor:
    """One program with its stack in a directory of its own; subclasses say how it is started and ended."""

    def __init__(self, args, count):
        self.args, self.count = args, count
        self.dir = tempfile.mkdtemp(prefix='bench-')
        fifo = os.path.join(self.dir, 'started')
        os.mkfifo(fifo)
        # Both ends, so that it never is at its end.
        self.fifo, self.text, self.pids = os.open(fifo, os.O_RDWR), b'', []
        source = os.path.join(self.dir, 'worker.c')
        with open(source, 'w') as f:
            f.write(WORKER.replace('FIFO', fifo))
        self.worker = os.path.join(self.dir, 'worker')
        subprocess.run(['cc', '-O1', '-o', self.worker, source], check=True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), 'w') as f:
            f.write(text)
        return self.path(name)

    def start(self):
        log = open(self.path('log'), 'w')
        self.process = subprocess.Popen(self.command(), cwd=self.dir, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                        start_new_session=True)

    def started(self, timeout):
        """The pid of the next worker that has started, or None."""
        while b'\n' not in self.text:
            if not select.select([self.fifo], [], [], timeout)[0]:
                return None
            self.text += os.read(self.fifo, 65536)
        line, _, self.text = self.text.partition(b'\n')
        return int(line)

    def wait_for_all(self):
        """Seconds until every worker has told that it runs."""
        begin = time.perf_counter()
        self.start()
        while len(self.pids) < self.count:
            pid = self.started(120)
            if pid is None:
                raise SystemExit('%s: only %d workers came; see %s' % (self.name, len(self.pids), self.path('log')))
            self.pids.append(pid)
        return time.perf_counter() - begin

    def own(self):
        """Its processes without the workers."""
        return [pid for pid in descendants(self.process.pid) if pid not in set(self.pids)]

    def pss_mb(self):
        total = 0
        for pid in self.own():
            for line in read('/proc/%d/smaps_rollup' % pid).splitlines():
                if line.startswith('Pss:'):
                    total += int(line.split()[1])
        return total / 1024

    def usage(self):
        """CPU seconds of its processes so far, and the wake-ups of each of their threads."""
        cpu, wakes = 0, {}
        for pid in self.own():
            fields = read('/proc/%d/stat' % pid).rpartition(')')[2].split()
            if fields:
                cpu += (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
            for task in os.listdir('/proc/%d/task' % pid):
                for line in read('/proc/%d/task/%s/status' % (pid, task)).splitlines():
                    if line.startswith('voluntary'):
                        wakes[task] = int(line.split()[1])
        return cpu, wakes

    def replacements(self, tries):
        """Milliseconds from kill -9 of a worker until its successor runs."""
        times = []
        for n in range(tries):
            victim = self.pids.pop(n * 7 % len(self.pids))
            begin = time.perf_counter()
            os.kill(victim, signal.SIGKILL)
            pid = self.started(30)
            times.append((time.perf_counter() - begin) * 1e3)
            if pid is None:
                raise SystemExit('%s: no successor in 30 s' % self.name)
            self.pids.append(pid)
            # Supervisors that hold back what dies young are asked for a worker that has lived.
            time.sleep(0.01)
        return times

    def end(self):
        """Seconds until the supervisor and all workers have ended."""
        begin = time.perf_counter()
        self.ask_to_end()
        self.process.wait(120)
        while any(read('/proc/%d/stat' % pid).rpartition(')')[2].split()[:1] not in ([], ['Z']) for pid in self.pids):
            time.sleep(0.001)
        return time.perf_counter() - begin

    def ask_to_end(self):
        self.process.send_signal(signal.SIGTERM)

    def clean_up(self):
        for pid in self.pids + ([self.process.pid] if self.process.poll() is None else []):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        os.close(self.fifo)
        shutil.rmtree(self.dir, ignore_errors=True)


class Circus(Supervisor):
    def command(self):
        watchers = 100 if self.count >= 100 else 1
        each = self.count // watchers
        self.count = watchers * each
        text = '[circus]\nendpoint = ipc://%s\npubsub_endpoint = ipc://%s\n' % (self.path('e'), self.path('p'))
        for n in range(watchers):
            text += '[watcher:w%d]\ncmd = %s\nnumprocesses = %d\nclose_child_stdout = True\nclose_child_stderr = True\n' % (
                n, self.worker, each)
        return [self.program, self.write('circus.ini', text)]

    def client(self, context=None):
        socket = (context or zmq.Context.instance()).socket(zmq.DEALER)
        socket.linger = 0
        socket.connect('ipc://' + self.path('e'))
        return socket

    def call(self, socket, command, **properties):
        socket.send(json.dumps({'id': command, 'command': command, 'properties': properties}).encode())
        if not socket.poll(60000):
            raise SystemExit('%s: no reply to %s' % (self.name, command))
        return json.loads(socket.recv())

    def ask_to_end(self):
        # Kept, since a socket that is collected drops what it has not sent.
        self.asker = self.client()
        self.asker.send(b'{"id": 1, "command": "quit", "properties": {}}')

    def round_trips(self, count, context=None):
        times = []
        with self.client(context) as socket:
            for _ in range(count):
                begin = time.perf_counter()
                self.call(socket, 'numwatchers')
                times.append((time.perf_counter() - begin) * 1e3)
        return times

    def on_one_processor(self, measure):
        """What is measured while both sides share one processor: without the time that idle ones take to wake up, of
        which a client of libzmq needs four for each request and a machine that is not idle none."""
        tasks = [int(task) for task in os.listdir('/proc/%d/task' % self.process.pid)] + [0]
        everywhere = os.sched_getaffinity(0)
        try:
            for task in tasks:
                os.sched_setaffinity(task, {max(everywhere)})
            # libzmq starts its threads with the first socket of a context, and there they stay.
            with zmq.Context() as context:
                return measure(context)
        finally:
            for task in tasks:
                os.sched_setaffinity(task, everywhere)

    def requests_per_second(self, seconds):
        """One client with 50 requests on their way."""
        socket, count = self.client(), 0
        message = b'{"id": "1", "command": "numwatchers", "properties": {}}'
        for _ in range(50):
            socket.send(message)
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            socket.recv()
            socket.send(message)
            count += 1
        return count / seconds

    def while_restarting(self):
        """Milliseconds of round trips while every watcher restarts, one at a time where the other is refused."""
        asker, socket, times = self.client(), self.client(), []
        for n in range(100):
            asker.send(json.dumps({'id': n, 'command': 'restart', 'properties': {'name': 'w%d' % n, 'waiting': True}}).encode())
        done, refused, poller = 0, 0, zmq.Poller()
        poller.register(asker, zmq.POLLIN)
        while done < 100:
            begin = time.perf_counter()
            self.call(socket, 'numwatchers')
            times.append((time.perf_counter() - begin) * 1e3)
            while done < 100 and poller.poll(0):
                done += 1
                refused += json.loads(asker.recv())['status'] != 'ok'
        return times, refused


class Ours(Circus):
    name = 'ours'

    @property
    def program(self):
        return os.path.abspath(self.args.ours)


class Original(Circus):
    name = 'circus 0.17.2'

    @property
    def program(self):
        return os.path.abspath(self.args.original)


class S6(Supervisor):
    name = 's6'
    programs = ['s6-svscan', 's6-svscanctl']

    def command(self):
        for n in range(self.count):
            os.makedirs(self.path('scan/w%d' % n))
            os.symlink(self.worker, self.path('scan/w%d/run' % n))
        return ['s6-svscan', '-c', str(self.count + 10), self.path('scan')]

    def ask_to_end(self):
        subprocess.run(['s6-svscanctl', '-t', self.path('scan')], check=True)


class Runit(Supervisor):
    name = 'runit'
    programs = ['runsvdir']

    def command(self):
        for n in range(self.count):
            os.makedirs(self.path('services/w%d' % n))
            os.symlink(self.worker, self.path('services/w%d/run' % n))
        return ['runsvdir', self.path('services')]

    def ask_to_end(self):
        self.process.send_signal(signal.SIGHUP)


class Supervisord(Supervisor):
    name = 'supervisor'
    programs = ['supervisord']

    def command(self):
        text = ('[supervisord]\nnodaemon=true\nuser=root\nlogfile=%s\npidfile=%s\nminfds=8192\n'
                '[program:w]\ncommand=%s\nnumprocs=%d\nprocess_name=%%(process_num)d\nstartsecs=0\n'
                'stdout_logfile=NONE\nstderr_logfile=NONE\n')
        return ['supervisord', '-c', self.write('s.conf', text % (self.path('l'), self.path('pid'), self.worker, self.count))]


def measure(supervisor, quick):
    figures = {}
    try:
        figures['start_s'] = supervisor.wait_for_all()
        time.sleep(2)
        figures['pss_mb'] = supervisor.pss_mb()
        before, idle = supervisor.usage(), 5 if quick else 30
        time.sleep(idle)
        after = supervisor.usage()
        figures['idle_cpu_s'] = after[0] - before[0]
        # A thread that has ended meanwhile woke up once for that, at most.
        figures['idle_wakeups'] = sum(count - before[1].get(task, 0) for task, count in after[1].items())
        # The slow ones answer in seconds; fewer tries tell as much.
        times = supervisor.replacements(20 if quick or not isinstance(supervisor, (Ours, S6, Runit)) else 200)
        figures['replace_median_ms'], figures['replace_p99_ms'] = statistics.median(times), quantile(times, .99)
        if isinstance(supervisor, Circus):
            supervisor.round_trips(100)
            # What a client gets depends on where its threads happen to run.
            times = sum((supervisor.round_trips(20 if quick else 200) for _ in range(10)), [])
            figures['call_median_ms'], figures['call_p99_ms'] = statistics.median(times), quantile(times, .99)
            times = supervisor.on_one_processor(
                lambda context: supervisor.round_trips(200 if quick else 10000, context))
            figures['call_one_cpu_median_ms'] = statistics.median(times)
            figures['wire_median_ms'] = Wire(supervisor.path('e')).median_ms(200 if quick else 5000)
            figures['calls_per_s'] = supervisor.requests_per_second(1 if quick else 5)
            if supervisor.count >= 100:
                times, refused = supervisor.while_restarting()
                figures['call_p99_restarting_ms'], figures['restarts_refused'] = quantile(times, .99), refused
                while supervisor.started(2) is not None:
                    pass
                supervisor.pids = [pid for pid in descendants(supervisor.process.pid)[1:]
                                   if 'worker' in read('/proc/%d/comm' % pid)]
        figures['end_s'] = supervisor.end()
    finally:
        supervisor.clean_up()
    return figures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--ours', required=True)
    parser.add_argument('--original')
    parser.add_argument('--workers', type=int, default=1000)
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--only', help='names of supervisors, separated by commas')
    args = parser.parse_args()
    kinds = [Ours] + ([Original] if args.original else [])
    kinds += [kind for kind in (S6, Runit, Supervisord) if all(map(shutil.which, kind.programs))]
    if args.only:
        kinds = [kind for kind in kinds if kind.name.split()[0] in args.only.split(',')]
    results = {}
    for kind in kinds:
        print('measuring', kind.name, '...', file=sys.stderr, flush=True)
        results[kind.name] = measure(kind(args, args.workers), args.quick)
    rows = list(dict.fromkeys(key for figures in results.values() for key in figures))
    print('%-24s' % ('%d workers' % args.workers) + ''.join('%16s' % name for name in results))
    for row in rows:
        line = '%-24s' % row
        for name, figures in results.items():
            line += '%16s' % ('%.3f' % figures[row] if row in figures else '-')
        print(line)
    for name in results:
        if name == 'ours' or 'ours' not in results:
            continue
        print('\nours / %s' % name)
        for row in rows:
            ours, theirs = results['ours'].get(row), results[name].get(row)
            if ours is not None and theirs:
                print('%-24s%16.4f' % (row, ours / theirs))


if __name__ == '__main__':
    main()
