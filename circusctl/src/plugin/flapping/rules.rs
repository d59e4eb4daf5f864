//! When a watcher is flapping, and what is done about it. Pure: time is handed in.
//!
//! ```text
//!            attempts deaths in a row, fast            tries < max_retry: stop, and start after retry_in
//!  watching ---------------------------------> verdict ---------------------------------> waiting
//!     ^                                           |                                          |
//!     |                  tries = max_retry: stop  |           retry_in is over, or it was    |
//!     +-------------------------------------------+------------ started by somebody ---------+
//! ```
//!
//! Only deaths that nobody asked for count: a process that was sent its stop signal is known by the `kill` event.

use super::super::options::{self, OptionError, Options};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// What a watcher's section or the plugin's own says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Deaths in a row that are looked at.
    pub attempts: u32,
    /// The time within which they are fast.
    pub window: Duration,
    /// How long a flapping watcher is stopped.
    pub retry_in: Duration,
    /// How often it is started again; none is for ever.
    pub max_retry: Option<u32>,
    /// It is looked at.
    pub active: bool,
}

/// The options that [`Settings::read`] reads.
pub const OPTIONS: &[&str] = &["attempts", "window", "retry_in", "max_retry", "active"];

impl Default for Settings {
    fn default() -> Self {
        Self {
            attempts: 2,
            window: Duration::from_secs(1),
            retry_in: Duration::from_secs(7),
            max_retry: Some(5),
            active: true,
        }
    }
}

impl Settings {
    /// Reads the options whose names begin with `prefix`; what is not given is as in `base`.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn read(options: &Options, prefix: &str, base: Self) -> Result<Self, OptionError> {
        let key = |name: &str| format!("{prefix}{name}");
        Ok(Self {
            attempts: options.value(&key("attempts"), base.attempts, options::positive)?,
            window: options.value(&key("window"), base.window, options::seconds)?,
            retry_in: options.value(&key("retry_in"), base.retry_in, options::seconds)?,
            max_retry: options.value(&key("max_retry"), base.max_retry, max_retry)?,
            active: options.value(&key("active"), base.active, options::boolean)?,
        })
    }
}

fn max_retry(text: &str) -> Result<Option<u32>, String> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(count) if count >= 0 => Ok(Some(u32::try_from(count).unwrap_or(u32::MAX))),
        _ => Err("not a count; write a whole number from 0 on, or -1 for no limit".to_owned()),
    }
}

/// What is to be done about a watcher that is flapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Stop it, and start it again when the time has come. The number counts from 1.
    Retry(u32),
    /// Stop it for good.
    GiveUp,
}

/// What is known of one watcher.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    settings: Settings,
    /// Deaths in a row, without those that were asked for.
    deaths: Vec<Instant>,
    /// Processes that were asked to end and have not ended yet.
    asked: BTreeSet<i32>,
    tries: u32,
    /// It is stopped until then.
    until: Option<Instant>,
}

impl Watched {
    /// A watcher that has just been heard of.
    pub fn new(settings: Settings) -> Self {
        let (deaths, asked) = (Vec::new(), BTreeSet::new());
        Self { settings, deaths, asked, tries: 0, until: None }
    }

    /// It is to be looked at in another way from now on.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
        if !settings.active {
            self.deaths.clear();
        }
    }

    /// A process was asked to end.
    pub fn kill(&mut self, pid: i32) {
        self.asked.insert(pid);
    }

    /// The process was asked to end.
    pub fn was_asked(&self, pid: i32) -> bool {
        self.asked.contains(&pid)
    }

    /// A process has ended. `slack` is how much longer than `window` the deaths may be apart, because circusd
    /// waits before it starts the next process.
    pub fn reap(&mut self, pid: Option<i32>, now: Instant, slack: Duration) -> Option<Verdict> {
        let asked = pid.is_some_and(|pid| self.asked.remove(&pid));
        if asked || self.until.is_some() || !self.settings.active {
            return None;
        }
        self.deaths.push(now);
        let attempts = usize::try_from(self.settings.attempts).unwrap_or(usize::MAX);
        if self.deaths.len() < attempts {
            return None;
        }
        let lasted = self.deaths.first().map_or(Duration::ZERO, |first| now.duration_since(*first));
        self.deaths.clear();
        if lasted > self.settings.window.saturating_add(slack) {
            self.tries = 0;
            return None;
        }
        if self.settings.max_retry.is_some_and(|limit| self.tries >= limit) {
            self.tries = 0;
            return Some(Verdict::GiveUp);
        }
        self.tries += 1;
        self.until = Some(now + self.settings.retry_in);
        Some(Verdict::Retry(self.tries))
    }

    /// All of it was started, by us or by somebody else: then there is nothing left to wait for.
    pub fn started(&mut self) {
        self.until = None;
        self.deaths.clear();
        self.asked.clear();
    }

    /// All of it was stopped. If it was not us, somebody has taken the matter in hand, and it begins anew.
    pub fn stopped(&mut self) {
        self.deaths.clear();
        self.asked.clear();
        if self.until.is_none() {
            self.tries = 0;
        }
    }

    /// The stop was not carried out.
    pub fn not_stopped(&mut self) {
        self.until = None;
    }

    /// It could not be started; tried again then.
    pub fn put_off(&mut self, until: Instant) {
        self.until = Some(until);
    }

    /// When it is to be started again, if it is.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// How long it is stopped when it flaps.
    pub fn retry_in(&self) -> Duration {
        self.settings.retry_in
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Deaths at these tenths of a second after the beginning, and what came of each.
    fn deaths(watched: &mut Watched, begin: Instant, tenths: &[u64]) -> Vec<Option<Verdict>> {
        let mut pid = 100;
        tenths
            .iter()
            .map(|tenths| {
                pid += 1;
                watched.reap(Some(pid), begin + Duration::from_millis(tenths * 100), SECOND)
            })
            .collect()
    }

    fn settings() -> Settings {
        Settings { max_retry: Some(2), retry_in: 2 * SECOND, ..Settings::default() }
    }

    #[test]
    fn a_pair_within_the_window_and_the_pace_of_circusd_is_flapping() {
        let begin = Instant::now();
        let slow = |tenths: &[u64]| deaths(&mut Watched::new(settings()), begin, tenths);
        assert_eq!(slow(&[0, 20]), [None, Some(Verdict::Retry(1))]);
        assert_eq!(slow(&[0, 21]), [None, None]);
        assert_eq!(slow(&[0, 21, 22, 23]), [None, None, None, Some(Verdict::Retry(1))]);
    }

    #[test]
    fn it_is_stopped_until_its_time_and_in_the_end_for_good() {
        let begin = Instant::now();
        let mut watched = Watched::new(settings());
        for number in 1..=2 {
            assert_eq!(deaths(&mut watched, begin, &[0, 1])[1], Some(Verdict::Retry(number)));
            assert_eq!(watched.until(), Some(begin + Duration::from_millis(2100)));
            assert_eq!(deaths(&mut watched, begin, &[2, 3]), [None, None], "the end of our stop");
            watched.stopped();
            watched.started();
        }
        assert_eq!(deaths(&mut watched, begin, &[0, 1])[1], Some(Verdict::GiveUp));
        assert_eq!(watched.until(), None);
        watched.stopped();
        watched.started();
        assert_eq!(deaths(&mut watched, begin, &[0, 1])[1], Some(Verdict::Retry(1)), "anew");
    }

    #[test]
    fn deaths_that_were_asked_for_do_not_count() {
        let begin = Instant::now();
        let mut watched = Watched::new(settings());
        for pid in 1..=4 {
            watched.kill(pid);
        }
        for pid in 1..=4 {
            assert_eq!(watched.reap(Some(pid), begin, SECOND), None);
        }
        assert_eq!(watched.reap(Some(1), begin, SECOND), None, "the number of another one");
        assert_eq!(watched.reap(Some(2), begin, SECOND), Some(Verdict::Retry(1)));
    }

    #[test]
    fn a_start_by_somebody_else_ends_the_waiting_and_a_stop_the_counting() {
        let begin = Instant::now();
        let mut watched = Watched::new(settings());
        deaths(&mut watched, begin, &[0, 1]);
        watched.stopped();
        watched.started();
        assert_eq!(watched.until(), None);
        deaths(&mut watched, begin, &[5]);
        watched.stopped();
        assert_eq!(deaths(&mut watched, begin, &[6]), [None]);
        assert_eq!(watched.tries, 0);
    }

    #[test]
    fn an_inactive_watcher_is_not_looked_at_until_it_is_active_again() {
        let begin = Instant::now();
        let mut watched = Watched::new(settings());
        deaths(&mut watched, begin, &[0]);
        watched.set(Settings { active: false, ..settings() });
        assert_eq!(deaths(&mut watched, begin, &[1, 2, 3]), [None; 3]);
        watched.set(settings());
        assert_eq!(deaths(&mut watched, begin, &[4, 5]), [None, Some(Verdict::Retry(1))]);
    }

    #[test]
    fn no_limit_is_for_ever_and_a_limit_of_0_is_at_once() {
        let begin = Instant::now();
        let with = |max_retry| Watched::new(Settings { max_retry, ..settings() });
        let (mut endless, mut none) = (with(None), with(Some(0)));
        for number in 1..100 {
            assert_eq!(deaths(&mut endless, begin, &[0, 1])[1], Some(Verdict::Retry(number)));
            endless.started();
        }
        assert_eq!(deaths(&mut none, begin, &[0, 1])[1], Some(Verdict::GiveUp));
    }

    #[test]
    fn sections_of_watchers_lie_over_that_of_the_plugin() {
        let read = |values: &[(&str, &str)], prefix| {
            let values = values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            Settings::read(&Options::new("watcher:w", values), prefix, settings())
        };
        let found = read(&[("flapping.attempts", "3"), ("flapping.max_retry", "-1")], "flapping.");
        let expected = Settings { attempts: 3, max_retry: None, ..settings() };
        assert_eq!(found, Ok(expected));
        for (key, value) in [
            ("attempts", "0"),
            ("window", "-1"),
            ("retry_in", "soon"),
            ("max_retry", "-2"),
            ("active", "maybe"),
        ] {
            let error = read(&[(key, value)], "").expect_err(key).to_string();
            assert!(error.starts_with(&format!("[watcher:w] {key} = {value}: not a ")), "{error}");
        }
    }
}
