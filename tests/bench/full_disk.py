#!/usr/bin/env python3
"""Measures how fast circusd answers while the disk is full on which two workers log, and what becomes of their output.

  tests/bench/full_disk.py --ours target/release/circusd [--seconds 60]

Run it as root, for a small file system of its own (tmpfs), with a Python that has pyzmq.
tests/bench/README.md says what the figures mean.
"""
import argparse, os, re, shutil, subprocess, tempfile, time

import zmq

from processes import terminate

INI = '''
[circus]
endpoint = ipc://DIR/endpoint
pubsub_endpoint = ipc://DIR/pubsub
multicast_endpoint =
[watcher:flood]
cmd = yes abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz
respawn = false
autostart = false
stdout_stream.filename = DIR/disk/flood.log
[watcher:ticker]
cmd = SHELL -c 'n=0; while :; do n=$((n+1)); echo $n; sleep 0.01; done'
stdout_stream.filename = DIR/disk/ticker.log
stop_children = true
'''


def read(path):
    with open(path, 'rb') as f:
        return f.read()


class Daemon:
    def __init__(self, program):
        self.dir = tempfile.mkdtemp(prefix='bench-disk-')
        self.disk = os.path.join(self.dir, 'disk')
        os.mkdir(self.disk)
        subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=16m', 'bench', self.disk], check=True)
        ini = os.path.join(self.dir, 'circus.ini')
        with open(ini, 'w') as f:
            f.write(INI.replace('DIR', self.dir).replace('SHELL', shutil.which('sh')))
        self.log = os.path.join(self.dir, 'log')
        log = open(self.log, 'w')
        self.process = subprocess.Popen([program, ini], cwd=self.dir, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect('ipc://%s/endpoint' % self.dir)
        self.call('numwatchers')

    def call(self, command, **properties):
        self.socket.send_json({'id': '1', 'command': command, 'properties': properties})
        if not self.socket.poll(60000):
            raise SystemExit('no answer to ' + command)
        return self.socket.recv_json()

    def round_trips_ms(self, seconds):
        times, end = [], time.time() + seconds
        while time.time() < end:
            begin = time.perf_counter()
            self.call('status')
            times.append((time.perf_counter() - begin) * 1e3)
            time.sleep(.002)
        return sorted(times)

    def wait_until(self, what, look):
        end = time.time() + 60
        while not look():
            if time.time() > end:
                raise SystemExit('not within a minute: %s\n%s' % (what, read(self.log).decode()))
            time.sleep(.01)

    def rss_mb(self):
        with open('/proc/%d/status' % self.process.pid) as f:
            return int(re.search(r'VmRSS:\s+(\d+)', f.read())[1]) / 1024

    def end(self):
        terminate(self.process)
        subprocess.run(['umount', '-l', self.disk], check=True)
        shutil.rmtree(self.dir)


def show(name, times):
    print('%-22s median %6.3f ms, p99 %6.3f ms, worst %6.3f ms, %d commands'
          % (name, times[len(times) // 2], times[int(len(times) * .99)], times[-1], len(times)))


def measure(daemon, seconds):
    ticker, flood = (os.path.join(daemon.disk, name) for name in ('ticker.log', 'flood.log'))
    daemon.wait_until('the ticker prints', lambda: os.path.exists(ticker) and read(ticker))
    show('nothing special', daemon.round_trips_ms(min(5, seconds)))
    daemon.call('start', name='flood')
    daemon.wait_until('the disk is full', lambda: b'cannot be written' in read(daemon.log))
    show('full disk', daemon.round_trips_ms(seconds))
    print('memory with a full disk: %.1f MB' % daemon.rss_mb())
    daemon.call('stop', name='flood', waiting=True)
    lines = len(read(ticker).splitlines())
    with open(flood, 'r+') as f:
        f.truncate(0)
    daemon.wait_until('the ticker goes on', lambda: len(read(ticker).splitlines()) > lines + seconds)
    daemon.wait_until('the gap is marked', lambda: b'are missing here' in read(flood))
    daemon.call('stop', name='ticker', waiting=True)
    text = read(ticker).decode()
    numbers = [int(line) for line in text.splitlines() if line.isdigit()]
    print('ticker: %d lines, %s; said %d times that it cannot be written'
          % (len(numbers), 'each once and in order' if numbers == list(range(1, len(numbers) + 1)) else 'NOT IN ORDER',
             read(daemon.log).count(b'output of ticker (stdout) cannot be written')))
    missing = re.findall(rb'circusd: (\d+) bytes', read(flood))
    print('flood: %s bytes said to be missing' % (b' + '.join(missing).decode() or 'no'))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--ours', required=True)
    parser.add_argument('--seconds', type=float, default=60)
    args = parser.parse_args()
    daemon = Daemon(os.path.abspath(args.ours))
    try:
        measure(daemon, args.seconds)
    finally:
        daemon.end()


if __name__ == '__main__':
    main()
