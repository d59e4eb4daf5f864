//! `circus.plugins.http_observer.HttpObserver`: asks a URL every `loop_rate`, tells a statsd how long the answer
//! took, and has a watcher restarted when there is none.
//!
//! The requests are made by `ureq`, each over a connection of its own, so that it finds what a new client would
//! find. A request that takes longer than `loop_rate` does not keep the next one back.

use super::asker::Asker;
use super::circus::Circus;
use super::interface::{Plugin, PluginError};
use super::options::{self, OptionError, Options};
use super::statsd::Value;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};
use ureq::tls::{RootCerts, TlsConfig};

/// The options that are read besides those of every observer.
pub const OPTIONS: &[&str] = &["check_url", "restart_on_error", "timeout"];

/// Requests without an answer at a time; more are not begun.
const AT_ONCE: usize = 16;

/// Redirections that are followed, as in the original.
const REDIRECTIONS: u32 = 5;

/// The status of a request without an answer, as in the original.
const NO_ANSWER: u16 = 599;

/// The plugin.
pub struct HttpObserver {
    asker: Asker<Outcome>,
    url: String,
    agent: ureq::Agent,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// A page, after so long.
    Page(Duration),
    /// No page: a status for it, and the reason.
    None(u16, String),
}

impl HttpObserver {
    /// Reads the options.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn new(options: &Options) -> Result<Self, OptionError> {
        let timeout = options.value("timeout", Duration::from_secs(10), options::period)?;
        Ok(Self {
            asker: Asker::new(options, "http_observer", "restart_on_error", AT_ONCE)?,
            url: options.value("check_url", "http://localhost/".to_owned(), url)?,
            agent: agent(timeout),
        })
    }

    fn take(&mut self, circus: &mut Circus, outcome: Outcome) {
        let statsd = self.asker.statsd();
        let (status, reason) = match outcome {
            Outcome::Page(time) => {
                let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                statsd.send("http_stats.request_time", Value::Milliseconds(time));
                self.asker.answered(&self.url);
                return;
            }
            Outcome::None(status, reason) => (status, reason),
        };
        statsd.increment("http_stats.error");
        statsd.increment(&format!("http_stats.error.{status}"));
        let reason = format!("{}: {reason}", self.url);
        self.asker.failed(&reason);
        self.asker.restart(circus, &reason, "http_stats.restart_on_error");
    }
}

impl Plugin for HttpObserver {
    fn start(&mut self, _: &mut Circus) -> Result<(), PluginError> {
        self.asker.start(&self.url)
    }

    fn deadline(&self) -> Option<Instant> {
        self.asker.deadline()
    }

    fn tick(&mut self, _: &mut Circus, now: Instant) {
        if self.asker.is_due(now) {
            let (agent, url) = (self.agent.clone(), self.url.clone());
            self.asker.ask(&self.url, move || request(&agent, &url));
        }
    }

    fn files(&self) -> Vec<BorrowedFd<'_>> {
        self.asker.files()
    }

    fn readable(&mut self, circus: &mut Circus) {
        for outcome in self.asker.finished() {
            self.take(circus, outcome);
        }
    }
}

fn agent(timeout: Duration) -> ureq::Agent {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .max_redirects(REDIRECTIONS)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .max_idle_connections(0)
        .user_agent(concat!("circus-http-observer/", env!("CARGO_PKG_VERSION")))
        // The original goes straight to the host, whatever the environment says.
        .proxy(None)
        .tls_config(tls)
        .build()
        .into()
}

/// Asks and reads the whole answer, as a browser would.
fn request(agent: &ureq::Agent, url: &str) -> Outcome {
    let begin = Instant::now();
    let failed = |error: &dyn std::error::Error| Outcome::None(NO_ANSWER, words(error));
    let mut response = match agent.get(url).call() {
        Ok(response) => response,
        Err(error) => return failed(&error),
    };
    let status = response.status();
    if let Err(error) = io::copy(&mut response.body_mut().as_reader(), &mut io::sink()) {
        return failed(&error);
    }
    match status.is_success() {
        true => Outcome::Page(begin.elapsed()),
        false => Outcome::None(status.as_u16(), format!("the answer is {status}")),
    }
}

/// An error and what caused it.
fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut words: Vec<String> = causes.map(ToString::to_string).collect();
    words.dedup();
    words.join(": ")
}

/// A URL that can be asked for.
fn url(text: &str) -> Result<String, String> {
    let wrong = || "not a URL; write one such as http://localhost:8080/health".to_owned();
    let parsed: ureq::http::Uri = text.parse().map_err(|_| wrong())?;
    let is_web = matches!(parsed.scheme_str(), Some("http" | "https"));
    let has_host = parsed.host().is_some_and(|host| !host.is_empty());
    (is_web && has_host).then(|| text.to_owned()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread;

    /// A server that gives these answers, one for each connection, and the lines of the requests.
    fn server(answers: &'static [&'static str]) -> (String, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let requests = thread::spawn(move || {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut peer, _) = listener.accept().expect("a request");
                let lines = BufReader::new(peer.try_clone().expect("a copy")).lines();
                let lines = lines.map_while(Result::ok).take_while(|line| !line.is_empty());
                requests.extend(lines);
                peer.write_all(answer.as_bytes()).expect("written");
            }
            requests
        });
        (format!("http://{address}"), requests)
    }

    const PAGE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    fn ask(url: &str) -> Outcome {
        request(&agent(Duration::from_secs(10)), url)
    }

    #[test]
    fn a_page_is_read_with_the_name_and_password_of_its_url() {
        let (url, requests) = server(&[PAGE]);
        let with_password = url.replace("http://", "http://me:secret@") + "/health?x=1";
        assert!(matches!(ask(&with_password), Outcome::Page(_)));
        let requests = requests.join().expect("a server").join("\n").to_lowercase();
        assert!(requests.starts_with("get /health?x=1 http/1.1\n"), "{requests}");
        assert!(requests.contains("authorization: basic bwu6c2vjcmv0"), "{requests}");
    }

    #[test]
    fn redirections_are_followed_and_the_last_one_of_too_many_is_the_answer() {
        const MOVED: &str = "HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n";
        let (url, _) = server(&[MOVED, MOVED, MOVED, MOVED, MOVED, PAGE]);
        assert!(matches!(ask(&url), Outcome::Page(_)));
        let (url, _) = server(&[MOVED, MOVED, MOVED, MOVED, MOVED, MOVED]);
        assert_eq!(ask(&url), Outcome::None(302, "the answer is 302 Found".to_owned()));
    }

    #[test]
    fn what_is_no_page_has_a_status_and_a_reason() {
        const SHORT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\ncut";
        const BAD: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
        for (answer, expected) in [(BAD, 500), (SHORT, 599), ("nonsense\r\n\r\n", 599), ("", 599)] {
            let (url, _) = server(vec![answer].leak());
            let Outcome::None(status, reason) = ask(&url) else { panic!("a page: {answer}") };
            assert_eq!(status, expected, "{answer}: {reason}");
            assert!(!reason.is_empty());
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let silent = request(&agent(Duration::from_millis(100)), &url);
        assert!(
            matches!(&silent, Outcome::None(599, reason) if reason.contains("timeout")),
            "{silent:?}"
        );
        drop(listener);
        assert!(matches!(ask(&url), Outcome::None(599, _)));
    }

    #[test]
    fn wrong_options_are_one_sentence() {
        let new = |key: &str, value: &str| {
            let options = Options::new("plugin:http", [(key.to_owned(), value.to_owned())]);
            HttpObserver::new(&options).err().map(|error| error.to_string())
        };
        for value in ["", "localhost", "ftp://host/", "http://", "http://a b/", "/health"] {
            let expected = format!(
                "[plugin:http] check_url = {value}: not a URL; write one such as \
                 http://localhost:8080/health"
            );
            assert_eq!(new("check_url", value), Some(expected));
        }
        let error = new("timeout", "0").expect("refused");
        assert!(error.ends_with("not a time; write seconds above 0, such as 60 or 0.5"), "{error}");
        for url in ["http://localhost", "https://me:pw@h:8443/x?y=z", "http://[::1]:80/"] {
            assert_eq!(new("check_url", url), None);
        }
    }
}
