//! The messages of the statistics feed: topic and JSON, as measured on circus 0.17.2.
//!
//! | topic | payload |
//! |---|---|
//! | `stat.WATCHER.PID` | one process: its [`Info`], `subtopic` (the pid), `name` (null, or its role in `circus`) |
//! | `stat.WATCHER` | all of them: `pid` (list), `cpu` (mean), `mem` (sum), `age` (oldest) |
//! | `stat.sockets.FD` | one socket: `fd`, `subtopic`, `reads`, `address`, and beyond the original `backlog`, `connections` |
//! | `stat.sockets` | all of them: `addresses`, `reads`, `backlog`, `connections` (sums) |

use super::info::{Figure, Info, as_float};
use super::socket_table::Traffic;
use serde::Serialize;

/// The topics of all messages begin so.
pub const PREFIX: &str = "stat.";

/// The watcher that stands for circusd and what belongs to it.
pub const OWN: &str = "circus";

/// One message: two frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The first frame.
    pub topic: String,
    /// The second, JSON.
    pub payload: Vec<u8>,
}

/// A process that was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its figures.
    pub info: Info,
    /// What it is, in the watcher `circus`.
    pub role: Option<&'static str>,
}

#[derive(Serialize)]
struct ProcessPayload<'a> {
    #[serde(flatten)]
    info: &'a Info,
    subtopic: i32,
    name: Option<&'static str>,
}

#[derive(Serialize)]
struct WatcherPayload {
    pid: Vec<i32>,
    cpu: Figure,
    mem: Figure,
    age: Figure,
}

#[derive(Serialize)]
struct SocketPayload<'a> {
    fd: i64,
    subtopic: i64,
    reads: u64,
    address: &'a str,
    backlog: u64,
    connections: u64,
}

#[derive(Serialize)]
struct SocketsPayload<'a> {
    addresses: Vec<&'a str>,
    reads: u64,
    backlog: u64,
    connections: u64,
}

/// The messages about a watcher: one for each process, then the summary.
pub fn of_watcher(name: &str, members: &[Member]) -> Vec<Message> {
    let mut messages: Vec<Message> = members
        .iter()
        .map(|Member { info, role }| {
            let payload = ProcessPayload { info, subtopic: info.pid, name: *role };
            message(format!("{PREFIX}{name}.{}", info.pid), &payload)
        })
        .collect();
    let infos = || members.iter().map(|member| &member.info);
    let mean = |sum: f64| match members.len() {
        0 => 0.0,
        count => sum / as_float(count as u64),
    };
    let summary = WatcherPayload {
        pid: infos().map(|info| info.pid).collect(),
        cpu: match Figure::sum(infos().map(|info| info.cpu)) {
            Figure::Known(sum) => Figure::Known(mean(sum)),
            Figure::Unknown => Figure::Unknown,
        },
        mem: Figure::sum(infos().map(|info| info.mem)),
        age: infos()
            .filter_map(|info| info.age.known())
            .reduce(f64::max)
            .map_or(Figure::Unknown, Figure::Known),
    };
    messages.push(message(format!("{PREFIX}{name}"), &summary));
    messages
}

/// The messages about the sockets; none when there are none.
pub fn of_sockets(all: &[Traffic]) -> Vec<Message> {
    if all.is_empty() {
        return Vec::new();
    }
    let one = |traffic: &Traffic| {
        let Traffic { fd, address, reads, backlog, connections } = traffic;
        let payload = SocketPayload {
            fd: *fd,
            subtopic: *fd,
            reads: *reads,
            address,
            backlog: *backlog,
            connections: *connections,
        };
        message(format!("{PREFIX}sockets.{fd}"), &payload)
    };
    let mut messages: Vec<Message> = all.iter().map(one).collect();
    let summary = SocketsPayload {
        addresses: all.iter().map(|traffic| traffic.address.as_str()).collect(),
        reads: all.iter().map(|traffic| traffic.reads).sum(),
        backlog: all.iter().map(|traffic| traffic.backlog).sum(),
        connections: all.iter().map(|traffic| traffic.connections).sum(),
    };
    messages.push(message(format!("{PREFIX}sockets"), &summary));
    messages
}

fn message(topic: String, payload: &impl Serialize) -> Message {
    // Serialization into memory fails only for maps whose keys are no texts, and there are none.
    Message { topic, payload: serde_json::to_vec(payload).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn member(pid: i32, cpu: Figure, age: f64) -> Member {
        let info = Info {
            mem_info1: "1.50M".into(),
            mem_info2: "2.44M".into(),
            cpu,
            mem: Figure::Known(0.5),
            ctime: "0:00.05".into(),
            pid,
            username: "root".into(),
            nice: 0,
            create_time: 1000.0,
            age: Figure::Known(age),
            cmdline: "sleep".into(),
            children: Vec::new(),
        };
        Member { info, role: None }
    }

    fn payload(message: &Message) -> Value {
        serde_json::from_slice(&message.payload).unwrap()
    }

    #[test]
    fn a_watcher_sends_its_processes_and_then_mean_sum_and_oldest() {
        let members = [member(1, Figure::Known(10.0), 5.0), member(2, Figure::Known(20.0), 7.0)];
        let messages = of_watcher("my app", &members);
        let topics: Vec<_> = messages.iter().map(|message| message.topic.as_str()).collect();
        assert_eq!(topics, ["stat.my app.1", "stat.my app.2", "stat.my app"]);
        assert_eq!(
            payload(&messages[2]),
            json!({"pid": [1, 2], "cpu": 15.0, "mem": 1.0, "age": 7.0})
        );
        assert_eq!(payload(&messages[0])["subtopic"], 1);
        assert_eq!(payload(&messages[0])["name"], Value::Null);
    }

    #[test]
    fn unknown_figures_and_nobody_are_told_as_the_original_does() {
        let unknown = of_watcher("w", &[member(1, Figure::Unknown, 5.0)]);
        assert_eq!(payload(&unknown[1])["cpu"], "N/A");
        let nobody = of_watcher("w", &[]);
        assert_eq!(payload(&nobody[0]), json!({"pid": [], "cpu": 0.0, "mem": 0.0, "age": "N/A"}));
    }

    #[test]
    fn sockets_send_nothing_when_there_are_none() {
        assert_eq!(of_sockets(&[]), []);
        let traffic =
            Traffic { fd: 6, address: "127.0.0.1:80".into(), reads: 3, backlog: 1, connections: 2 };
        let messages = of_sockets(&[traffic]);
        assert_eq!(messages[0].topic, "stat.sockets.6");
        assert_eq!(payload(&messages[1])["addresses"], json!(["127.0.0.1:80"]));
        assert_eq!(payload(&messages[1])["reads"], 3);
    }
}
