//! The topics that one subscriber wants. No I/O.

use crate::frame::{self, Frame, Violation};
use std::collections::BTreeMap;

/// Topics of one subscriber at most, each counted once.
const MOST: usize = 4096;
/// Bytes that all of them may have.
const MOST_BYTES: usize = 1 << 20;

/// The beginnings of topics that are wanted, each with how often it was asked for.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    topics: BTreeMap<Box<[u8]>, u32>,
    bytes: usize,
    longest: usize,
}

impl Subscriptions {
    /// Takes in a frame of a subscriber: a message with 1 or 0 and a topic, or the commands SUBSCRIBE and
    /// CANCEL of version 3.1. Everything else is for nobody.
    ///
    /// # Errors
    /// A broken command, or too many topics.
    pub(crate) fn take(&mut self, frame: &Frame) -> Result<(), Violation> {
        if frame.command {
            match frame::command_parts(&frame.body)? {
                (b"SUBSCRIBE", topic) => self.add(topic),
                (b"CANCEL", topic) => self.remove(topic),
                _ => Ok(()),
            }
        } else {
            match frame.body.split_first() {
                Some((1, topic)) => self.add(topic),
                Some((0, topic)) => self.remove(topic),
                _ => Ok(()),
            }
        }
    }

    fn add(&mut self, topic: &[u8]) -> Result<(), Violation> {
        if let Some(count) = self.topics.get_mut(topic) {
            *count = count.saturating_add(1);
            return Ok(());
        }
        self.bytes += topic.len();
        if self.topics.len() >= MOST || self.bytes > MOST_BYTES {
            return Err(Violation::TooManyTopics);
        }
        self.longest = self.longest.max(topic.len());
        self.topics.insert(topic.into(), 1);
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "stands beside `add`")]
    fn remove(&mut self, topic: &[u8]) -> Result<(), Violation> {
        if let Some(count) = self.topics.get_mut(topic) {
            *count -= 1;
            if *count == 0 {
                self.topics.remove(topic);
                self.bytes -= topic.len();
            }
        }
        Ok(())
    }

    /// Whether a topic begins with one of them.
    pub(crate) fn want(&self, topic: &[u8]) -> bool {
        // As many look-ups as the topic has bytes, however many topics a subscriber names.
        let longest = self.longest.min(topic.len());
        !self.topics.is_empty()
            && (0..=longest).any(|length| self.topics.contains_key(&topic[..length]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &[u8]) -> Frame {
        Frame { more: false, command: false, body: body.to_vec() }
    }

    fn command(name: &str, topic: &[u8]) -> Frame {
        let sent = frame::command(name, topic);
        Frame { more: false, command: true, body: sent[2..].to_vec() }
    }

    #[test]
    fn a_topic_is_wanted_until_it_is_cancelled_as_often_as_asked_for() {
        let mut wanted = Subscriptions::default();
        assert!(!wanted.want(b"watcher.web.spawn"));
        wanted.take(&message(b"\x01watcher.web.")).unwrap();
        wanted.take(&command("SUBSCRIBE", b"watcher.web.")).unwrap();
        assert!(wanted.want(b"watcher.web.spawn"));
        assert!(!wanted.want(b"watcher.we"));
        wanted.take(&message(b"\x00watcher.web.")).unwrap();
        assert!(wanted.want(b"watcher.web.reap"));
        wanted.take(&command("CANCEL", b"watcher.web.")).unwrap();
        assert!(!wanted.want(b"watcher.web.reap"));
        wanted.take(&command("CANCEL", b"watcher.web.")).unwrap();
        wanted.take(&message(b"\x01")).unwrap();
        assert!(wanted.want(b"") && wanted.want(b"anything"), "an empty topic is all of them");
    }

    #[test]
    fn what_is_neither_is_ignored_and_what_is_broken_is_not() {
        let mut wanted = Subscriptions::default();
        wanted.take(&message(b"")).unwrap();
        wanted.take(&message(b"hello")).unwrap();
        wanted.take(&command("PING", b"")).unwrap();
        let broken = Frame { more: false, command: true, body: vec![9] };
        assert_eq!(wanted.take(&broken), Err(Violation::Command));
        assert!(!wanted.want(b"hello"));
    }

    #[test]
    fn topics_have_an_end() {
        let mut wanted = Subscriptions::default();
        let mut ask = |n: usize, length| {
            let mut body = vec![1];
            body.extend(n.to_be_bytes());
            body.resize(length, 0);
            wanted.take(&message(&body))
        };
        assert_eq!((0..MOST).find_map(|n| ask(n, 9).err()), None);
        assert_eq!(ask(0, 9), Ok(()), "one that is there already");
        assert_eq!(ask(MOST, 9), Err(Violation::TooManyTopics));
        let mut wanted = Subscriptions::default();
        let long = vec![1; MOST_BYTES + 2];
        assert_eq!(wanted.take(&message(&long)), Err(Violation::TooManyTopics));
    }
}
