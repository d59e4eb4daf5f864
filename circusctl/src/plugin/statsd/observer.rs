//! What the plugins have in common that look at something every `loop_rate` and tell a statsd about it.

use super::client::Statsd;
use crate::plugin::options::{self, OptionError, Options};
use crate::plugin::periodic::Periodic;
use std::time::{Duration, Instant};

/// The options that [`Observer::new`] reads besides those of [`Statsd`].
pub const OPTIONS: &[&str] = &["loop_rate"];

/// A statsd, and the times at which to look. The first is one `loop_rate` after the plugin was built.
#[derive(Debug)]
pub struct Observer {
    /// Where to tell.
    pub statsd: Statsd,
    rounds: Periodic,
}

impl Observer {
    /// Reads the options of both.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn new(options: &Options, default_application: &str) -> Result<Self, OptionError> {
        let statsd = Statsd::new(options, default_application)?;
        let every = options.value("loop_rate", Duration::from_secs(60), options::period)?;
        Ok(Self { statsd, rounds: Periodic::new(every, Instant::now()) })
    }

    /// When to look next.
    pub fn deadline(&self) -> Option<Instant> {
        Some(self.rounds.next())
    }

    /// Whether it is time to look; if so, the next time is one `loop_rate` later.
    pub fn is_due(&mut self, now: Instant) -> bool {
        self.rounds.take(now)
    }
}
