//! What was published during a step, compared with what was recorded.
//!
//! The events of different watchers may interleave otherwise, so each watcher is compared for itself.

use crate::pattern::{Bindings, Keys, Mismatch};
use circus_e2e::PATIENCE;
use circus_e2e::daemon::Subscription;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A topic and its payload.
pub(crate) type Event = (String, Map<String, Value>);

/// The events that a step should have.
pub(crate) struct Expected {
    events: Vec<Event>,
    extent: Extent,
    /// Each process that is killed must be reaped, too.
    more_reaps: bool,
}

/// How much is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Everything, payloads included.
    All,
    /// The topics, repeated ones once: it depends on who is faster.
    Kinds,
    /// At least so many of each kind, in any order.
    Counts,
    /// From the first that fits: what was published before may be lost or belong to an earlier step.
    FromFirst,
}

impl Expected {
    /// The events of a recorded line.
    pub(crate) fn new(recorded: &[Value], extent: Extent, more_reaps: bool) -> Self {
        let event = |value: &Value| {
            let payload = value["payload"].as_object().cloned().unwrap_or_default();
            (value["topic"].as_str().unwrap_or_default().to_owned(), payload)
        };
        Self { events: recorded.iter().map(event).collect(), extent, more_reaps }
    }

    /// Only topics.
    pub(crate) fn topics(topics: Vec<String>, extent: Extent) -> Self {
        let events = topics.into_iter().map(|topic| (topic, Map::new())).collect();
        Self { events, extent, more_reaps: false }
    }

    /// Waits until everything has come that is expected, and says what is different.
    ///
    /// What comes too much is found by the step after it.
    pub(crate) fn wait(
        &self,
        events: &Subscription,
        bindings: &mut Bindings,
    ) -> Result<(), Mismatch> {
        let deadline = Instant::now() + PATIENCE;
        let mut got = Vec::new();
        while !self.is_complete(&got) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(event) = events.next_within(left) else {
                return Err(format!(
                    "not in time: events {:?}, expected {:?}",
                    topics(&got),
                    topics(&self.events)
                ));
            };
            got.push(event);
        }
        // What was published together with the last one.
        while let Some(event) = events.next_within(Duration::ZERO) {
            got.push(event);
        }
        self.compare(got, bindings)
    }

    fn is_complete(&self, got: &[Event]) -> bool {
        let watchers: BTreeSet<&str> =
            self.events.iter().map(|(topic, _)| watcher(topic)).collect();
        let complete = watchers.into_iter().all(|name| {
            let expected = of_watcher(&self.events, name);
            let got = of_watcher(got, name);
            match self.extent {
                Extent::All => self.counted(&got) >= self.counted(&expected),
                Extent::Counts => {
                    let count =
                        |of: &[&str], topic: &str| of.iter().filter(|t| **t == topic).count();
                    expected.iter().all(|topic| count(&got, topic) >= count(&expected, topic))
                }
                Extent::Kinds => got.iter().any(|event| Some(event) == expected.last()),
                Extent::FromFirst => {
                    got.iter().filter(|event| Some(*event) == expected.last()).count()
                        >= expected.iter().filter(|event| Some(*event) == expected.last()).count()
                }
            }
        });
        complete && (!self.more_reaps || killed(got) == reaped(got))
    }

    fn counted(&self, topics: &[&str]) -> usize {
        topics.iter().filter(|topic| !self.more_reaps || !topic.ends_with(".reap")).count()
    }

    fn compare(&self, got: Vec<Event>, bindings: &mut Bindings) -> Result<(), Mismatch> {
        let names: BTreeSet<String> =
            self.events.iter().chain(&got).map(|(topic, _)| watcher(topic).to_owned()).collect();
        for name in names {
            let of = |events: &[Event]| -> Vec<Event> {
                events.iter().filter(|(topic, _)| watcher(topic) == name).cloned().collect()
            };
            let expected = of(&self.events);
            let mut got = of(&got);
            if self.more_reaps {
                got.retain(|(topic, _)| !topic.ends_with(".reap"));
            }
            let differ =
                || Err(format!("events {:?}, expected {:?}", topics(&got), topics(&expected)));
            match self.extent {
                // What must have come was waited for.
                Extent::Counts => {}
                Extent::Kinds => {
                    if once(&got) != once(&expected) {
                        return differ();
                    }
                }
                Extent::FromFirst => {
                    let fits = |offset: usize| {
                        let rest = topics(&got[offset..]);
                        let wanted = topics(&expected);
                        rest.starts_with(&wanted)
                    };
                    if !(0..got.len().max(1)).any(fits) {
                        return differ();
                    }
                }
                Extent::All => {
                    if topics(&got) != topics(&expected) {
                        return differ();
                    }
                    for run in expected.chunk_by(|(first, _), (second, _)| first == second) {
                        let rest = got.split_off(run.len());
                        fit_run(run, got, bindings)?;
                        got = rest;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Events of the same kind in a row concern several processes, in any order.
fn fit_run(
    recorded: &[Event],
    mut got: Vec<Event>,
    bindings: &mut Bindings,
) -> Result<(), Mismatch> {
    for (topic, recorded) in recorded.iter().filter(|(_, payload)| !payload.is_empty()) {
        let recorded = recorded.clone().into();
        let mut mismatch = String::new();
        let found = got.iter().position(|(_, actual)| {
            let mut attempt = bindings.clone();
            let actual = actual.clone().into();
            match attempt.fit(&recorded, &actual, topic, Keys::Exactly, &Value::Null) {
                Ok(()) => *bindings = attempt,
                Err(error) => {
                    mismatch = error;
                    return false;
                }
            }
            true
        });
        got.remove(found.ok_or(mismatch)?);
    }
    Ok(())
}

/// `watcher.NAME` of a topic.
fn watcher(topic: &str) -> &str {
    topic.rsplit_once('.').map_or(topic, |(watcher, _)| watcher)
}

fn topics(events: &[Event]) -> Vec<&str> {
    events.iter().map(|(topic, _)| topic.as_str()).collect()
}

fn once(events: &[Event]) -> Vec<&str> {
    let mut topics = topics(events);
    topics.dedup();
    topics
}

fn of_watcher<'a>(events: &'a [Event], name: &str) -> Vec<&'a str> {
    topics(events).into_iter().filter(|topic| watcher(topic) == name).collect()
}

fn killed(events: &[Event]) -> BTreeSet<Option<i64>> {
    pids(events, ".kill")
}

fn reaped(events: &[Event]) -> BTreeSet<Option<i64>> {
    pids(events, ".reap")
}

fn pids(events: &[Event], kind: &str) -> BTreeSet<Option<i64>> {
    let found = events.iter().filter(|(topic, _)| topic.ends_with(kind));
    found.map(|(_, payload)| payload.get("process_pid").and_then(Value::as_i64)).collect()
}
