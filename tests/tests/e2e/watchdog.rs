//! WatchDog beside the recordings of the original.

use super::recorded_plugins::{Bench, Sent, entries, sent, step};
use serde_json::json;
use std::net::UdpSocket;

const CLASS: &str = "circus.plugins.watchdog.WatchDog";

/// The recording of the newer version. That of the older has the same but for `signal 9` in place of `kill`.
const RECORDING: &str = "watchdog_0.17.2.jsonl";

/// Sends heartbeats, so many or for ever, until it is told to end.
const BEATING: &str = "import os, signal, socket, sys, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
left = int(sys.argv[2])
while True:
    if left != 0:
        left -= 1
        peer.sendto(b'%d;%f' % (os.getpid(), time.time()), ('127.0.0.1', int(sys.argv[1])))
    if signal.sigtimedwait([signal.SIGTERM], 0.05):
        break
";

/// A port for heartbeats.
fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("an address").port()
}

/// The options of the recording, but for how long a round is and where heartbeats go.
fn options<'a>(port: &'a str, recorded: &'a str) -> Vec<(&'a str, &'a str)> {
    let own = recorded.split(":::").map(|item| item.split_once(':').expect("key:value"));
    let own = own.filter(|(key, _)| !["port", "loop_rate"].contains(key));
    own.chain([("port", port), ("loop_rate", "0.5")]).collect()
}

#[test]
fn who_sends_no_heartbeats_is_killed_as_recorded() {
    let recording = entries(RECORDING);
    let start = recording.iter().find_map(|e| step(e)?.strip_prefix("plugin start "));
    let recorded: Vec<Sent> = recording.iter().filter_map(sent).collect();
    let port = free_port();
    let bench = Bench::new(&format!(
        "[watcher:beat]\ncmd = python3 beating.py {port} -1\nautostart = False\n\
         [watcher:beatstop]\ncmd = python3 beating.py {port} 5\nautostart = False\n\
         [watcher:ignored]\ncmd = sleep 1000\n\
         [watcher:nobeat]\ncmd = sleep 1000\nnumprocesses = 2\n"
    ));
    std::fs::write(bench.env.path("beating.py"), BEATING).expect("written");
    for name in ["beat", "beatstop"] {
        bench.circusd.ok_when_idle("start", &json!({"name": name}));
    }
    let beat = bench.circusd.wait_for_pids("beat", 1);
    let beatstop = bench.circusd.wait_for_pids("beatstop", 1)[0];
    let ignored = bench.circusd.wait_for_pids("ignored", 1);
    let nobeat = bench.circusd.wait_for_pids("nobeat", 2);
    let port = port.to_string();
    let plugin = bench.plugin(CLASS, &options(&port, start.expect("its options")));

    // It asks who there is.
    let questions: Vec<Sent> = (0..4).map(|_| bench.next()).collect();
    assert_eq!(questions, recorded[..4]);

    // All who are silent are killed, with the signal and the patience of the options.
    let order = |name: &str, pid: i32| {
        let properties = json!({"name": name, "pid": pid, "signum": 2, "graceful_timeout": 1.5});
        Sent::Command("kill".to_owned(), properties, true)
    };
    let expected =
        [("beatstop", 466, beatstop), ("nobeat", 468, nobeat[0]), ("nobeat", 469, nobeat[1])];
    let mut killed = bench.take(0, 3).1;
    for (at, (name, recorded_pid, pid)) in expected.into_iter().enumerate() {
        assert_eq!(recorded[4 + at], order(name, recorded_pid), "the recording");
        let place = killed.iter().position(|command| *command == order(name, pid));
        killed.remove(place.unwrap_or_else(|| panic!("{name} {pid} is not among {killed:?}")));
    }

    // Those that come after them are watched, too.
    let fresh = bench.circusd.wait_until("others have taken their place", || {
        let pids = bench.circusd.pids("nobeat");
        (pids.len() == 2 && pids.iter().all(|pid| !nobeat.contains(pid))).then_some(pids)
    });
    bench.wait_for(&order("nobeat", fresh[0]));

    // What makes no sense is told and does no harm.
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = format!("127.0.0.1:{port}");
    peer.send_to(b"999999;12.5", &address).expect("sent");
    plugin.wait_for_log("a heartbeat of process 999999, which is not watched");
    peer.send_to(b"\xffgarbage", &address).expect("sent");
    plugin.wait_for_log("a datagram that is no heartbeat: \"\u{fffd}garbage\"");

    // But who sends a lot of it does not fill the log.
    for _ in 0..200 {
        peer.send_to(b"flood", &address).expect("sent");
    }
    plugin.wait_for_log(" more datagrams that are no heartbeat of a process that is watched");
    let told = plugin.log().matches("a datagram that is no heartbeat: \"flood\"").count();
    assert!(told < 50, "{told} times");

    // A watcher that is stopped has nobody to be killed; the others go on.
    bench.circusd.ok_when_idle("stop", &json!({"name": "nobeat", "waiting": true}));
    let mut beatstops = 0;
    while beatstops < 2 {
        if let Sent::Command(_, properties, true) = bench.next()
            && properties["name"] == "beatstop"
        {
            beatstops += 1;
        }
    }
    assert_eq!(bench.circusd.ok("status", json!({"name": "nobeat"}))["status"], "stopped");
    assert_eq!(bench.circusd.pids("beat"), beat);
    assert_eq!(bench.circusd.pids("ignored"), ignored);
    plugin.interrupt();
}

/// docs/differences.md, "Plugins that watch": helpers of circusd send no heartbeats and are left alone.
#[test]
fn without_a_choice_all_watchers_of_the_user_are_watched_and_nobody_else() {
    let bench =
        Bench::new("[watcher:My App]\ncmd = sleep 1000\n[watcher:plugin:x]\ncmd = sleep 1000\n");
    let pid = bench.circusd.wait_for_pids("My App", 1)[0];
    let other = bench.circusd.wait_for_pids("plugin:x", 1);
    let port = free_port().to_string();
    let options = [("port", port.as_str()), ("loop_rate", "0.2"), ("max_count", "0")];
    let plugin = bench.plugin(CLASS, &options);
    let order = |pid| Sent::Command("kill".into(), json!({"name": "my app", "pid": pid}), true);
    assert_eq!(bench.take(0, 1).1, [order(pid)]);
    let next = bench.circusd.wait_until("another has taken its place", || {
        bench.circusd.pids("my_app").into_iter().find(|now| *now != pid)
    });
    bench.wait_for(&order(next));
    assert_eq!(bench.circusd.pids("plugin:x"), other);
    plugin.interrupt();
}

#[test]
fn a_port_that_is_taken_is_one_sentence() {
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let bench = Bench::new("[watcher:idle]\ncmd = sleep 1000\n");
    let plugin = bench.plugin(CLASS, &[("port", &port)]);
    plugin.wait_for_log(&format!(
        "[plugin:under-test] port = {port}: cannot listen for heartbeats on 127.0.0.1, "
    ));
    assert_eq!(plugin.wait(), Some(1));
}
