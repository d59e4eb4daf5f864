#!/usr/bin/env bash
# Refreshes docs/screens/: what circus-top shows, captured with tmux at 80x24 and 160x50.
# Usage: docs/screens/top.sh [DIRECTORY WITH THE PROGRAMS]   (target/debug without it)
set -euo pipefail
programs=$(realpath "${1:-$(dirname "$0")/../../target/debug}")
cd "$(dirname "$0")"
folder=$(mktemp -d)
session=screens-$$
end() {
    tmux -L "$session" kill-server 2>/dev/null || true
    [ -z "${circusd:-}" ] || { kill "$circusd" 2>/dev/null || true; wait "$circusd" 2>/dev/null || true; }
    rm -rf "$folder"
}
trap end EXIT

cat >"$folder/burner.py" <<'PY'
import math, time

while True:
    # More and less in turn, so that the pictures show something.
    end = time.time() + .02 * (1 + math.sin(time.time() / 2))
    while time.time() < end:
        pass
    time.sleep(.1)
PY
cat >"$folder/circus.ini" <<INI
[circus]
endpoint = ipc://$folder/control
pubsub_endpoint = ipc://$folder/events
stats_endpoint = ipc://$folder/stats
multicast_endpoint =
statsd = True
loglevel = error
[env]
PATH = \$PATH
[socket:web]
host = 127.0.0.1
port = 0
[watcher:web]
cmd = python3 -c "import time; time.sleep(1000)"
numprocesses = 3
[watcher:burner]
cmd = sh -c "nice python3 $folder/burner.py & wait"
numprocesses = 2
[watcher:crasher]
cmd = sh -c "sleep 2; echo out of memory; exit 1"
stdout_stream.class = FileStream
stdout_stream.filename = $folder/crasher.log
[watcher:many]
cmd = sleep 1000
numprocesses = 12
INI
"$programs/circusd" "$folder/circus.ini" >"$folder/log" 2>&1 &
circusd=$!

# capture NAME COLUMNS LINES KEYS WORD: starts circus-top, waits for WORD, presses KEYS, keeps the screen.
capture() {
    local name=$1 columns=$2 lines=$3 keys=$4 word=$5 shown=
    tmux -L "$session" -f /dev/null new-session -d -s "$name" -x "$columns" -y "$lines" \
        "LANG=C.UTF-8 exec '$programs/circus-top' --endpoint 'ipc://$folder/stats' --circusd 'ipc://$folder/control'"
    for _ in $(seq 300); do
        shown=$(tmux -L "$session" capture-pane -p -t "$name")
        grep -q -- "$word" <<<"$shown" && break
        sleep .1
    done
    [ -z "$keys" ] || tmux -L "$session" send-keys -t "$name" $keys
    sleep 12 # Some rounds, so that the pictures show something.
    tmux -L "$session" capture-pane -p -t "$name" >"$name.txt"
    tmux -L "$session" kill-session -t "$name"
}

capture circus-top-80x24 80 24 "" burner
capture circus-top-160x50 160 50 "t" burner
capture circus-top-details-80x24 80 24 "/ c r a s h Enter Enter" burner
capture circus-top-help-80x24 80 24 "h" burner
