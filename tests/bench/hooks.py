#!/usr/bin/env python3
"""Measures how fast circusd answers while a hook of another watcher sleeps, beside the original.

  tests/bench/hooks.py --ours target/release/circusd [--original VENV/bin/circusd] [--commands 2000]

Run it with a Python that has pyzmq. Three rounds each: without a hook, with a Python hook that sleeps, and (ours
only) with a program that sleeps. tests/bench/README.md says what the figures mean.
"""
import argparse, json, os, shutil, signal, subprocess, sys, tempfile, time

import zmq

INI = '''
[circus]
endpoint = ipc://DIR/endpoint
pubsub_endpoint = ipc://DIR/pubsub
multicast_endpoint =
check_delay = 5
PYTHON
[watcher:quick]
cmd = sleep 1000
numprocesses = 5
[watcher:slow]
cmd = sleep 1000
autostart = false
HOOK
'''

MODULE = '''
import time
def sleep(**kwargs):
    open('DIR/asleep', 'w').close()
    time.sleep(SECONDS)
    return True
'''


class Daemon:
    def __init__(self, program, hook, seconds, ours):
        self.dir = tempfile.mkdtemp(prefix='bench-')
        script = os.path.join(self.dir, 'sleep.sh')
        self.write('sleeping.py', MODULE.replace('SECONDS', str(seconds)))
        self.write('sleep.sh', '#!/bin/sh\ntouch DIR/asleep\nexec sleep %s\n' % seconds)
        os.chmod(script, 0o755)
        line = {'none': '', 'python': 'hooks.before_start = sleeping.sleep', 'program': 'hooks.before_start = ' + script}
        ini = INI.replace('HOOK', line[hook] + ('\nhooks.timeout = 0' if ours and hook != 'none' else ''))
        self.write('circus.ini', ini.replace('PYTHON', 'python = ' + sys.executable if ours else ''))
        log = open(os.path.join(self.dir, 'log'), 'w')
        self.process = subprocess.Popen([program, os.path.join(self.dir, 'circus.ini')], cwd=self.dir, stdout=log,
                                        stderr=log, stdin=subprocess.DEVNULL, env=dict(os.environ, PYTHONPATH=self.dir))
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect('ipc://%s/endpoint' % self.dir)
        self.call('numwatchers', {})
        while self.call('status', {'name': 'quick'})['status'] != 'active':
            time.sleep(0.05)

    def write(self, name, text):
        with open(os.path.join(self.dir, name), 'w') as f:
            f.write(text.replace('DIR', self.dir))

    def send(self, command, properties):
        self.socket.send_json({'id': command, 'command': command, 'properties': properties})

    def call(self, command, properties):
        self.send(command, properties)
        return self.socket.recv_json()

    def latencies(self, count):
        """Milliseconds from a request to its reply."""
        times = []
        for number in range(count):
            command = ('list', 'status', 'options', 'numprocesses')[number % 4]
            begin = time.perf_counter()
            self.call(command, {'name': 'quick'})
            times.append((time.perf_counter() - begin) * 1000)
        return sorted(times)

    def fall_asleep(self, wait):
        """Starts the watcher whose hook sleeps, on a connection of its own: the original answers late."""
        other = self.context.socket(zmq.DEALER)
        other.linger = 0
        other.connect('ipc://%s/endpoint' % self.dir)
        other.send_json({'id': 'start', 'command': 'start', 'properties': {'name': 'slow'}})
        while wait and not os.path.exists(os.path.join(self.dir, 'asleep')):
            time.sleep(0.01)

    def end(self):
        for kind in (signal.SIGTERM, signal.SIGTERM):
            self.process.send_signal(kind)
            try:
                self.process.wait(3)
                break
            except subprocess.TimeoutExpired:
                pass
        else:
            self.process.kill()
            self.process.wait()
        self.context.destroy(linger=0)
        shutil.rmtree(self.dir)


def measure(program, hook, args, ours):
    # The original answers nothing while the hook sleeps; a second of it says as much as a minute.
    seconds, count = (600, args.commands) if ours or hook == 'none' else (1, 8)
    daemon = Daemon(program, hook, seconds, ours)
    try:
        daemon.latencies(100)
        if hook != 'none':
            daemon.fall_asleep(True)
        times = daemon.latencies(count)
        return {'median_ms': times[len(times) // 2], 'p99_ms': times[min(len(times) - 1, len(times) * 99 // 100)],
                'max_ms': times[-1], 'commands': len(times)}
    finally:
        daemon.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--ours', required=True)
    parser.add_argument('--original')
    parser.add_argument('--commands', type=int, default=2000)
    args = parser.parse_args()
    rounds = [('ours', os.path.abspath(args.ours), hook, True) for hook in ('none', 'python', 'program')]
    if args.original:
        rounds += [('circus', os.path.abspath(args.original), hook, False) for hook in ('none', 'python')]
    for name, program, hook, ours in rounds:
        figures = measure(program, hook, args, ours)
        print(json.dumps({'daemon': name, 'sleeping hook': hook, **{k: round(v, 3) for k, v in figures.items()}}),
              flush=True)


if __name__ == '__main__':
    main()
