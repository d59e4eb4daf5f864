#!/usr/bin/env python3
"""How long a new circusd needs until it answers and knows all workers that the kernel hosts.

Starts a stack with many hosted workers, kills circusd with SIGKILL and measures from the exec of the next one to
the first reply that names all of them, and to the moment when all are followed (their output is read). Needs
pyzmq, as the virtual environment of the tests has it.
"""
import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import zmq

LINE = "sh -c 'while :; do echo x; sleep 1; done'"


def ini(folder, watchers, each, command, logs):
    lines = [
        "[circus]",
        f"endpoint = ipc://{folder}/endpoint",
        f"pubsub_endpoint = ipc://{folder}/pubsub",
        "multicast_endpoint =",
        f"papa_endpoint = ipc://{folder}/papa",
        "use_papa = true",
    ]
    for number in range(watchers):
        lines += [f"[watcher:w{number}]", f"cmd = {command}", f"numprocesses = {each}", "copy_env = true"]
        if logs:
            lines += [f"stdout_stream.filename = {folder}/w{number}.log"]
    path = os.path.join(folder, "circus.ini")
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")
    return path


class Client:
    def __init__(self, folder):
        self.context = zmq.Context()
        self.endpoint = f"ipc://{folder}/endpoint"

    def call(self, command, timeout=0.2, **properties):
        """The reply, or None when nobody answers in time."""
        socket = self.context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, 1)
        socket.connect(self.endpoint)
        socket.send(json.dumps({"id": "1", "command": command, "properties": properties}).encode())
        reply = json.loads(socket.recv()) if socket.poll(timeout * 1000) else None
        socket.close()
        return reply

    def wait_for(self, count, limit):
        """Seconds until a reply names so many processes."""
        begun = time.monotonic()
        while time.monotonic() < begun + limit:
            reply = self.call("numprocesses")
            if reply and reply.get("numprocesses") == count:
                return time.monotonic() - begun
        sys.exit(f"not {count} processes within {limit} s: {reply}")


def fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--circusd", default="target/release/circusd")
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--watchers", type=int, default=20)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--printing", action="store_true", help="each worker prints a line a second into a file")
    args = parser.parse_args()
    each = args.workers // args.watchers
    count = each * args.watchers
    folder = tempfile.mkdtemp(prefix="recovery-")
    command = LINE if args.printing else "sleep 100000"
    path = ini(folder, args.watchers, each, command, args.printing)
    client = Client(folder)
    log = open(os.path.join(folder, "log"), "a")
    start = lambda: subprocess.Popen([os.path.abspath(args.circusd), path], stdout=log, stderr=log, cwd=folder)
    circusd = start()
    try:
        print(f"started {count} workers in {client.wait_for(count, 300):.1f} s", flush=True)
        known, followed = [], []
        for _ in range(args.times):
            circusd.send_signal(signal.SIGKILL)
            circusd.wait()
            begun = time.monotonic()
            circusd = start()
            while not ((reply := client.call("numprocesses")) and reply.get("numprocesses") == count):
                pass
            known.append(time.monotonic() - begun)
            # Two descriptors for each worker: its pidfd and its watch connection.
            while fds(circusd.pid) < 2 * count:
                time.sleep(0.01)
            followed.append(time.monotonic() - begun)
        for name, times in (("knows all", known), ("follows all", followed)):
            print(f"{name}: median {statistics.median(times) * 1000:.0f} ms, worst {max(times) * 1000:.0f} ms")
    finally:
        client.call("stop", timeout=60, waiting=True)
        client.call("quit", timeout=10, waiting=True)
        circusd.kill()
        shutil.rmtree(folder, ignore_errors=True)


main()
