//! What the observers have in common that ask a server every `loop_rate`: requests on threads of their own, a failure
//! that is said once, and a watcher that is restarted for it.

use super::circus::Circus;
use super::errand::Errands;
use super::interface::PluginError;
use super::options::{OptionError, Options};
use super::restart;
use super::statsd::client::Statsd;
use super::statsd::observer::Observer;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;
use tracing::{info, warn};

/// Asks, and remembers whether there was an answer; `T` is what comes of a request.
pub struct Asker<T> {
    observer: Observer,
    /// Requests at a time.
    at_once: usize,
    /// None until the plugin starts.
    requests: Option<Errands<T>>,
    restart: Option<String>,
    /// The last request failed, and that was said.
    failed: bool,
}

impl<T: Send + 'static> Asker<T> {
    /// Reads the options of an [`Observer`], and the one that names the watcher to restart.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn new(
        options: &Options,
        default_application: &str,
        restart: &str,
        at_once: usize,
    ) -> Result<Self, OptionError> {
        Ok(Self {
            observer: Observer::new(options, default_application)?,
            at_once,
            requests: None,
            restart: restart::watcher(options, restart),
            failed: false,
        })
    }

    /// Gets ready to ask the server, which is named `place` in what is said about it.
    ///
    /// # Errors
    /// When the process is out of fds.
    pub fn start(&mut self, place: &str) -> Result<(), PluginError> {
        let cannot = |error| PluginError::new(format!("{place} cannot be asked: {error}"));
        self.requests = Some(Errands::new(self.at_once).map_err(cannot)?);
        Ok(())
    }

    /// Where to tell.
    pub fn statsd(&mut self) -> &mut Statsd {
        &mut self.observer.statsd
    }

    /// When to ask next.
    pub fn deadline(&self) -> Option<Instant> {
        self.observer.deadline()
    }

    /// Whether it is time to ask; if so, the next time is one `loop_rate` later.
    pub fn is_due(&mut self, now: Instant) -> bool {
        self.observer.is_due(now)
    }

    /// Whether one more request may be begun.
    pub fn has_room(&self) -> bool {
        self.requests.as_ref().is_some_and(Errands::has_room)
    }

    /// Begins a request, which should have a time limit.
    pub fn ask(&mut self, place: &str, request: impl FnOnce() -> T + Send + 'static) {
        let begun = match &mut self.requests {
            Some(requests) => requests.begin(request),
            None => Err(io::Error::other("the plugin does not run")),
        };
        if let Err(error) = begun {
            warn!("{place} is not asked: {error}");
        }
    }

    /// Readable when something has come of a request.
    pub fn files(&self) -> Vec<BorrowedFd<'_>> {
        self.requests.iter().map(Errands::file).collect()
    }

    /// What has come of requests.
    pub fn finished(&mut self) -> Vec<T> {
        self.requests.as_mut().map(Errands::finished).unwrap_or_default()
    }

    /// There was an answer.
    pub fn answered(&mut self, place: &str) {
        if std::mem::take(&mut self.failed) {
            info!("{place} answers again");
        }
    }

    /// There was none, for this reason.
    pub fn failed(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.failed, true) {
            warn!("{reason}");
        }
    }

    /// Restarts the watcher, if one is named and not stopped, and counts that as `metric`.
    pub fn restart(&mut self, circus: &mut Circus, reason: &str, metric: &str) {
        let Some(watcher) = &self.restart else { return };
        if restart::unless_stopped(circus, watcher, reason) {
            self.observer.statsd.increment(metric);
        }
    }
}
