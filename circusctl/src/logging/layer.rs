//! From tracing's events to records in the queue. Never waits.

use super::control::Queue;
use super::format::Record;
use super::settings::Level;
use jiff::Zoned;
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Puts every event into the queue.
pub(super) struct QueueLayer(pub(super) Queue);

impl<S: Subscriber> Layer<S> for QueueLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warning,
            tracing::Level::INFO => Level::Info,
            tracing::Level::DEBUG | tracing::Level::TRACE => Level::Debug,
        };
        let mut text = Text::default();
        event.record(&mut text);
        let text = text.message + &text.fields;
        self.0.put(Record { time: Zoned::now(), level, text });
    }
}

fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => out.push(' '),
            c if c.is_control() && c != '\t' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// The message, and the other fields as `key=value` behind it. A line break in either becomes a blank, so
/// that one event is one line; other control characters are shown by their numbers, as `\x1b`, so that a name
/// cannot command the terminal of who reads the log.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let shown = visible(&format!("{value:?}"));
        if field.name() == "message" {
            self.message = shown;
        } else {
            self.fields.push_str(&format!(" {}={shown}", field.name()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_without_commands_for_a_terminal() {
        assert_eq!(visible("ü\ta\r\nb\x1b[2J\u{9b}\0"), "ü\ta  b\\x1b[2J\\x9b\\x00");
    }
}
