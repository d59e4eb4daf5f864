//! `circus.plugins.statsd.StatsdEmitter`: counts every event of every watcher.

use super::client::Statsd;
use crate::plugin::circus::Circus;
use crate::plugin::event::Event;
use crate::plugin::interface::Plugin;
use crate::plugin::options::{OptionError, Options};

/// The plugin.
pub struct StatsdEmitter {
    statsd: Statsd,
}

impl StatsdEmitter {
    /// Reads the options.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn new(options: &Options) -> Result<Self, OptionError> {
        Ok(Self { statsd: Statsd::new(options, "app")? })
    }
}

impl Plugin for StatsdEmitter {
    fn event(&mut self, _: &mut Circus, event: &Event) {
        self.statsd.increment(&format!("{}.{}", event.watcher, event.action));
    }
}
