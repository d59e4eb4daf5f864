//! `circus.plugins.redis_observer.RedisObserver`: asks a Redis how it is every `loop_rate`, hands some of its
//! figures on to a statsd, and has a watcher restarted when it cannot be reached.
//!
//! The connection is kept, so that the figures about connections are not those of our own, and is made anew
//! after a failure. A Redis that answers with an error, as while it loads its data or to a wrong password, is
//! not restarted: that would not help.

mod info_reply;

use super::asker::Asker;
use super::circus::Circus;
use super::interface::{Plugin, PluginError};
use super::options::{self, OptionError, Options};
use redis::{Client, Connection, IntoConnectionInfo, RedisError};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};
use tracing::debug;

/// The options that are read besides those of every observer.
pub const OPTIONS: &[&str] = &["redis_url", "restart_on_timeout", "timeout"];

/// The plugin.
pub struct RedisObserver {
    /// One at a time: Redis answers in turn anyway.
    asker: Asker<(Option<Connection>, Outcome)>,
    client: Client,
    timeout: Duration,
    /// None before the first answer, after a failure, and while it is asked.
    connection: Option<Connection>,
}

/// What came of asking.
enum Outcome {
    /// The reply to `INFO`.
    Info(String),
    /// Redis cannot be reached, or does not answer in time.
    Unreached(RedisError),
    /// Redis answers with an error.
    Refused(RedisError),
}

impl RedisObserver {
    /// Reads the options.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn new(options: &Options) -> Result<Self, OptionError> {
        let url = options.text("redis_url", "redis://localhost:6379/0");
        let client = client(url.trim()).map_err(|reason| OptionError {
            section: options.section().to_owned(),
            key: "redis_url".to_owned(),
            value: Some(without_password(&url)),
            reason,
        })?;
        Ok(Self {
            asker: Asker::new(options, "redis_observer", "restart_on_timeout", 1)?,
            client,
            timeout: options.value("timeout", Duration::from_secs(5), options::period)?,
            connection: None,
        })
    }

    /// Where Redis is, without a password.
    fn place(&self) -> String {
        format!("Redis at {}", self.client.get_connection_info().addr())
    }

    fn take(&mut self, circus: &mut Circus, outcome: Outcome) {
        let (error, is_unreached) = match outcome {
            Outcome::Info(text) => {
                for (key, value) in info_reply::gauges(&text) {
                    self.asker.statsd().send(&format!("redis_stats.{key}"), value);
                }
                self.asker.answered(&self.place());
                return;
            }
            Outcome::Unreached(error) => (error, true),
            Outcome::Refused(error) => (error, false),
        };
        self.asker.statsd().increment("redis_stats.error");
        let reason = format!("{}: {error}", self.place());
        self.asker.failed(&reason);
        if is_unreached {
            self.asker.restart(circus, &reason, "redis_stats.restart_on_error");
        }
    }
}

impl Plugin for RedisObserver {
    fn start(&mut self, _: &mut Circus) -> Result<(), PluginError> {
        self.asker.start(&self.place())
    }

    fn deadline(&self) -> Option<Instant> {
        self.asker.deadline()
    }

    fn tick(&mut self, _: &mut Circus, now: Instant) {
        if !self.asker.is_due(now) {
            return;
        }
        let place = self.place();
        if !self.asker.has_room() {
            debug!("{place} has not answered yet");
            return;
        }
        let (client, timeout, kept) = (self.client.clone(), self.timeout, self.connection.take());
        self.asker.ask(&place, move || ask(&client, timeout, kept));
    }

    fn files(&self) -> Vec<BorrowedFd<'_>> {
        self.asker.files()
    }

    fn readable(&mut self, circus: &mut Circus) {
        for (connection, outcome) in self.asker.finished() {
            self.connection = connection;
            self.take(circus, outcome);
        }
    }
}

/// Asks over the connection from before, or over a new one if there is none or Redis has closed it since.
fn ask(
    client: &Client,
    timeout: Duration,
    kept: Option<Connection>,
) -> (Option<Connection>, Outcome) {
    let from_kept = kept.map(|connection| ask_over(connection, timeout));
    let answer = match from_kept {
        Some(Err(error)) if error.is_connection_dropped() => ask_anew(client, timeout),
        Some(answer) => answer,
        None => ask_anew(client, timeout),
    };
    match answer {
        Ok((connection, text)) => (Some(connection), Outcome::Info(text)),
        Err(error) if error.is_io_error() => (None, Outcome::Unreached(error)),
        Err(error) => (None, Outcome::Refused(error)),
    }
}

fn ask_anew(client: &Client, timeout: Duration) -> Result<(Connection, String), RedisError> {
    ask_over(client.get_connection_with_timeout(timeout)?, timeout)
}

fn ask_over(
    mut connection: Connection,
    timeout: Duration,
) -> Result<(Connection, String), RedisError> {
    connection.set_read_timeout(Some(timeout))?;
    connection.set_write_timeout(Some(timeout))?;
    let text = redis::cmd("INFO").query(&mut connection)?;
    Ok((connection, text))
}

fn client(url: &str) -> Result<Client, String> {
    let wrong = |error: RedisError| {
        format!("not the URL of a Redis, {error}; write one such as redis://localhost:6379/0")
    };
    let info = url.into_connection_info().map_err(wrong)?;
    // Redis counts commands, too; so none but what is needed.
    let settings = info.redis_settings().clone().set_skip_set_lib_name();
    Client::open(info.set_redis_settings(settings)).map_err(wrong)
}

/// The URL as it may stand in a message.
fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://***@{place}"),
        (None, Some((_, place))) => format!("***@{place}"),
        (_, None) => url.split_once('?').map_or(url, |(place, _)| place).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    const MOMENT: Duration = Duration::from_millis(100);
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A Redis at a port of its own that gives this answer to the second line of every command. The
    /// connections that it has taken are those of the result.
    fn redis(answers: &'static [&'static str]) -> (Client, thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("redis://{}/0", listener.local_addr().expect("an address"));
        let server = thread::spawn(move || {
            for answer in answers {
                let (peer, _) = listener.accept().expect("a connection");
                serve(peer, answer);
            }
        });
        (client(&url).expect("a URL"), server)
    }

    /// Answers one command, `*1 $4 INFO`, and closes the connection.
    fn serve(mut peer: TcpStream, answer: &str) {
        let mut lines = BufReader::new(peer.try_clone().expect("a copy")).lines();
        let info = lines.find(|line| line.as_deref().is_ok_and(|line| line == "INFO"));
        info.expect("a command").expect("readable");
        peer.write_all(answer.as_bytes()).expect("written");
    }

    #[test]
    fn a_connection_that_redis_has_closed_is_made_anew() {
        let (client, server) = redis(&["$7\r\nlru:1\r\n\r\n", "$7\r\nlru:2\r\n\r\n"]);
        let (kept, outcome) = ask(&client, PATIENCE, None);
        assert!(matches!(outcome, Outcome::Info(text) if text == "lru:1\r\n"));
        let (kept, outcome) = ask(&client, PATIENCE, Some(kept.expect("it is kept")));
        assert!(matches!(outcome, Outcome::Info(text) if text == "lru:2\r\n"));
        assert!(kept.is_some());
        server.join().expect("both were asked for");
    }

    #[test]
    fn silence_and_absence_are_told_from_a_refusal() {
        let (client, _) = redis(&["-LOADING Redis is loading the dataset in memory\r\n"]);
        let (_, outcome) = ask(&client, PATIENCE, None);
        assert!(matches!(outcome, Outcome::Refused(_)));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("redis://{}/0", listener.local_addr().expect("an address"));
        let silent = super::client(&url).expect("a URL");
        let outcome = ask(&silent, MOMENT, None).1;
        assert!(matches!(outcome, Outcome::Unreached(error) if error.is_timeout()));
        drop(listener);
        assert!(matches!(ask(&silent, PATIENCE, None).1, Outcome::Unreached(_)));
    }

    #[test]
    fn wrong_options_are_one_sentence_without_a_password() {
        let new = |key: &str, value: &str| {
            let options = Options::new("plugin:r", [(key.to_owned(), value.to_owned())]);
            RedisObserver::new(&options).err().map(|error| error.to_string())
        };
        for (url, shown) in [
            ("http://localhost", "http://localhost"),
            ("localhost:6379", "localhost:6379"),
            ("redis://me:secret@h/x", "redis://***@h/x"),
            ("me:secret@h", "***@h"),
            ("unix:?pass=secret", "unix:"),
        ] {
            let error = new("redis_url", url).expect(url);
            let head = format!("[plugin:r] redis_url = {shown}: not the URL of a Redis, ");
            assert!(error.starts_with(&head), "{error}");
            let tail = "; write one such as redis://localhost:6379/0";
            assert!(error.ends_with(tail) && !error.contains("secret"), "{error}");
        }
        for url in ["redis://:pw@h:1/2", "unix:///run/redis.sock?db=1", "rediss://h", "redis://h"] {
            assert_eq!(new("redis_url", url), None);
        }
        assert!(new("timeout", "soon").expect("refused").contains("timeout = soon: not a time"));
    }
}
