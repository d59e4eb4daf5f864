//! What was received: watchers with their processes, and sockets. Pure: the time comes in with each call.
//!
//! Whatever stands on the feed is taken as it comes: values of the wrong kind count as unknown, texts lose
//! their control characters, and what is silent for too long is forgotten.

use super::history::History;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Stands in the feed for circusd and its helpers.
const DAEMONS: &str = "circus";

/// The watcher whose messages are about sockets.
const SOCKETS: &str = "sockets";

/// Watchers that are shown within the watcher `circus`.
const HIDDEN: [&str; 2] = ["circusd-stats", "circushttpd"];

/// How the connection to circusd-stats stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Link {
    /// Not yet, or no longer.
    #[default]
    Away,
    /// Connected.
    Up,
}

/// A process or a child of one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Process {
    /// Its pid.
    pub pid: i32,
    /// What it is, in the watcher `circus`.
    pub role: Option<String>,
    /// Percent of one core.
    pub cpu: Option<f64>,
    /// Percent of the machine's memory.
    pub mem: Option<f64>,
    /// Seconds.
    pub age: Option<f64>,
    /// Resident memory, for people.
    pub rss: String,
    /// CPU time.
    pub ctime: String,
    /// Whose it is.
    pub user: String,
    /// Its program.
    pub program: String,
    /// Its children.
    pub children: Vec<Process>,
    heard: Duration,
}

/// The figures of all processes together.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Summary {
    /// The mean.
    pub cpu: Option<f64>,
    /// The sum.
    pub mem: Option<f64>,
    /// The oldest.
    pub age: Option<f64>,
}

/// A watcher.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Watcher {
    /// Its processes by pid.
    pub processes: BTreeMap<i32, Process>,
    /// The last summary.
    pub summary: Option<Summary>,
    /// The means of CPU.
    pub cpu: History,
    /// The sums of memory.
    pub mem: History,
    /// Summaries that have come.
    pub rounds: u64,
    heard: Duration,
}

/// A socket.
#[derive(Debug, Clone, PartialEq)]
pub struct Socket {
    /// Its number in circusd.
    pub fd: i64,
    /// `HOST:PORT` or a path.
    pub address: String,
    /// What circusd-stats counts as hits.
    pub reads: u64,
    /// Connections that wait; unknown to the original.
    pub backlog: Option<u64>,
    /// Connections that are open; unknown to the original.
    pub connections: Option<u64>,
    heard: Duration,
}

/// What circusd itself counts about a watcher.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// `active` and the like.
    pub status: String,
    /// Processes that run.
    pub running: Option<u64>,
    /// Processes that should.
    pub wanted: Option<u64>,
    /// Processes that were replaced, by the way their predecessor ended.
    pub restarts: BTreeMap<String, u64>,
    /// Bytes of output that were lost.
    pub dropped: u64,
}

/// Everything that was received.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Model {
    /// The watchers by name.
    pub watchers: BTreeMap<String, Watcher>,
    /// The sockets by number.
    pub sockets: BTreeMap<i64, Socket>,
    /// Hits on all sockets in the last round; none before the first.
    pub reads: Option<u64>,
    /// What circusd counts, by the name of the watcher; empty for a circusd that does not.
    pub counters: BTreeMap<String, Counters>,
    /// Something has been received.
    pub begun: bool,
    /// The connection.
    pub link: Link,
    socket_rounds: u64,
    sockets_heard: Duration,
    /// The time between two summaries of the same watcher.
    interval: Duration,
}

impl Model {
    /// Takes a message of the feed that came at `now`. One that is none is left out.
    pub fn take(&mut self, topic: &str, payload: &[u8], now: Duration) {
        let Some(rest) = topic.strip_prefix("stat.") else { return };
        let Ok(payload) = serde_json::from_slice::<Value>(payload) else { return };
        if !payload.is_object() {
            return;
        }
        let subtopic = payload.get("subtopic").and_then(Value::as_i64);
        let name = match subtopic {
            Some(number) => rest.strip_suffix(&format!(".{number}")).unwrap_or(rest),
            None => rest,
        };
        self.begun = true;
        match (name, subtopic) {
            (SOCKETS, Some(fd)) => self.take_socket(fd, &payload, now),
            (SOCKETS, None) => {
                self.reads = whole(&payload, "reads");
                self.sockets_heard = now;
                self.socket_rounds += 1;
            }
            (name, _) if HIDDEN.contains(&name) => {}
            (name, Some(_)) => self.take_process(&clean(name), &payload, now),
            (name, None) => self.take_summary(&clean(name), &payload, now),
        }
    }

    fn take_socket(&mut self, fd: i64, payload: &Value, now: Duration) {
        let socket = Socket {
            fd,
            address: text(payload, "address"),
            reads: whole(payload, "reads").unwrap_or(0),
            backlog: whole(payload, "backlog"),
            connections: whole(payload, "connections"),
            heard: now,
        };
        self.sockets_heard = now;
        self.sockets.insert(fd, socket);
    }

    fn take_process(&mut self, name: &str, payload: &Value, now: Duration) {
        let Some(process) = process(payload, now) else { return };
        let watcher = self.watchers.entry(name.to_owned()).or_default();
        watcher.heard = now;
        watcher.processes.insert(process.pid, process);
    }

    fn take_summary(&mut self, name: &str, payload: &Value, now: Duration) {
        let watcher = self.watchers.entry(name.to_owned()).or_default();
        if watcher.rounds > 0 {
            // Messages of one round come together, so the summaries tell how long a round is.
            self.interval = now.saturating_sub(watcher.heard).max(self.interval / 2);
        }
        watcher.heard = now;
        watcher.rounds += 1;
        let summary = Summary {
            cpu: number(payload, "cpu"),
            mem: number(payload, "mem"),
            age: number(payload, "age"),
        };
        watcher.cpu.push(summary.cpu.unwrap_or(0.0));
        watcher.mem.push(summary.mem.unwrap_or(0.0));
        watcher.summary = Some(summary);
        // The summary names who is there. One that it does not name has ended.
        if let Some(pids) = payload.get("pid").and_then(Value::as_array) {
            let named = |pid: i32| pids.iter().any(|named| named.as_i64() == Some(pid.into()));
            watcher.processes.retain(|pid, _| named(*pid));
        }
    }

    /// Forgets what has been silent for longer than `patience`, which is stretched for a feed whose rounds
    /// are further apart. While the connection is down everything stays as it was.
    pub fn expire(&mut self, now: Duration, patience: Duration) {
        if self.link == Link::Away {
            return;
        }
        let patience = patience.max(self.interval * 5 / 2);
        let silent = |heard: Duration| now.saturating_sub(heard) > patience;
        for watcher in self.watchers.values_mut() {
            watcher.processes.retain(|_, process| !silent(process.heard));
        }
        self.watchers.retain(|_, watcher| !silent(watcher.heard));
        self.sockets.retain(|_, socket| !silent(socket.heard));
        if silent(self.sockets_heard) {
            self.reads = None;
        }
    }

    /// Counts everything as heard just now: after a break nothing is forgotten before it could speak.
    pub fn heard_again(&mut self, now: Duration) {
        for watcher in self.watchers.values_mut() {
            watcher.heard = now;
            watcher.processes.values_mut().for_each(|process| process.heard = now);
        }
        self.sockets.values_mut().for_each(|socket| socket.heard = now);
        self.sockets_heard = now;
    }

    /// Every watcher has sent so many rounds. The daemons alone are none: a feed that has just begun sends them
    /// before it knows the watchers.
    pub fn has_rounds(&self, count: u64) -> bool {
        let sockets = self.reads.is_none() || self.socket_rounds >= count;
        let watchers = self.watchers.keys().any(|name| name != DAEMONS);
        self.begun
            && sockets
            && watchers
            && self.watchers.values().all(|watcher| watcher.rounds >= count)
    }
}

/// A process as the feed carries it; none without a pid.
fn process(payload: &Value, heard: Duration) -> Option<Process> {
    let pid = i32::try_from(payload.get("pid")?.as_i64()?).ok()?;
    let children = payload.get("children").and_then(Value::as_array);
    Some(Process {
        pid,
        role: payload.get("name").and_then(Value::as_str).map(clean),
        cpu: number(payload, "cpu"),
        mem: number(payload, "mem"),
        age: number(payload, "age"),
        rss: text(payload, "mem_info1"),
        ctime: text(payload, "ctime"),
        user: text(payload, "username"),
        program: text(payload, "cmdline"),
        children: children
            .into_iter()
            .flatten()
            .filter_map(|child| process(child, heard))
            .collect(),
        heard,
    })
}

fn number(payload: &Value, key: &str) -> Option<f64> {
    payload.get(key)?.as_f64()
}

fn whole(payload: &Value, key: &str) -> Option<u64> {
    payload.get(key)?.as_u64()
}

fn text(payload: &Value, key: &str) -> String {
    payload.get(key).and_then(Value::as_str).map(clean).unwrap_or_default()
}

/// A text that a terminal only shows: names of programs are chosen by whoever runs them.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// A model that has received a round of two watchers and a socket.
    pub(crate) fn sample() -> Model {
        let mut model = Model { link: Link::Up, ..Model::default() };
        for (second, factor) in [(1, 1.0), (2, 2.0), (3, 4.0)] {
            let now = Duration::from_secs(second);
            for (pid, cpu) in [(14_926, 9.0), (14_924, 13.0)] {
                let child = json!({"pid": pid + 100, "cpu": 3.0 * factor, "mem": 0.05, "age": 5.5,
                    "mem_info1": "1.50M", "ctime": "0:00.10", "username": "root",
                    "cmdline": "sh\u{1b}[31m", "children": []});
                send(
                    &mut model,
                    now,
                    &format!("stat.burner.{pid}"),
                    json!({"pid": pid,
                    "subtopic": pid, "cpu": cpu, "mem": 0.1, "age": 37.87, "name": null,
                    "mem_info1": "9.00M", "ctime": "0:03.10", "username": "web", "cmdline": "python",
                    "children": [child]}),
                );
            }
            send(
                &mut model,
                now,
                "stat.burner",
                json!({"pid": [14_926, 14_924],
                "cpu": 11.0 * factor, "mem": 0.2, "age": 37.87}),
            );
            send(
                &mut model,
                now,
                "stat.circus.7",
                json!({"pid": 7, "subtopic": 7, "cpu": 0.0,
                "mem": 0.1, "age": "N/A", "name": "circusd", "cmdline": "circusd"}),
            );
            send(
                &mut model,
                now,
                "stat.circus",
                json!({"pid": [7], "cpu": "N/A", "mem": 0.1,
                "age": "N/A"}),
            );
            send(
                &mut model,
                now,
                "stat.sockets.6",
                json!({"fd": 6, "subtopic": 6, "reads": 3,
                "address": "127.0.0.1:8080", "backlog": 1, "connections": 12}),
            );
            send(
                &mut model,
                now,
                "stat.sockets",
                json!({"addresses": ["127.0.0.1:8080"],
                "reads": 3}),
            );
        }
        model
    }

    pub(crate) fn send(model: &mut Model, now: Duration, topic: &str, payload: Value) {
        model.take(topic, payload.to_string().as_bytes(), now);
    }

    const PATIENCE: Duration = Duration::from_secs(3);

    #[test]
    fn rounds_of_the_daemons_alone_are_none() {
        let mut model = Model::default();
        let summary = json!({"pid": [7], "cpu": 0.0, "mem": 0.1, "age": 1.0});
        for second in 1..4 {
            send(&mut model, Duration::from_secs(second), "stat.circus", summary.clone());
        }
        assert!(!model.has_rounds(2));
        assert!(sample().has_rounds(3) && !sample().has_rounds(4));
    }

    #[test]
    fn texts_lose_what_would_steer_a_terminal() {
        let model = sample();
        let child = &model.watchers["burner"].processes[&14_926].children[0];
        assert_eq!(child.program, "sh?[31m");
    }

    #[test]
    fn a_process_that_the_summary_does_not_name_goes_at_once() {
        let mut model = sample();
        let now = Duration::from_secs(4);
        send(
            &mut model,
            now,
            "stat.burner",
            json!({"pid": [14_926], "cpu": 9.0, "mem": 0.1,
            "age": 38.0}),
        );
        assert_eq!(model.watchers["burner"].processes.len(), 1);
    }

    #[test]
    fn what_is_silent_goes_after_a_while_but_not_while_the_connection_is_down() {
        let mut model = sample();
        model.expire(Duration::from_secs(5), PATIENCE);
        assert_eq!(model, { sample() }, "not yet");
        model.link = Link::Away;
        model.expire(Duration::from_secs(100), PATIENCE);
        assert_eq!(model.watchers.len(), 2, "who knows");
        model.link = Link::Up;
        model.expire(Duration::from_secs(100), PATIENCE);
        assert!(model.watchers.is_empty() && model.sockets.is_empty() && model.reads.is_none());
    }

    #[test]
    fn rounds_that_are_far_apart_stretch_the_patience() {
        let mut model = Model { link: Link::Up, ..Model::default() };
        for second in [10, 20] {
            let now = Duration::from_secs(second);
            send(
                &mut model,
                now,
                "stat.web",
                json!({"pid": [], "cpu": 0.0, "mem": 0, "age": "N/A"}),
            );
        }
        model.expire(Duration::from_secs(29), PATIENCE);
        assert_eq!(model.watchers.len(), 1);
        model.expire(Duration::from_secs(60), PATIENCE);
        assert!(model.watchers.is_empty());
    }

    #[test]
    fn names_with_dots_are_whole_and_rubbish_is_left_out() {
        let mut model = Model::default();
        let now = Duration::ZERO;
        send(&mut model, now, "stat.a.b.12", json!({"pid": 12, "subtopic": 12}));
        send(&mut model, now, "stat.a.b", json!({"pid": [12]}));
        assert_eq!(model.watchers["a.b"].processes.len(), 1);
        send(&mut model, now, "stat.x.1", json!({"subtopic": 1, "pid": "one"}));
        send(&mut model, now, "other", json!({}));
        send(&mut model, now, "stat.y", json!([1]));
        model.take("stat.z", b"\xff{", now);
        send(&mut model, now, "stat.circusd-stats.3", json!({"pid": 3, "subtopic": 3}));
        assert_eq!(model.watchers.len(), 1);
    }
}
