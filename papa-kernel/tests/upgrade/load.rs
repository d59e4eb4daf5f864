//! Many upgrades in a row under load: printing processes, watching clients and sockets that are
//! connected to all the time.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use protocol::papa::Record;

use crate::UPGRADED;
use crate::kernel::{Client, Kernel};

/// Prints numbers, some two hundred a second, until TERM.
const PRINTER: &str = "perl -e $|=1;$SIG{TERM}=sub{$e=1};until($e){print%20$i++,%22\\n%22;\
    select(undef,undef,undef,.005)}print%22end\\n%22";
/// Greets everybody who connects to the socket it was given.
const GREETER: &str = "perl -MIO::Socket -e open(my$s,%22+<%26=%22,shift)or%20die;\
    while(accept(my$c,$s)){print$c%22hi\\n%22;close$c} $(socket.web.fileno)";

struct Load {
    upgrades: usize,
    printers: usize,
    watchers: usize,
}

#[test]
fn twenty_upgrades_under_load_lose_nothing() {
    Load { upgrades: 20, printers: 10, watchers: 3 }.run();
}

/// `cargo test --release -p papa-kernel --test upgrade -- --ignored --nocapture two_hundred`
#[test]
#[ignore = "takes a minute; prints the pause that clients see"]
fn two_hundred_upgrades_under_load_lose_nothing() {
    Load { upgrades: 200, printers: 50, watchers: 5 }.run();
}

impl Load {
    fn run(&self) {
        let kernel = Kernel::start();
        let mut boss = kernel.client();
        let row = boss.ask("%make socket web backlog=512");
        let port: u16 =
            row.split(' ').find_map(|field| field.strip_prefix("port=")).unwrap().parse().unwrap();
        let greeter = boss.ask(&format!("%make process greeter {GREETER}"));
        assert!(greeter.contains("running=True"), "{greeter}");
        for at in 0..self.printers {
            boss.ask(&format!("%make process printer.{at} {PRINTER}"));
        }
        let before = boss.ask("%list processes");
        let pids: Vec<i32> = (0..self.printers)
            .map(|at| crate::pid_of(&mut boss, &format!("printer.{at}")).as_raw())
            .collect();
        let (over, greeted, served) =
            (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let (slowest, probed) = (AtomicU64::new(0), AtomicU64::new(0));
        let mut pauses = Vec::new();

        std::thread::scope(|scope| {
            let finish = Finish { over: &over, kernel: &kernel };
            // All begin before the first acknowledges anything, so that each gets everything.
            let clients: Vec<Client> = (0..self.watchers)
                .map(|_| {
                    let mut client = kernel.client();
                    client.watch("printer.*");
                    assert_eq!(client.record(), Record::Watching(self.printers));
                    client
                })
                .collect();
            let follow = |client| scope.spawn(move || follow(client));
            let watchers: Vec<_> = clients.into_iter().map(follow).collect();
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
                    let mut text = String::new();
                    stream.read_to_string(&mut text).unwrap();
                    assert_eq!(text, "hi\n");
                    greeted.fetch_add(1, Ordering::Relaxed);
                }
            });
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(kernel.client().ask("get nothing"), "");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
            // Asks all the time: its longest wait during an upgrade is the pause.
            scope.spawn(|| {
                let mut client = kernel.client();
                while !over.load(Ordering::Relaxed) {
                    let begin = Instant::now();
                    assert_eq!(client.ask("get nothing"), "");
                    let micros = begin.elapsed().as_micros() as u64;
                    slowest.fetch_max(micros, Ordering::Relaxed);
                    probed.fetch_add(1, Ordering::Relaxed);
                }
            });
            let mut durations = Vec::new();
            for _ in 0..self.upgrades {
                slowest.store(0, Ordering::Relaxed);
                let begin = Instant::now();
                let mut answer = boss.ask("upgrade");
                while answer.contains("did not finish the rehearsal within") {
                    // So busy a machine is refused, and nothing has changed.
                    assert!(begin.elapsed() < circus_e2e::PATIENCE, "{answer}");
                    answer = boss.ask("upgrade");
                }
                assert_eq!(answer, UPGRADED);
                durations.push(begin.elapsed());
                // The probe that was under way ends after the upgrade: wait for it.
                let seen = probed.load(Ordering::Relaxed);
                circus_e2e::waiting::wait_until("the probe is answered", || {
                    probed.load(Ordering::Relaxed) > seen + 1
                });
                pauses.push(Duration::from_micros(slowest.load(Ordering::Relaxed)));
            }
            assert_eq!(boss.ask("%list processes"), before, "no pid has changed");
            drop(finish);
            for pid in pids {
                kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
            }
            let mut lines = 0;
            for watcher in watchers {
                for (name, text) in watcher.join().unwrap() {
                    lines += in_order(&name, &text);
                }
            }
            pauses.sort();
            durations.sort();
            let at = |sorted: &[Duration], part: f64| {
                sorted[((sorted.len() - 1) as f64 * part) as usize]
            };
            eprintln!(
                "{} upgrades, {} printers, {} watchers: {lines} lines checked, {} connections to the socket, \
                 {} to the kernel; pause of a client median {:?}, p99 {:?}, worst {:?}; whole upgrade median {:?}",
                self.upgrades,
                self.printers,
                self.watchers,
                greeted.load(Ordering::Relaxed),
                served.load(Ordering::Relaxed),
                at(&pauses, 0.5),
                at(&pauses, 0.99),
                at(&pauses, 1.0),
                at(&durations, 0.5),
            );
        });
    }
}

/// Ends the threads, also when a check has failed.
struct Finish<'a> {
    over: &'a AtomicBool,
    kernel: &'a Kernel,
}

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if std::thread::panicking() {
            // Nobody ends the printers any more, so those who follow them would follow for ever.
            self.kernel.kill();
        }
    }
}

/// Everything that the processes say until all have ended.
fn follow(mut client: Client) -> BTreeMap<String, Vec<u8>> {
    let mut texts: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    loop {
        match client.record() {
            Record::Out(output) => texts.entry(output.name).or_default().extend(output.data),
            Record::EndOfBlock => client.send("\n"),
            Record::Closed { code, .. } => assert_eq!(code, Some(0)),
            Record::Stopped(_) => return texts,
            other => panic!("{other:?}"),
        }
    }
}

/// Checks that the numbers come in order, none missing or twice, and that the end has come.
fn in_order(name: &str, text: &[u8]) -> u64 {
    let text = std::str::from_utf8(text).unwrap();
    let mut expected = 0;
    let mut lines = text.lines();
    assert_eq!(lines.next_back(), Some("end"), "{name}");
    for line in lines {
        assert_eq!(line, expected.to_string(), "{name}");
        expected += 1;
    }
    expected
}
