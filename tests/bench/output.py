#!/usr/bin/env python3
"""Measures how output gets into log files: ours beside the original and, where they are installed, Supervisor, s6-log
and svlogd.

  tests/bench/output.py --ours target/release/circusd [--original VENV/bin/circusd] [--mib 1024] [--quick]

Needs a C compiler for the worker. tests/bench/README.md says what the figures mean.
"""
import argparse, os, shutil, signal, statistics, subprocess, sys, tempfile, time

from processes import read, terminate

WORKER = r'''
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
/* flood MIB: lines of 100 bytes as fast as they are taken. ticks N: a line with its time, N times. */
int main(int argc, char **argv) {
    static char block[6400 * 10];
    long n = atol(argv[2]);
    if (!strcmp(argv[1], "flood")) {
        for (size_t at = 0; at < sizeof block; at += 100) {
            memset(block + at, 'x', 99);
            block[at + 99] = '\n';
        }
        for (long left = (n << 20) / 100 * 100; left > 0; ) {
            size_t part = left < (long)sizeof block ? left : (long)sizeof block;
            for (size_t done = 0; done < part; ) {
                ssize_t count = write(1, block + done, part - done);
                if (count < 0) return 1;
                done += count;
            }
            left -= part;
        }
    } else {
        for (; n > 0; n--) {
            struct timespec now, pause = {0, 1000000 + random() % 2000000};
            char line[64];
            clock_gettime(CLOCK_REALTIME, &now);
            int length = snprintf(line, sizeof line, "%ld.%09ld\n", (long)now.tv_sec, now.tv_nsec);
            if (write(1, line, length) < 0) return 1;
            nanosleep(&pause, NULL);
        }
    }
    if (write(1, "END\n", 4) < 0) return 1;
    for (;;) pause();
}
'''


def cpu(pid):
    fields = read('/proc/%d/stat' % pid).rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK') if fields else 0


def marked(directory):
    """The programs of a test: whoever has its directory in the command line, but the workers."""
    found = []
    for entry in filter(str.isdigit, os.listdir('/proc')):
        words = read('/proc/%s/cmdline' % entry)
        if directory in words and int(entry) != os.getpid():
            found.append((int(entry), '/worker' in words.split('\0')[0]))
    return found


# The log writers of s6 and runit: files that are never rotated, as with the others, or as late as they can.
LOGGERS = {
    's6-log': lambda command, directory: [command, 'n100', 's268435455', directory],
    'svlogd': lambda command, directory: [command, directory],
}


class Run:
    """One program, one kind of stream, some workers."""

    def __init__(self, name, command, arguments, workers, options):
        self.dir = tempfile.mkdtemp(prefix='bench-output-')
        source = os.path.join(self.dir, 'worker.c')
        with open(source, 'w') as f:
            f.write(WORKER)
        self.worker = os.path.join(self.dir, 'worker')
        subprocess.run(['cc', '-O1', '-o', self.worker, source], check=True)
        self.log = os.path.join(self.dir, 'out.log')
        self.workers = []
        if name in LOGGERS:
            self.start_logger(LOGGERS[name], command, arguments, workers)
        else:
            self.start_supervisor(name, command, arguments, workers, options)

    def start_logger(self, words, command, arguments, workers):
        """Lets the workers write into the pipe that the logger reads, as their supervisors do."""
        directory = os.path.join(self.dir, 'log')
        os.mkdir(directory)
        self.log = os.path.join(directory, 'current')
        with open(os.path.join(directory, 'config'), 'w') as f:
            f.write('s0\nn0\n')
        output = open(os.path.join(self.dir, 'daemon.log'), 'w')
        self.process = subprocess.Popen(words(command, directory), cwd=self.dir, stdin=subprocess.PIPE, stderr=output)
        self.workers = [subprocess.Popen([self.worker, *arguments.split()], stdout=self.process.stdin)
                        for _ in range(workers)]
        self.process.stdin.close()

    def start_supervisor(self, name, command, arguments, workers, options):
        config = os.path.join(self.dir, 'config')
        with open(config, 'w') as f:
            if name == 'supervisor':
                f.write('[supervisord]\nnodaemon=true\nuser=root\nlogfile=%s/l\npidfile=%s/p\n[program:w]\n'
                        'command=%s %s\nnumprocs=%d\nprocess_name=%%(process_num)d\nstdout_logfile=%s\n'
                        'stdout_logfile_maxbytes=0\n' % (self.dir, self.dir, self.worker, arguments, workers, self.log))
            else:
                f.write('[circus]\nendpoint=ipc://%s/e\npubsub_endpoint=ipc://%s/s\n' % (self.dir, self.dir))
                if 'use_papa' in options:
                    f.write('papa_endpoint=ipc://%s/k\n' % self.dir)
                f.write('[watcher:w]\ncmd=%s %s\nnumprocesses=%d\nstdout_stream.class=FileStream\n'
                        'stdout_stream.filename=%s\n' % (self.worker, arguments, workers, self.log))
                f.writelines('%s = %s\n' % option for option in options.items())
        words = [command, '-c', config] if name == 'supervisor' else [command, config]
        output = open(os.path.join(self.dir, 'daemon.log'), 'w')
        self.process = subprocess.Popen(words, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def wait_for_end(self, expected):
        """Seconds from the first byte in the file until it has as many as expected, or the one worker has said that
        it is through."""
        begin = None
        while True:
            # Asked first, since a logger ends when it has written everything. It is not reaped, or its CPU time is gone.
            has_ended = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            size = self.size()
            if size and begin is None:
                begin = time.perf_counter()
            if expected and size >= expected:
                return time.perf_counter() - begin
            if size and not expected:
                with open(self.log, 'rb') as f:
                    f.seek(max(0, size - 200))
                    if b'END' in f.read():
                        return time.perf_counter() - begin
            if has_ended:
                raise SystemExit('it has ended:\n' + read(os.path.join(self.dir, 'daemon.log')))
            time.sleep(0.002)

    def size(self):
        """Bytes in the log and, where a logger has begun a new one, in those before."""
        names = [self.log]
        if self.workers:
            directory = os.path.dirname(self.log)
            names = [os.path.join(directory, name) for name in os.listdir(directory) if name == 'current' or name[0] == '@']
        return sum(os.path.getsize(name) for name in names if os.path.exists(name))

    def latencies(self, count):
        """Milliseconds from the write of a line to its being in the file."""
        while not os.path.exists(self.log):
            time.sleep(0.001)
        times, rest = [], b''
        with open(self.log, 'rb', buffering=0) as f:
            while len(times) < count:
                data = f.read(65536)
                if not data:
                    continue
                now = time.time()
                *lines, rest = (rest + data).split(b'\n')
                times += [(now - float(line.split()[-1])) * 1e3 for line in lines if b'END' not in line]
                if any(b'END' in line for line in lines):
                    break
        return times

    def missing(self):
        """Bytes that the log says are missing."""
        found = subprocess.run(['grep', '-a', 'of output are missing here', self.log], capture_output=True, text=True)
        return sum(int(line.split('circusd: ')[1].split()[0]) for line in found.stdout.splitlines())

    def cpu(self):
        # The original has another title, but is our child like the others; the kernel is not.
        own = {self.process.pid} | {pid for pid, is_worker in marked(self.dir) if not is_worker}
        return sum(map(cpu, own))

    def end(self):
        terminate(self.process)
        for pid, _ in marked(self.dir):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        for worker in self.workers:
            worker.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def measure(name, command, args):
    figures = {}
    prefix = {'stdout_stream.time_format': '%Y-%m-%d %H:%M:%S'}
    kinds = [('plain', {}, 1), ('ten_writers', {}, 10)]
    if name != 'supervisor' and name not in LOGGERS:
        kinds += [('time_format', prefix, 1)]
    if name == 'ours':
        kinds += [('hosted', {'use_papa': 'True'}, 1), ('hosted_time_format', {'use_papa': 'True', **prefix}, 1)]
    for kind, options, workers in kinds:
        print('measuring', name, kind, '...', file=sys.stderr, flush=True)
        run = Run(name, command, 'flood %d' % (args.mib // workers), workers, options)
        try:
            each = (args.mib // workers << 20) // 100 * 100 + 4
            seconds = run.wait_for_end(workers * each if workers > 1 or name in LOGGERS else 0)
            figures[kind + '_mb_s'] = (args.mib << 20) / 1e6 / seconds
            figures[kind + '_cpu_s_per_gib'] = run.cpu() * 1024 / args.mib
            if 'use_papa' in options:
                figures[kind + '_lost_mb'] = run.missing() / 1e6
        finally:
            run.end()
    for kind, options in [('latency', {})] + ([('hosted_latency', {'use_papa': 'True'})] if name == 'ours' else []):
        run = Run(name, command, 'ticks 500', 1, options)
        try:
            times = sorted(run.latencies(500))
            figures[kind + '_median_ms'] = statistics.median(times)
            figures[kind + '_p99_ms'] = times[int(len(times) * .99)]
        finally:
            run.end()
    return figures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--ours', required=True)
    parser.add_argument('--original')
    parser.add_argument('--mib', type=int, default=1024)
    parser.add_argument('--quick', action='store_true', help='64 MiB instead of 1 GiB')
    args = parser.parse_args()
    if args.quick:
        args.mib = 64
    programs = {'ours': os.path.abspath(args.ours)}
    if args.original:
        programs['circus 0.17.2'] = os.path.abspath(args.original)
    others = {'supervisor': 'supervisord', **{name: name for name in LOGGERS}}
    programs.update((name, shutil.which(program)) for name, program in others.items() if shutil.which(program))
    results = {name: measure(name, command, args) for name, command in programs.items()}
    print('%-32s' % ('%d MiB' % args.mib) + ''.join('%16s' % name for name in results))
    for row in dict.fromkeys(key for figures in results.values() for key in figures):
        cells = ['%16s' % ('%.3f' % figures[row] if row in figures else '-') for figures in results.values()]
        ours, theirs = results['ours'].get(row), results.get('circus 0.17.2', {}).get(row)
        print('%-32s' % row + ''.join(cells) + ('%12.2f' % (ours / theirs) if ours and theirs else ''))


if __name__ == '__main__':
    main()
