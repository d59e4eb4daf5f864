//! Built-in plugins as sections of the ini file: circusd starts them, they do their work, and what is wrong with a
//! section is told in one sentence.

use circus_e2e::{PATIENCE, TestEnv, env, program, waiting};
use serde_json::json;
use std::net::{TcpListener, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

/// Waits until a metric of each of these kinds has come.
fn wait_for_metrics(statsd: &UdpSocket, wanted: &[&str]) {
    statsd.set_read_timeout(Some(Duration::from_secs(1))).expect("a time");
    let deadline = Instant::now() + PATIENCE;
    let (mut left, mut buffer) = (wanted.to_vec(), [0; 1024]);
    while !left.is_empty() {
        assert!(Instant::now() < deadline, "never sent: {left:?}");
        let Ok(length) = statsd.recv(&mut buffer) else { continue };
        let metric = String::from_utf8_lossy(&buffer[..length]).into_owned();
        left.retain(|wanted| !metric.starts_with(wanted));
    }
}

#[test]
fn those_that_observe_run_from_their_sections_with_blanks_in_their_options() {
    let env = TestEnv::new();
    let statsd = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = statsd.local_addr().expect("an address").port();
    let beats = env::free_port();
    let nobody = env::free_port();
    std::fs::write(env.path("script.sh"), "exec sleep 1000\n").expect("written");
    let observer = format!("host = 127.0.0.1\nport = {port}\nloop_rate = 0.2\n");
    let circusd = env.start(&format!(
        "[watcher:Shop Front]\ncmd = sh script.sh\n[watcher:silent]\ncmd = sleep 1000\n\
         [plugin:resources]\nuse = circus.plugins.resource_watcher.ResourceWatcher\n{observer}\
         application_name = my shop\nwatcher = Shop Front\nmin_mem = 1G\nmax_count = 1000\n\
         [plugin:page]\nuse = circus.plugins.http_observer.HttpObserver\n{observer}\
         check_url = http://127.0.0.1:{nobody}/\n\
         [plugin:redis]\nuse = circus.plugins.redis_observer.RedisObserver\n{observer}\
         redis_url = redis://127.0.0.1:{nobody}/0\n\
         [plugin:dog]\nuse = circus.plugins.watchdog.WatchDog\nport = {beats}\nloop_rate = 0.2\n\
         watchers_regex = ^silent$\nmax_count = 1\n\
         [plugin:reloader]\nuse = circus.plugins.command_reloader.CommandReloader\nloop_rate = 0.2\n\
         stderr_stream.filename = reloader.log\n"
    ));
    let front = circusd.wait_for_pids("shop front", 1);
    let silent = circusd.wait_for_pids("silent", 1);
    wait_for_metrics(
        &statsd,
        &[
            "circus.my shop.watcher._resource_watcher.Shop Front.under_memory:1|c",
            "circus.http_observer.watcher.http_stats.error.599:1|c",
            "circus.redis_observer.watcher.redis_stats.error:1|c",
        ],
    );
    circusd.wait_until("the silent one is killed", || {
        (circusd.pids("silent").len() == 1 && circusd.pids("silent") != silent).then_some(())
    });
    // It says so when it follows all files.
    waiting::for_text(&env.path("reloader.log"), "the plugin runs");
    std::fs::write(env.path("script.sh"), "exec sleep 1000\n").expect("written");
    circusd.wait_until("the script is followed", || {
        (circusd.pids("shop front") != front).then_some(())
    });
    for name in ["resources", "page", "redis", "dog", "reloader"] {
        assert_eq!(circusd.wait_for_pids(&format!("plugin:{name}"), 1).len(), 1);
    }
}

#[test]
fn what_is_wrong_with_a_section_is_one_sentence_that_says_what_would_be_right() {
    let cases = [
        (
            "resource_watcher.ResourceWatcher",
            "loop_rate = 1",
            "watcher: is missing; name the watcher",
        ),
        (
            "resource_watcher.ResourceWatcher",
            "watcher = w\nmax_mem = lots",
            "max_mem = lots: neither a percentage nor a size; write one such as 90 or 512M",
        ),
        (
            "http_observer.HttpObserver",
            "check_url = localhost",
            "check_url = localhost: not a URL; write one such as http://localhost:8080/health",
        ),
        (
            "redis_observer.RedisObserver",
            "redis_url = redis://:secret@h/x",
            "redis_url = redis://***@h/x: not the URL of a Redis, ",
        ),
        (
            "watchdog.WatchDog",
            "msg_regex = ^.*$",
            "msg_regex = ^.*$: has no group `pid`; write one such as (?P<pid>[0-9]+)",
        ),
        (
            "command_reloader.CommandReloader",
            "loop_rate = soon",
            "loop_rate = soon: not a time; write seconds above 0, such as 60 or 0.5",
        ),
    ];
    for (class, lines, sentence) in cases {
        let env = TestEnv::new();
        let ini = env.write_ini(&format!("[plugin:x]\nuse = circus.plugins.{class}\n{lines}\n"));
        let mut command = Command::new(program::built("circusd"));
        let output = command.arg("--check").arg(ini).output().expect("it is built");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let told = text.lines().find(|line| line.contains(sentence));
        let told = told.unwrap_or_else(|| unreachable!("{class}: {text}"));
        assert!(told.contains("[plugin:x]") && told.contains("circus.ini:"), "{told}");
        assert!(!text.contains("secret"), "{text}");
    }
}

/// A redis that takes connections and says nothing: the plugin goes on, and so does circusd.
#[test]
fn a_peer_that_hangs_disturbs_neither_the_plugin_nor_circusd() {
    let env = TestEnv::new();
    let peer = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = peer.local_addr().expect("an address");
    let circusd = env.start(&format!(
        "[watcher:web]\ncmd = sleep 1000\n\
         [plugin:redis]\nuse = circus.plugins.redis_observer.RedisObserver\n\
         redis_url = redis://{address}/0\nloop_rate = 0.1\ntimeout = 1000\n\
         [plugin:page]\nuse = circus.plugins.http_observer.HttpObserver\n\
         check_url = http://{address}/\nloop_rate = 0.1\ntimeout = 1000\n"
    ));
    let held: Vec<_> = (0..2).map(|_| peer.accept().expect("it connects")).collect();
    for name in ["plugin:redis", "plugin:page"] {
        circusd.ok_when_idle("stop", &json!({"name": name, "waiting": true}));
        circusd.ok_when_idle("start", &json!({"name": name, "waiting": true}));
    }
    circusd.wait_for_pids("web", 1);
    assert!(circusd.quit().success());
    drop(held);
}
