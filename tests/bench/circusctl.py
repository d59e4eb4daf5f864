#!/usr/bin/env python3
"""How long a command of circusctl takes as a whole process, ours and the original's in one run.

Both ask the same circusd for its status, in turns, so that a busy machine is busy for both. Prints the
median of each, the ratio, and whether both are within their bounds (exit code 1 if not).
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

BOUND_MS = 10
BOUND_RATIO = 15

INI = """[circus]
endpoint = ipc://{directory}/endpoint
pubsub_endpoint = ipc://{directory}/pubsub
multicast_endpoint =
[watcher:web]
cmd = sleep 100000
numprocesses = 3
[watcher:worker]
cmd = sleep 100000
"""


def timed(command, env):
    """Runs a command; gives milliseconds and its output."""
    begun = time.perf_counter()
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return (time.perf_counter() - begun) * 1000, done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--circusd", required=True, help="the circusd that both ask")
    parser.add_argument("--ours", required=True, help="our circusctl")
    parser.add_argument("--original", required=True, help="the circusctl of circus 0.17.2")
    parser.add_argument("--rounds", type=int, default=50)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        ini = pathlib.Path(directory, "circus.ini")
        ini.write_text(INI.format(directory=directory))
        env = dict(os.environ, CIRCUSCTL_ENDPOINT=f"ipc://{directory}/endpoint")
        daemon = subprocess.Popen([args.circusd, ini], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            timed([args.ours, "--timeout", "30", "start", "--waiting"], env)
            times = {"ours": [], "original": []}
            outputs = set()
            for _ in range(args.rounds):
                for who in times:
                    milliseconds, output = timed([getattr(args, who), "status"], env)
                    times[who].append(milliseconds)
                    outputs.add(output)
            assert outputs == {"web: active\nworker: active\n"}, outputs
        finally:
            subprocess.run([args.ours, "quit", "--waiting"], env=env, stdout=subprocess.DEVNULL)
            daemon.wait()
    ours, original = (statistics.median(times[who]) for who in ("ours", "original"))
    good = ours <= BOUND_MS and original / ours >= BOUND_RATIO
    print(json.dumps({
        "status_ms_ours": round(ours, 2),
        "status_ms_original": round(original, 1),
        "ratio": round(original / ours, 1),
        "rounds": args.rounds,
        "within_bounds": good,
    }, indent=2))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
