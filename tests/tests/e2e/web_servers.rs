//! Python's web servers as users run them under circusd: their workers are replaced while requests come, and none
//! of those fails.

use super::load::Load;
use super::python_hooks::{module, world};
use circus_e2e::{Daemon, Python, TestEnv, env, program};
use serde_json::{Value, json};

/// Clients at a time; more than there are workers.
const CLIENTS: usize = 6;

/// An application that says which process has answered. Its worker ends between two requests.
const APPLICATION: &str = "import os, select, signal, socketserver
ending, told = [], os.pipe()

def end(*_):
    ending.append(True)
    os.write(told[1], b'.')

signal.signal(signal.SIGTERM, end)

def between_requests(server):
    if ending:
        raise KeyboardInterrupt

socketserver.BaseServer.service_actions = between_requests

def application(environ, start_response):
    # Requests are under way while workers are replaced: until the worker is to end, or for a while.
    select.select([told[0]], [], [], 0.02)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%d' % os.getpid()]
";

/// The same for a server that knows how to end.
const PLAIN_APPLICATION: &str = "import os, select, uwsgi

def application(environ, start_response):
    # Requests are under way while workers are replaced: until the client leaves, or for a while.
    select.select([uwsgi.connection_fd()], [], [], 0.02)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%d' % os.getpid()]
";

/// Hooks that replace a uWSGI without losing a request: a new one counts as started when its workers can answer,
/// an old one gets its signal when its workers have finished. `stats` says what the workers have done.
const HOOKS: &str = "import json, os, select, signal, socket, time
from circus import logger

PATIENCE = 50

def workers(watcher, pid):
    path = os.path.join(watcher.working_dir, 'stats-%s' % watcher.processes[pid].wid)
    peer = socket.socket(socket.AF_UNIX)
    try:
        peer.connect(path)
        with peer.makefile() as text:
            return json.load(text)['workers']
    finally:
        peer.close()

def wait_for(watcher, pid, states):
    end, gone = time.time() + PATIENCE, os.pidfd_open(pid)
    try:
        return wait_with(watcher, pid, states, end, gone)
    finally:
        os.close(gone)

def wait_with(watcher, pid, states, end, gone):
    while time.time() < end:
        try:
            found = workers(watcher, pid)
            if found and all(one['pid'] and one['status'] in states for one in found):
                return True
        except (OSError, ValueError):
            pass  # It has not come so far yet.
        # uWSGI does not tell when they change, but when it ends.
        if select.select([gone], [], [], 0.02)[0]:
            break
    logger.error('%s: the workers of %s are not %s', watcher.name, pid, states)
    return False

def children_started(watcher, arbiter, hook_name, pid, **kwargs):
    return wait_for(watcher, pid, ('idle', 'busy'))

def clean_stop(watcher, arbiter, hook_name, pid, signum, **kwargs):
    if signum == signal.SIGQUIT and len(watcher.processes) > watcher.numprocesses:
        watcher.send_signal(pid, signal.SIGTSTP)
        wait_for(watcher, pid, ('pause',))
    return True

def with_requests(watcher, arbiter, hook_name, pid, stats, **kwargs):
    requests = {one['pid']: one['requests'] for one in workers(watcher, pid)}
    stats['requests'] = sum(requests.values())
    stats['label'] = dict(watcher.options())['label']
    for child in stats['children']:
        child['requests'] = requests[child['pid']]
";

/// Waits for the first generation of workers, then has circusctl make another, first ours and then the original.
fn three_generations(
    env: &TestEnv,
    circusd: &Daemon,
    python: &Python,
    count: usize,
    mut look: impl FnMut(&[i32]),
) {
    let mut seen = Vec::new();
    let mut generation = || {
        let pids = circusd.wait_until("all workers are new", || {
            let pids = circusd.pids("web");
            (pids.len() == count && pids.iter().all(|pid| !seen.contains(pid))).then_some(pids)
        });
        look(&pids);
        seen.extend(pids);
    };
    generation();
    for circusctl in [program::built("circusctl"), python.program("circusctl")] {
        let words =
            ["--endpoint", &env.endpoint(), "--timeout", "60", "reload", "web", "--waiting"];
        let run = program::run(&circusctl, &words);
        assert!(run.status.success(), "{run:?}");
        generation();
    }
}

#[test]
fn workers_of_chaussette_on_a_socket_of_circusd_are_replaced_without_a_failed_request() {
    let test = "chaussette";
    let (Some(python), Some(servers)) = (Python::for_test(test), Python::with_servers(test)) else {
        return;
    };
    let (env, port) = (TestEnv::new(), env::free_port());
    module(&env, "app", APPLICATION);
    let circusd = env.start(&format!(
        "[socket:web]\nhost = 127.0.0.1\nport = {port}\n\
         [watcher:web]\ncmd = {} --fd $(circus.sockets.web) app.application\n\
         use_sockets = True\nnumprocesses = 3\n",
        servers.program("chaussette").display()
    ));
    let load = Load::on(port, CLIENTS);
    three_generations(&env, &circusd, python, 3, |pids| {
        load.wait_for_answers_of(pids);
    });
    load.end();
}

#[test]
fn uwsgi_is_replaced_without_a_failed_request_by_hooks_that_wait_for_its_workers() {
    let test = "uWSGI";
    let (Some(python), Some(servers)) = (Python::for_test(test), Python::with_servers(test)) else {
        return;
    };
    let (env, port) = (world(test).expect("it has a Python"), env::free_port());
    module(&env, "app", PLAIN_APPLICATION);
    module(&env, "lossless", HOOKS);
    let circusd = env.start(&format!(
        "[socket:web]\nhost = 127.0.0.1\nport = {port}\n\
         [watcher:web]\ncmd = {} --http-socket fd://$(circus.sockets.web) --master --processes 2 \
         --need-app --wsgi-file app.py --stats stats-$(circus.wid)\n\
         use_sockets = True\nstop_signal = QUIT\nlabel = blue\n\
         hooks.after_spawn = lossless.children_started\nhooks.before_signal = lossless.clean_stop\n\
         hooks.extended_stats = lossless.with_requests\n",
        servers.program("uwsgi").display()
    ));
    let load = Load::on(port, CLIENTS);
    three_generations(&env, &circusd, python, 1, |pids| {
        let workers = circusd.wait_until("both of its workers have answered", || {
            let reply = circusd.ok("stats", json!({"name": "web", "extended": true}));
            let stats = &reply["info"][pids[0].to_string()];
            let done = |of: &Value| of["requests"].as_i64().is_some_and(|requests| requests > 0);
            let workers: Vec<i32> = stats["children"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|child| done(child))
                .filter_map(|child| i32::try_from(child["pid"].as_i64()?).ok())
                .collect();
            let all = workers.len() == 2 && done(stats) && stats["label"] == "blue";
            all.then_some(workers)
        });
        load.wait_for_answers_of(&workers);
    });
    load.end();
}
