#!/usr/bin/env bash
# Refreshes the captures of circusctl's shell: docs/screens/shell.sh [BINARIES]
# BINARIES is where circusd and circusctl are, target/debug without it. Needs tmux.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "${1:-$here/../../target/debug}" && pwd)

work=$(mktemp -d)
tmux=(tmux -L "circus-screens-$$" -f /dev/null)
stop() {
    "${tmux[@]}" kill-server 2>/dev/null || true
    "$bin/circusctl" --endpoint "ipc://$work/endpoint" quit --waiting >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap stop EXIT

cat >"$work/circus.ini" <<INI
[circus]
endpoint = ipc://$work/endpoint
pubsub_endpoint = ipc://$work/pubsub
multicast_endpoint =
[watcher:web]
cmd = sh -c 'while :; do echo "served a page"; sleep 1; done'
numprocesses = 2
stdout_stream.class = FileStream
stdout_stream.filename = $work/web.log
[watcher:mailer]
cmd = sh -c 'echo "no route to smtp.example.org" >&2; exit 75'
stderr_stream.class = FileStream
stderr_stream.filename = $work/mailer.log
[watcher:nightly]
cmd = sleep 100000
autostart = false
INI
"$bin/circusd" "$work/circus.ini" >"$work/circusd.log" 2>&1 &
"$bin/circusctl" --endpoint "ipc://$work/endpoint" --timeout 30 status >/dev/null

# Waits until the screen ends with a prompt that waits for a line.
prompt() {
    for _ in $(seq 200); do
        "${tmux[@]}" capture-pane -p | sed '/^$/d' | tail -n 1 | grep -qx '(circusctl) *' && return
        sleep 0.05
    done
    echo "no prompt appears:" >&2
    "${tmux[@]}" capture-pane -p >&2
    exit 1
}

capture() {
    local width=$1 height=$2
    "${tmux[@]}" new-session -d -x "$width" -y "$height" \
        "env XDG_STATE_HOME=$work NO_COLOR=1 TZ=UTC '$bin/circusctl' --endpoint ipc://$work/endpoint"
    prompt
    for line in "list web" "incr web --waiting" "why mailer" "statsu"; do
        "${tmux[@]}" send-keys -l "$line"
        "${tmux[@]}" send-keys Enter
        prompt
    done
    # TAB completes the only watcher that begins so.
    "${tmux[@]}" send-keys -l "status ni"
    "${tmux[@]}" send-keys Tab Enter
    prompt
    "${tmux[@]}" capture-pane -p | sed 's/ *$//' >"$here/shell-${width}x$height.txt"
    "${tmux[@]}" send-keys C-d
    "${tmux[@]}" kill-session 2>/dev/null || true
}

capture 80 24
capture 160 50
