//! ResourceWatcher, HttpObserver and RedisObserver beside the recordings of the originals.

use super::recorded_plugins::{Bench, Recorded, Sent};
use circus_e2e::{PATIENCE, env, program, python};
use regex::Regex;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The recording in which all of these run. In that of 0.17.2 the observers of HTTP and Redis crash.
const RECORDING: &str = "observers_0.12.1.jsonl";

const IDLE: &str = "[watcher:idle]\ncmd = sleep 1000\n";
const VICTIM: &str = "[watcher:victim]\ncmd = sleep 1000\n";

/// Four looks a second in place of the one of the recordings.
const QUICK: (&str, &str) = ("loop_rate", "0.25");

/// A command without an answer.
fn cast(name: &str, properties: Value) -> Sent {
    Sent::Command(name.to_owned(), properties, true)
}

/// Runs a recorded case of ResourceWatcher up to its first restart, and gives the metrics and commands of the
/// recording up to there.
fn restarts_as_recorded(application: &str, sections: &str, others: &[(&str, &str)]) {
    for file in [RECORDING, "observers_0.17.2.jsonl"] {
        let recorded = Recorded::find(file, application);
        let restarting = |metric: &String| metric.ends_with(".restarting:1|c");
        let metrics = recorded.metrics();
        let end = metrics.iter().position(restarting).expect("a restart") + 1;
        let bench = Bench::new(sections);
        let watcher = recorded.options.iter().find(|(key, _)| key == "watcher").expect("named");
        let pids = bench.circusd.wait_for_pids(&watcher.1, 1);
        let plugin = bench.plugin(&recorded.class, &recorded.options(others));
        assert_eq!(
            bench.take(end, 1),
            (metrics[..end].to_vec(), recorded.commands()[..1].to_vec())
        );
        bench.circusd.wait_until("it is restarted", || {
            let now = bench.circusd.pids(&watcher.1);
            (now.len() == 1 && now != pids).then_some(())
        });
        plugin.interrupt();
    }
}

#[test]
fn too_much_cpu_leads_to_a_restart_as_recorded() {
    let burn = "[watcher:burn]\ncmd = sh -c \"while :; do :; done\"\n";
    // A busy machine may give it less than the half of a core that it uses in the recording.
    restarts_as_recorded("rw-cpu", burn, &[QUICK, ("max_cpu", "1"), ("max_mem", "0")]);
}

#[test]
fn too_little_cpu_leads_to_a_restart_as_recorded() {
    restarts_as_recorded("rw-mincpu", IDLE, &[QUICK]);
}

#[test]
fn too_much_memory_leads_to_a_restart_as_recorded() {
    restarts_as_recorded("rw-maxmem-abs", IDLE, &[QUICK]);
}

#[test]
fn too_little_memory_leads_to_a_restart_as_recorded() {
    restarts_as_recorded("rw-minmem-abs", IDLE, &[QUICK]);
}

#[test]
fn one_question_each_time_and_a_restart_when_it_is_once_too_often() {
    let recorded = Recorded::find(RECORDING, "rw-mincpu");
    let bench = Bench::new(IDLE);
    bench.circusd.wait_for_pids("idle", 1);
    let plugin = bench.plugin(&recorded.class, &recorded.options(&[QUICK]));
    let is_command = |sent: &&Sent| matches!(sent, Sent::Command(..));
    let commands: Vec<Sent> = recorded.sent.iter().filter(is_command).take(4).cloned().collect();
    let next = std::iter::from_fn(|| Some(bench.next()));
    let ours: Vec<Sent> = next.filter(|sent| is_command(&sent)).take(4).collect();
    assert_eq!(ours, commands);
    plugin.interrupt();
}

#[test]
fn a_watcher_that_is_not_there_is_told_as_recorded() {
    let recorded = Recorded::find(RECORDING, "rw-nosuch");
    let bench = Bench::new(IDLE);
    let plugin = bench.plugin(&recorded.class, &recorded.options(&[QUICK]));
    assert_eq!(bench.take(2, 0).0, recorded.metrics()[..2]);
    plugin.wait_for_log("program nosuch not found");
    plugin.interrupt();
}

#[test]
fn a_watcher_must_be_named_and_its_old_option_still_names_it() {
    let bench = Bench::new(IDLE);
    let nameless = Recorded::find(RECORDING, "rw-nowatcher");
    let plugin = bench.plugin(&nameless.class, &nameless.options(&[]));
    plugin.wait_for_log(
        "[plugin:under-test] watcher is missing; name the watcher to look at, `watcher = NAME`",
    );
    assert_eq!(plugin.wait(), Some(nameless.exit));
    let old = Recorded::find(RECORDING, "rw-service");
    assert_eq!(old.metrics(), [""; 0]);
    let plugin = bench.plugin(&old.class, &old.options(&[QUICK]));
    for _ in 0..2 {
        assert_eq!(bench.next(), Sent::Command("stats".into(), json!({"name": "idle"}), false));
    }
    plugin.wait_for_log("the option `service` is called `watcher` now");
    plugin.interrupt();
}

/// docs/differences.md, "Plugins that watch": what children use counts.
#[test]
fn a_child_that_uses_too_much_gets_the_signal_alone() {
    let recorded = Recorded::find(RECORDING, "rw-child");
    assert_eq!(recorded.metrics(), [""; 0], "the original never sees their CPU");
    let script = "#!/bin/sh\nsh -c 'while :; do :; done' &\necho $! > child\nwait\nsleep 1000\n";
    let bench = Bench::new("[watcher:tree]\ncmd = sh tree.sh\nautostart = False\n");
    std::fs::write(bench.env.path("tree.sh"), script).expect("written");
    bench.circusd.ok("start", json!({"name": "tree"}));
    let parent = bench.circusd.wait_for_pids("tree", 1)[0];
    let options = recorded.options(&[QUICK, ("max_cpu", "1"), ("max_mem", "0")]);
    let plugin = bench.plugin(&recorded.class, &options);
    let (metrics, commands) = bench.take(4, 1);
    let metric = |what| format!("circus.rw-child.watcher._resource_watcher.tree.{what}:1|c");
    let over = metric("over_cpu");
    assert_eq!(metrics, [over.clone(), over.clone(), over, metric("restarting")]);
    let child: i32 = std::fs::read_to_string(bench.env.path("child"))
        .expect("written")
        .trim()
        .parse()
        .expect("a pid");
    let order = json!({"name": "tree", "pid": parent, "childpid": child, "signum": 15});
    assert_eq!(commands, [cast("signal", order)]);
    bench
        .circusd
        .wait_until("the child ends", || (!circus_e2e::process::is_alive(child)).then_some(()));
    assert_eq!(bench.circusd.pids("tree"), [parent], "its parent lives on");
    plugin.interrupt();
}

/// docs/differences.md, "Plugins that watch": what is stopped stays stopped.
#[test]
fn limits_from_below_do_not_start_what_is_stopped() {
    let bench = Bench::new(&IDLE.replace("cmd", "autostart = False\ncmd"));
    let recorded = Recorded::find(RECORDING, "rw-mincpu");
    let options = recorded.options(&[QUICK, ("min_mem", "10M"), ("max_count", "0")]);
    let plugin = bench.plugin(&recorded.class, &options);
    for _ in 0..4 {
        assert_eq!(bench.next(), Sent::Command("stats".into(), json!({"name": "idle"}), false));
    }
    assert_eq!(bench.circusd.ok("status", json!({"name": "idle"}))["status"], "stopped");
    bench.circusd.ok("start", json!({"name": "idle"}));
    let prefix = "circus.rw-mincpu.watcher._resource_watcher.idle.";
    bench.wait_for(&Sent::Metric(format!("{prefix}under_memory:1|c")));
    plugin.interrupt();
}

/// A program that a test has started.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Python's HTTP server: `/` is a page, `/fail` an error, `/slow` never answers.
const WEB: &str = r#"
import http.server, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == '/slow':
            threading.Event().wait()
        self.send_response(500 if self.path == '/fail' else 200)
        self.end_headers()
        self.wfile.write(b'page')
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
server.daemon_threads = True
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

fn web(bench: &Bench, server: &str) -> (Peer, String) {
    let mut child = Command::new("python3")
        .args(["-c", server])
        .env(circus_e2e::process::MARK, bench.env.id())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there");
    let mut port = String::new();
    let output = child.stdout.take().expect("piped");
    BufReader::new(output).read_line(&mut port).expect("a port");
    (Peer(child), format!("http://127.0.0.1:{}", port.trim()))
}

/// The metrics of a recording as expressions for other times.
fn with_any_number(metrics: &[String]) -> Vec<Regex> {
    let number = Regex::new(r"[0-9.\\]+\\\|(ms|g)$").expect("an expression");
    let expression = |metric: &String| {
        let escaped = regex::escape(metric);
        Regex::new(&format!("^{}$", number.replace(&escaped, r"[0-9.]+\|$1"))).expect("valid")
    };
    metrics.iter().map(expression).collect()
}

fn assert_fit(ours: &[String], recorded: &[Regex]) {
    assert_eq!(ours.len(), recorded.len());
    for (metric, expression) in ours.iter().zip(recorded) {
        assert!(expression.is_match(metric), "{metric} is not {expression}");
    }
}

#[test]
fn the_time_of_every_page_is_told_as_recorded() {
    let recorded = Recorded::find(RECORDING, "http-ok");
    let bench = Bench::new(VICTIM);
    let (_web, url) = web(&bench, WEB);
    let plugin = bench.plugin(&recorded.class, &recorded.options(&[QUICK, ("check_url", &url)]));
    assert_fit(&bench.take(2, 0).0, &with_any_number(&recorded.metrics()[..2]));
    plugin.interrupt();
}

#[test]
fn errors_of_a_page_are_told_and_lead_to_a_restart_as_recorded() {
    for (application, path, others) in
        [("http-500", "/fail", QUICK), ("http-timeout", "/slow", ("timeout", "0.2"))]
    {
        let recorded = Recorded::find(RECORDING, application);
        let bench = Bench::new(VICTIM);
        bench.circusd.wait_for_pids("victim", 1);
        let (_web, url) = web(&bench, WEB);
        let url = url + path;
        let options = recorded.options(&[QUICK, ("check_url", &url), others]);
        let plugin = bench.plugin(&recorded.class, &options);
        let (metrics, commands) = bench.take(3, 1);
        assert_eq!(metrics, recorded.metrics()[..3]);
        assert_eq!(commands, recorded.commands()[..1]);
        plugin.wait_for_log(&format!("victim is restarted: {url}: "));
        plugin.interrupt();
    }
}

#[test]
fn a_web_server_that_is_not_there_is_told_as_recorded_and_found_when_it_comes() {
    let recorded = Recorded::find(RECORDING, "http-refused");
    let bench = Bench::new(VICTIM);
    let port = env::free_port();
    let url = format!("http://127.0.0.1:{port}/");
    let plugin = bench.plugin(&recorded.class, &recorded.options(&[QUICK, ("check_url", &url)]));
    assert_eq!((bench.take(4, 0).0, bench.others()), (recorded.metrics()[..4].to_vec(), vec![]));
    let late = WEB.replace("('127.0.0.1', 0)", &format!("('127.0.0.1', {port})"));
    let child = Command::new("python3")
        .args(["-c", &late])
        .env(circus_e2e::process::MARK, bench.env.id())
        .stdout(Stdio::null())
        .spawn();
    let _web = Peer(child.expect("python3 is there"));
    plugin.wait_for_log(&format!("{url} answers again"));
    plugin.interrupt();
}

/// docs/differences.md, "Plugins that watch": what is stopped stays stopped.
#[test]
fn a_watcher_that_somebody_has_stopped_is_not_started_by_an_observer() {
    let bench = Bench::new(&VICTIM.replace("cmd", "autostart = False\ncmd"));
    let url = format!("http://127.0.0.1:{}/", env::free_port());
    let options = [QUICK, ("check_url", url.as_str()), ("restart_on_error", "victim")];
    let plugin = bench.plugin("circus.plugins.http_observer.HttpObserver", &options);
    let (metrics, _) = bench.take(4, 0);
    let error = "circus.http_observer.watcher.http_stats.error";
    let once = [format!("{error}:1|c"), format!("{error}.599:1|c")];
    assert_eq!(metrics, [once.clone(), once].concat());
    assert_eq!(bench.others(), []);
    plugin.wait_for_log("victim is stopped and is left so");
    plugin.interrupt();
}

/// A real Redis on a port of its own.
fn redis(bench: &Bench, port: u16, more: &[&str]) -> Option<Peer> {
    let child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(bench.env.directory())
        .args(more)
        .env(circus_e2e::process::MARK, bench.env.id())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            python::unavailable("RedisObserver", &format!("redis-server: {error}"));
            return None;
        }
    };
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let mut lines = output.lines().map_while(Result::ok);
    let ready = lines.find(|line| line.contains("Ready to accept connections"));
    assert!(ready.is_some(), "redis-server does not start");
    // It goes on printing, so somebody has to go on reading.
    std::thread::spawn(move || lines.count());
    Some(Peer(child))
}

#[test]
fn the_figures_of_redis_are_told_as_recorded_and_go_on_after_a_missing_one() {
    let recorded = Recorded::find(RECORDING, "redis-ok");
    let bench = Bench::new(VICTIM);
    let port = env::free_port();
    let Some(_redis) = redis(&bench, port, &[]) else { return };
    let url = format!("redis://127.0.0.1:{port}/0");
    let plugin = bench.plugin(&recorded.class, &recorded.options(&[QUICK, ("redis_url", &url)]));
    // In the recording a figure that Redis has renamed ends each round after 15. docs/differences.md, "Plugins that
    // watch".
    let rest = [
        "mem_fragmentation_ratio",
        "expired_keys",
        "evicted_keys",
        "uptime_in_seconds",
        "keyspace_hits",
    ];
    let rest = rest.map(|key| format!("circus.redis-ok.watcher.redis_stats.{key}:1|g"));
    let round = [&recorded.metrics()[..15], &rest].concat();
    let two_rounds = with_any_number(&[round.clone(), round].concat());
    assert_fit(&bench.take(two_rounds.len(), 0).0, &two_rounds);
    plugin.interrupt();
}

#[test]
fn a_redis_that_ends_is_told_and_leads_to_a_restart_as_recorded_and_is_found_again() {
    let recorded = Recorded::find(RECORDING, "redis-down");
    let bench = Bench::new(VICTIM);
    bench.circusd.wait_for_pids("victim", 1);
    let port = env::free_port();
    let Some(server) = redis(&bench, port, &[]) else { return };
    let url = format!("redis://127.0.0.1:{port}/0");
    let plugin = bench.plugin(&recorded.class, &recorded.options(&[QUICK, ("redis_url", &url)]));
    let prefix = "circus.redis-down.watcher.redis_stats.";
    let is_figure = |sent: &Sent| matches!(sent, Sent::Metric(metric) if metric.ends_with("|g"));
    while !is_figure(&bench.next()) {}
    drop(server);
    let error = Sent::Metric(format!("{prefix}error:1|c"));
    bench.wait_for(&error);
    let metrics = recorded.metrics();
    let at = metrics.iter().position(|metric| metric.ends_with("error:1|c")).expect("an error");
    assert_eq!(Sent::Metric(metrics[at].clone()), error);
    assert_eq!(
        bench.take(1, 1),
        (vec![metrics[at + 1].clone()], vec![recorded.commands()[0].clone()])
    );
    let _again = redis(&bench, port, &[]).expect("as before");
    plugin.wait_for_log(&format!("Redis at 127.0.0.1:{port} answers again"));
    plugin.interrupt();
}

/// docs/differences.md, "Plugins that watch": a Redis that answers with an error is told, and not restarted.
#[test]
fn a_redis_that_wants_a_password_is_told_and_not_restarted() {
    let bench = Bench::new(VICTIM);
    let port = env::free_port();
    let Some(_redis) = redis(&bench, port, &[]) else { return };
    let cli = |words: &[&str]| {
        let port = port.to_string();
        let words = [&["-p", port.as_str()], words].concat();
        program::run("redis-cli".as_ref(), &words)
    };
    assert!(cli(&["config", "set", "requirepass", "secret"]).status.success());
    let url = format!("redis://127.0.0.1:{port}/0");
    let class = "circus.plugins.redis_observer.RedisObserver";
    let options = [QUICK, ("redis_url", url.as_str()), ("restart_on_timeout", "victim")];
    let plugin = bench.plugin(class, &options);
    let error = "circus.redis_observer.watcher.redis_stats.error:1|c";
    assert_eq!((bench.take(2, 0).0, bench.others()), (vec![error.to_owned(); 2], vec![]));
    plugin.interrupt();
    let with_password = format!("redis://:secret@127.0.0.1:{port}/0");
    let plugin = bench.plugin(class, &[QUICK, ("redis_url", with_password.as_str())]);
    let deadline = Instant::now() + PATIENCE;
    while !matches!(bench.next(), Sent::Metric(metric) if metric.ends_with("|g")) {
        assert!(Instant::now() < deadline, "no figures: {}", plugin.log());
    }
    assert!(!plugin.log().contains("secret"));
    plugin.interrupt();
}

/// A certificate for 127.0.0.1 that only who is told of it trusts.
fn certificate(bench: &Bench) -> [String; 2] {
    let [certificate, key] =
        ["certificate", "key"].map(|name| bench.env.path(name).display().to_string());
    let words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=here -addext \
                 subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
    let files = ["-out", &certificate, "-keyout", &key];
    let words: Vec<&str> = words.split_whitespace().chain(files).collect();
    let made = program::run("openssl".as_ref(), &words);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    [certificate, key]
}

#[test]
fn redis_and_web_servers_are_reached_over_tls_and_must_be_trusted() {
    let bench = Bench::new(VICTIM);
    let [certificate, key] = certificate(&bench);
    let tls = format!(
        "import ssl\ncontext = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
         context.load_cert_chain('{certificate}', '{key}')\n\
         server.socket = context.wrap_socket(server.socket, server_side=True)\nprint("
    );
    let (_web, url) = web(&bench, &WEB.replace("print(", &tls));
    let url = url.replace("http:", "https:");
    let port = env::free_port().to_string();
    let with_tls =
        ["--tls-port", &port, "--tls-auth-clients", "no", "--tls-cert-file", &certificate];
    let words = [&with_tls[..], &["--tls-key-file", &key, "--tls-ca-cert-file", &certificate]];
    let Some(_redis) = redis(&bench, 0, &words.concat()) else { return };
    let redis_url = format!("rediss://127.0.0.1:{port}/0");
    let (http, redis) = (
        ("circus.plugins.http_observer.HttpObserver", [QUICK, ("check_url", url.as_str())]),
        ("circus.plugins.redis_observer.RedisObserver", [QUICK, ("redis_url", &redis_url)]),
    );
    for ((class, options), prefix) in [(http, "http_stats"), (redis, "redis_stats")] {
        let is_error = |sent: &Sent| matches!(sent, Sent::Metric(metric) if metric.contains(&format!("{prefix}.error")));
        let plugin = bench.plugin(class, &options);
        assert!(is_error(&bench.next()), "nobody has said that it is to be trusted");
        plugin.interrupt();
        let plugin = bench.plugin_with(class, &options, &[("SSL_CERT_FILE", &certificate)]);
        // What the other one has sent may still come.
        while is_error(&bench.next()) {}
        assert!(!plugin.log().contains("WARN"), "{}", plugin.log());
        plugin.interrupt();
    }
}

#[test]
fn a_redis_that_does_not_answer_holds_nothing_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let bench = Bench::new(VICTIM);
    let url = format!("redis://{}/0", listener.local_addr().expect("an address"));
    let options = [QUICK, ("redis_url", url.as_str()), ("timeout", "1000")];
    let plugin = bench.plugin("circus.plugins.redis_observer.RedisObserver", &options);
    let asked = listener.accept().expect("it connects");
    // It ends at once although it waits for an answer.
    plugin.interrupt();
    drop(asked);
    assert_eq!(bench.next_within(Duration::ZERO), None);
}
