//! `tail`: what processes have printed lately, and what they print from now on.
//!
//! Here is what is asked and shown; `follow` in the layer above does the asking. Lines are put together
//! here, because circusd hands out output as it was read.

use crate::clock;
use crate::colour::Colour;
use crate::report::CommandError;
use protocol::circus::response::Response;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// A line that does not end is shown when it has become so long, in bytes.
const LONGEST_LINE: usize = 64 * 1024;

/// `tail [-n N] [-f] WATCHER[:WID]...`.
#[derive(Debug, clap::Args)]
pub struct Tail {
    /// The watchers; `web:2` is only the process with wid 2 of `web`
    #[arg(required = true, value_name = "WATCHER[:WID]")]
    watchers: Vec<String>,
    /// How many of the latest lines of each watcher to show
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 10)]
    pub lines: usize,
    /// Go on showing what they print, until interrupted
    #[arg(short, long)]
    pub follow: bool,
}

/// A line of output.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputLine {
    watcher: String,
    wid: u64,
    pid: u64,
    stream: String,
    time: f64,
    text: String,
}

/// What one reply brought.
#[derive(Debug, Default)]
pub struct Arrived {
    /// Finished lines in the order of their time.
    pub lines: Vec<OutputLine>,
    /// Streams that circusd cannot see, such as `stdout of web`.
    pub unseen: Vec<String>,
}

/// The state of following: how far each watcher was read, and lines that are not finished.
#[derive(Debug)]
pub struct Tailing {
    targets: Vec<Target>,
    started: bool,
}

#[derive(Debug)]
struct Target {
    name: String,
    wids: Vec<u32>,
    after: Option<u64>,
    /// By wid and stream.
    open: BTreeMap<(u64, String), Open>,
}

#[derive(Debug, Default)]
struct Open {
    time: f64,
    pid: u64,
    /// The beginning of the line has been lost.
    cut: bool,
    bytes: Vec<u8>,
}

impl Tail {
    /// The latest lines of this watcher.
    pub fn of(name: &str, lines: usize) -> Self {
        Self { watchers: vec![name.to_owned()], lines, follow: false }
    }

    /// Nothing read yet.
    pub fn begin(&self) -> Tailing {
        let mut targets: Vec<Target> = Vec::new();
        for word in &self.watchers {
            let (name, wid) = split(word);
            match targets.iter_mut().find(|target| target.name == name) {
                // All of it includes the one.
                Some(known) if known.wids.is_empty() || wid.is_none() => known.wids.clear(),
                Some(known) => known.wids.extend(wid),
                None => targets.push(Target {
                    name: name.to_owned(),
                    wids: wid.into_iter().collect(),
                    after: None,
                    open: BTreeMap::new(),
                }),
            }
        }
        Tailing { targets, started: false }
    }
}

/// `web:2` is the process 2 of `web`; `plugin:flapping` is a watcher.
fn split(word: &str) -> (&str, Option<u32>) {
    match word.rsplit_once(':').map(|(name, wid)| (name, wid.parse())) {
        Some((name, Ok(wid))) if !name.is_empty() => (name, Some(wid)),
        _ => (word, None),
    }
}

impl Tailing {
    /// The properties of the next request, which may wait so long for news.
    pub fn properties(&self, wait: Duration) -> Map<String, Value> {
        let target = |target: &Target| {
            let mut keys = json!({"name": target.name, "wids": target.wids});
            if let (Some(after), Some(keys)) = (target.after, keys.as_object_mut()) {
                keys.insert("after".into(), json!(after));
            }
            keys
        };
        let targets: Vec<_> = self.targets.iter().map(target).collect();
        let mut properties = Map::new();
        properties.insert("targets".into(), json!(targets));
        properties.insert("wait".into(), json!(wait.as_secs_f64()));
        properties
    }

    /// Takes a reply. The first one shows at most `lines` lines of each watcher.
    ///
    /// # Errors
    /// The reply lacks what it must have.
    pub fn take(&mut self, response: &Response, lines: usize) -> Result<Arrived, CommandError> {
        let misfit = || CommandError::local("the reply has no usable `tails`");
        let tails = response.get("tails").and_then(Value::as_array).ok_or_else(misfit)?;
        let mut arrived = Arrived::default();
        for (target, tail) in self.targets.iter_mut().zip(tails) {
            let records = tail.get("records").and_then(Value::as_array).ok_or_else(misfit)?;
            let mut fresh: Vec<_> = records.iter().flat_map(|record| target.feed(record)).collect();
            target.after = Some(tail.get("next").and_then(Value::as_u64).ok_or_else(misfit)?);
            if !self.started {
                fresh.drain(..fresh.len().saturating_sub(lines));
                let unseen = tail.get("unseen").and_then(Value::as_array).into_iter().flatten();
                arrived.unseen.extend(
                    unseen.filter_map(Value::as_str).map(|s| format!("{s} of {}", target.name)),
                );
            }
            arrived.lines.extend(fresh);
        }
        self.started = true;
        arrived.lines.sort_by(|one, other| one.time.total_cmp(&other.time));
        Ok(arrived)
    }

    /// The lines that are not finished, when nothing more is awaited.
    pub fn rest(&mut self) -> Vec<OutputLine> {
        let targets = self.targets.iter_mut();
        let mut rest: Vec<_> = targets.flat_map(Target::rest).collect();
        rest.sort_by(|one, other| one.time.total_cmp(&other.time));
        rest
    }
}

impl Target {
    /// Adds a piece of output and gives the lines that it finishes.
    fn feed(&mut self, record: &Value) -> Vec<OutputLine> {
        let number = |key: &str| record.get(key).and_then(Value::as_u64).unwrap_or(0);
        let text = |key: &str| record.get(key).and_then(Value::as_str);
        let bytes: Vec<u8> = match (text("text"), text("latin1")) {
            (Some(text), _) => text.as_bytes().to_vec(),
            // Each character stands for a byte.
            (None, Some(latin1)) => {
                latin1.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect()
            }
            (None, None) => return Vec::new(),
        };
        let time = record.get("time").and_then(Value::as_f64).unwrap_or(0.0);
        let (wid, pid) = (number("wid"), number("pid"));
        let stream = text("stream").unwrap_or_default().to_owned();
        let name = self.name.clone();
        let open = self.open.entry((wid, stream.clone())).or_default();
        let mut lines = Vec::new();
        let mut close = |open: &mut Open| {
            let open = std::mem::take(open);
            // The end of a line whose beginning is gone says nothing.
            if !open.cut {
                lines.push(open.line(&name, wid, &stream));
            }
        };
        if open.pid != pid && !open.bytes.is_empty() {
            close(open); // The last words of the process before it.
        }
        if record.get("cut").and_then(Value::as_bool) == Some(true) {
            *open = Open { cut: true, ..Open::default() };
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if open.bytes.is_empty() {
                (open.time, open.pid) = (time, pid);
            }
            open.bytes.extend_from_slice(piece);
            if piece.ends_with(b"\n") || open.bytes.len() >= LONGEST_LINE {
                close(open);
            }
        }
        lines
    }

    fn rest(&mut self) -> Vec<OutputLine> {
        let open = std::mem::take(&mut self.open).into_iter();
        let unfinished = open.filter(|(_, open)| !open.bytes.is_empty());
        unfinished.map(|((wid, stream), open)| open.line(&self.name, wid, &stream)).collect()
    }
}

impl Open {
    fn line(self, watcher: &str, wid: u64, stream: &str) -> OutputLine {
        let text = String::from_utf8_lossy(&self.bytes);
        OutputLine {
            watcher: watcher.to_owned(),
            wid,
            pid: self.pid,
            stream: stream.to_owned(),
            time: self.time,
            text: text.trim_end_matches(['\n', '\r']).to_owned(),
        }
    }
}

impl OutputLine {
    /// `TIME WATCHER:WID out|err TEXT`.
    pub fn render(&self, colour: Colour) -> String {
        let head = format!("{} {}:{}", clock::time_of_day(self.time), self.watcher, self.wid);
        let stream = match self.stream.as_str() {
            "stderr" => colour.bad("err"),
            _ => colour.faint("out"),
        };
        format!("{} {stream} {}\n", colour.faint(&head), self.text)
    }

    /// The same for `--json`.
    pub fn json(&self) -> Value {
        json!({"time": self.time, "watcher": self.watcher, "wid": self.wid, "pid": self.pid,
            "stream": self.stream, "text": self.text})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(records: Value, next: u64) -> Response {
        let tails =
            json!([{"name": "web", "records": records, "next": next, "unseen": ["stderr"]}]);
        let reply = json!({"status": "ok", "tails": tails});
        Response::parse(reply.to_string().as_bytes()).expect("a reply")
    }

    fn record(time: f64, stream: &str, text: &str) -> Value {
        json!({"time": time, "wid": 1, "pid": 7, "stream": stream, "text": text})
    }

    fn texts(lines: &[OutputLine]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    fn tail(words: &[&str]) -> Tail {
        let watchers = words.iter().map(ToString::to_string).collect();
        Tail { watchers, lines: 10, follow: false }
    }

    #[test]
    fn lines_are_put_together_for_each_stream() {
        let mut tailing = tail(&["web"]).begin();
        let first = json!([
            record(1.0, "stdout", "a\nb"),
            record(2.0, "stderr", "x\n"),
            record(3.0, "stdout", "c\nrest")
        ]);
        let arrived = tailing.take(&reply(first, 5), 10).expect("taken");
        assert_eq!(texts(&arrived.lines), ["a", "bc", "x"]);
        assert_eq!(arrived.unseen, ["stderr of web"]);
        assert_eq!(tailing.properties(Duration::ZERO)["targets"][0]["after"], 5);
        let second = json!([record(4.0, "stdout", "!\n")]);
        let arrived = tailing.take(&reply(second, 6), 10).expect("taken");
        assert_eq!((texts(&arrived.lines), arrived.unseen), (vec!["rest!"], vec![]));
        assert_eq!(tailing.rest(), []);
    }

    #[test]
    fn only_the_latest_lines_are_shown_first_and_cut_ones_never() {
        let mut tailing = tail(&["web"]).begin();
        let mut cut = record(1.0, "stdout", "alf of it\n1\n2\n3\n4");
        cut["cut"] = json!(true);
        let arrived = tailing.take(&reply(json!([cut]), 5), 2).expect("taken");
        assert_eq!(texts(&arrived.lines), ["2", "3"]);
        assert_eq!(texts(&tailing.rest()), ["4"]);
    }

    #[test]
    fn bytes_that_are_no_text_come_through() {
        let mut tailing = tail(&["web"]).begin();
        let piece = |latin1: &str| json!({"time": 1.0, "wid": 1, "pid": 7, "stream": "stdout", "latin1": latin1});
        // The two halves of an ü.
        let arrived = tailing.take(&reply(json!([piece("\u{c3}"), piece("\u{bc}\n")]), 5), 10);
        assert_eq!(texts(&arrived.expect("taken").lines), ["ü"]);
    }

    #[test]
    fn a_number_after_a_colon_is_a_wid() {
        assert_eq!(split("web:2"), ("web", Some(2)));
        assert_eq!(split("plugin:flapping"), ("plugin:flapping", None));
        assert_eq!(split("plugin:flapping:1"), ("plugin:flapping", Some(1)));
        let tailing = tail(&["web:2", "web:3", "a", "a:1"]).begin();
        let targets = &tailing.properties(Duration::ZERO)["targets"];
        assert_eq!(targets[0]["wids"], json!([2, 3]));
        assert_eq!(targets[1]["wids"], json!([]));
    }
}
