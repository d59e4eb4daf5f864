//! What a plugin is.
//!
//! A plugin is built from its options, which does nothing but read them, and is then called by `runner` from
//! one thread. Nothing here may wait for long: meanwhile no event is heard.

use super::circus::Circus;
use super::event::Event;
use std::os::fd::BorrowedFd;
use std::time::Instant;

/// The plugin cannot start.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct PluginError {
    /// What failed, on what, and what to do: one sentence.
    pub message: String,
}

impl PluginError {
    /// One sentence.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// A plugin. All that it does not need has a default that does nothing.
pub trait Plugin {
    /// Called once, before everything else.
    ///
    /// # Errors
    /// What keeps the plugin from working at all. A peer that is not there should be reported and tried again
    /// instead.
    fn start(&mut self, circus: &mut Circus) -> Result<(), PluginError> {
        let _ = circus;
        Ok(())
    }

    /// An event of a watcher, in the order of publication.
    fn event(&mut self, circus: &mut Circus, event: &Event) {
        let _ = (circus, event);
    }

    /// When [`tick`](Self::tick) is wanted next. Asked again after every call of anything.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The deadline has passed.
    fn tick(&mut self, circus: &mut Circus, now: Instant) {
        let _ = (circus, now);
    }

    /// What to wait for besides: [`readable`](Self::readable) is called when any of them can be read.
    fn files(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    /// At least one of the files can be read. Must not block on those that cannot.
    fn readable(&mut self, circus: &mut Circus) {
        let _ = circus;
    }

    /// Called once, on SIGTERM, SIGINT or the end of circusd.
    fn stop(&mut self, circus: &mut Circus) {
        let _ = circus;
    }
}
