//! Asks circusd and waits for the answer: DEALER to the controller's ROUTER, one frame each way.
//!
//! Used by every command that has an answer. Retries nothing and prints nothing.

use crate::endpoint::{Endpoint, InvalidEndpoint};
use crate::interrupt;
use crate::report::{CommandError, Kind};
use protocol::circus::request::Request;
use protocol::circus::response::{BadResponse, Response};
use serde_json::{Map, Value};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

/// How far a connection came before time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Nobody listens at the endpoint.
    Nobody,
    /// Somebody listens, and does not speak ZeroMQ.
    Stranger,
    /// A ZeroMQ peer of a kind that answers no requests, such as circusd's own events.
    Publisher,
    /// A ZeroMQ peer that did not answer.
    Peer,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The text is no endpoint.
    #[error(transparent)]
    InvalidEndpoint(#[from] InvalidEndpoint),
    /// The user pressed Ctrl-C, in the interactive shell.
    #[error("interrupted")]
    Interrupted,
    /// Time ran out.
    #[error("no circusd answers at {} within {} s", endpoint.address, timeout.as_secs())]
    NoAnswer {
        /// Who was asked.
        endpoint: Endpoint,
        /// How long.
        timeout: Duration,
        /// How far it came.
        reach: Reach,
    },
    /// Something answered, and it is not circusd.
    #[error("what answers at {} is not circusd", endpoint.address)]
    NotCircusd {
        /// Who was asked.
        endpoint: Endpoint,
        /// What is wrong with the answer.
        source: BadResponse,
    },
    /// A socket of our own failed.
    #[error("could not talk to {}", endpoint.address)]
    Socket {
        /// Who was asked.
        endpoint: Endpoint,
        /// What ZeroMQ says.
        source: zmq::Error,
    },
}

/// Whoever waits for a slow command.
pub struct Patience<'a> {
    /// When to tell for the next time, counted from the request.
    next: Option<Duration>,
    tell: Option<&'a mut dyn FnMut(Duration)>,
}

impl<'a> Patience<'a> {
    /// How long to wait between two words.
    const PACE: Duration = Duration::from_secs(1);

    /// Tells every second how long it has been waited.
    pub fn telling(tell: &'a mut dyn FnMut(Duration)) -> Self {
        Self { next: Some(Self::PACE), tell: Some(tell) }
    }

    /// Nobody who wants to know.
    pub fn silent() -> Self {
        Self { next: None, tell: None }
    }

    fn tell(&mut self, waited: Duration) {
        self.next = Some(waited + Self::PACE);
        if let Some(tell) = &mut self.tell {
            tell(waited);
        }
    }
}

/// A connection to one circusd.
pub struct Client {
    endpoint: Endpoint,
    timeout: Duration,
    socket: zmq::Socket,
    monitor: zmq::Socket,
}

impl Client {
    /// Prepares a connection. Nothing waits here: ZeroMQ connects in the background.
    ///
    /// # Errors
    /// [`CallError::InvalidEndpoint`], and [`CallError::Socket`] when the process is out of fds.
    pub fn connect(endpoint: Endpoint, timeout: Duration) -> Result<Self, CallError> {
        let context = zmq::Context::new();
        let (socket, monitor) = open(&context, zmq::DEALER)
            .map_err(|source| CallError::Socket { endpoint: endpoint.clone(), source })?;
        endpoint.connect(&socket)?;
        Ok(Self { endpoint, timeout, socket, monitor })
    }

    /// Whom this speaks to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Waits so long for answers from now on.
    pub fn wait_for(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Sends one command and waits for its reply, at most for the timeout.
    ///
    /// # Errors
    /// [`CallError`]; a refusal is not an error here but a [`Response`].
    pub fn call(
        &mut self,
        command: &str,
        properties: Map<String, Value>,
    ) -> Result<Response, CallError> {
        self.call_watched(command, properties, &mut Patience::silent())
    }

    /// The same, for a command that may take its time: whoever waits is told while it does.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn call_watched(
        &mut self,
        command: &str,
        properties: Map<String, Value>,
        patience: &mut Patience<'_>,
    ) -> Result<Response, CallError> {
        let id = Value::String(fresh_id());
        let request = Request::new(id.clone(), command, properties);
        let begun = Instant::now();
        let deadline = begun + self.timeout;
        self.socket.send(request.to_bytes(), 0).map_err(|source| self.failed(source))?;
        loop {
            let until = patience.next.map_or(deadline, |next| deadline.min(begun + next));
            let Some(bytes) = self.receive(until)? else {
                if until < deadline {
                    patience.tell(begun.elapsed());
                    continue;
                }
                let reach = match self.reach().map_err(|source| self.failed(source))? {
                    Reach::Stranger if self.publishes() => Reach::Publisher,
                    reach => reach,
                };
                return Err(CallError::NoAnswer {
                    endpoint: self.endpoint.clone(),
                    timeout: self.timeout,
                    reach,
                });
            };
            let response = Response::parse(&bytes).map_err(|source| CallError::NotCircusd {
                endpoint: self.endpoint.clone(),
                source,
            })?;
            // Another id is the late answer to a call that was given up.
            if response.get("id") == Some(&id) {
                return Ok(response);
            }
        }
    }

    /// Sends a command that is not to be answered, without waiting.
    ///
    /// # Errors
    /// [`CallError::Socket`], also when a thousand messages wait for circusd already.
    pub fn cast(&mut self, command: &str, properties: Map<String, Value>) -> Result<(), CallError> {
        let mut request = Request::new(Value::Null, command, properties);
        request.cast = true;
        self.socket.send(request.to_bytes(), zmq::DONTWAIT).map_err(|source| self.failed(source))
    }

    /// The next message, or none when the deadline has passed.
    fn receive(&self, deadline: Instant) -> Result<Option<Vec<u8>>, CallError> {
        loop {
            if interrupt::pending() {
                return Err(CallError::Interrupted);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let milliseconds = left.as_nanos().div_ceil(1_000_000);
            match self.socket.poll(zmq::POLLIN, i64::try_from(milliseconds).unwrap_or(i64::MAX)) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(zmq::Error::EINTR) => continue,
                Err(source) => return Err(self.failed(source)),
            }
            let frames = self.socket.recv_multipart(0).map_err(|source| self.failed(source))?;
            if let Some(last) = frames.into_iter().last() {
                return Ok(Some(last));
            }
        }
    }

    /// Reads what the monitor has recorded about the connection.
    fn reach(&self) -> Result<Reach, zmq::Error> {
        let mut reach = Reach::Nobody;
        while self.monitor.poll(zmq::POLLIN, 0)? > 0 {
            let Some(event) = next_event(&self.monitor)? else { continue };
            reach = if event == zmq::SocketEvent::HANDSHAKE_SUCCEEDED.to_raw() {
                Reach::Peer
            } else if event == zmq::SocketEvent::CONNECTED.to_raw() {
                Reach::Stranger
            } else if reach == Reach::Peer {
                Reach::Nobody // It has gone. A stranger that hangs up remains a stranger.
            } else {
                reach
            };
        }
        Ok(reach)
    }

    /// Whether a subscriber fits what listens there; found out within a second. ZeroMQ does not tell why it hangs up on a socket of another kind.
    pub fn publishes(&self) -> bool {
        const PATIENCE: i64 = 1_000; // Milliseconds; the answer comes at once if one comes at all.
        let probe = || -> Result<bool, CallError> {
            let failed = |source| self.failed(source);
            let (subscriber, monitor) = open(&zmq::Context::new(), zmq::SUB).map_err(failed)?;
            self.endpoint.connect(&subscriber)?;
            let mut event = None;
            while event.is_none_or(|event| event == zmq::SocketEvent::CONNECTED.to_raw())
                && monitor.poll(zmq::POLLIN, PATIENCE).map_err(failed)? > 0
            {
                event = next_event(&monitor).map_err(failed)?;
            }
            Ok(event == Some(zmq::SocketEvent::HANDSHAKE_SUCCEEDED.to_raw()))
        };
        probe().unwrap_or(false)
    }

    fn failed(&self, source: zmq::Error) -> CallError {
        CallError::Socket { endpoint: self.endpoint.clone(), source }
    }
}

/// What a monitor has to tell next (zmq_socket_monitor(3)).
fn next_event(monitor: &zmq::Socket) -> Result<Option<u16>, zmq::Error> {
    let frames = monitor.recv_multipart(0)?;
    let number = frames.first().and_then(|frame| frame.first_chunk());
    Ok(number.map(|bytes| u16::from_ne_bytes(*bytes)))
}

/// A socket and the one that reports on its connection.
fn open(
    context: &zmq::Context,
    kind: zmq::SocketType,
) -> Result<(zmq::Socket, zmq::Socket), zmq::Error> {
    let socket = context.socket(kind)?;
    // An answer nobody waits for any more must not keep the process alive.
    socket.set_linger(0)?;
    socket.set_identity(fresh_id().as_bytes())?;
    let events = [
        zmq::SocketEvent::CONNECTED,
        zmq::SocketEvent::DISCONNECTED,
        zmq::SocketEvent::HANDSHAKE_SUCCEEDED,
    ];
    let mask = events.into_iter().fold(0, |mask, event| mask | i32::from(event.to_raw()));
    socket.monitor("inproc://connection", mask)?;
    let monitor = context.socket(zmq::PAIR)?;
    monitor.set_linger(0)?;
    monitor.connect("inproc://connection")?;
    Ok((socket, monitor))
}

/// 32 hexadecimal digits that no other client uses.
///
/// The standard library keys every `RandomState` from the operating system's random source.
fn fresh_id() -> String {
    let word = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", word(), word())
}

impl From<CallError> for CommandError {
    fn from(error: CallError) -> Self {
        let report = Self::local(error.to_string());
        match error {
            CallError::InvalidEndpoint(invalid) => invalid.into(),
            CallError::Interrupted => report,
            CallError::NoAnswer { endpoint, timeout, reach } => {
                let advice = match (reach, &endpoint.route) {
                    // Nothing was found out, either.
                    _ if timeout.is_zero() => {
                        "with --timeout 0 no answer is waited for, and nobody knows whether circusd does it"
                            .to_owned()
                    }
                    (Reach::Peer, _) => {
                        "something listens there and takes longer; raise --timeout, above all with \
                         --waiting"
                            .to_owned()
                    }
                    (_, Some(route)) => format!(
                        "ssh has connected to {}, and nobody listens there; is circusd running?",
                        route.host
                    ),
                    (Reach::Nobody, None) => endpoint.named_host().map_or_else(
                        || "nobody listens there; is circusd running?".to_owned(),
                        |host| {
                            format!(
                                "nobody listens there, or no machine is called `{host}`; is circusd \
                                 running?"
                            )
                        },
                    ),
                    (Reach::Publisher, None) => {
                        "what listens there takes no commands; is that circusd's pubsub_endpoint or \
                         stats_endpoint instead of its endpoint?"
                            .to_owned()
                    }
                    (Reach::Stranger, None) => {
                        "something listens there that does not speak ZeroMQ; circusd is elsewhere"
                            .to_owned()
                    }
                };
                // Scripts look for these two words of the original.
                report.cause("Timed out.").hint(advice).hint(endpoint.origin())
            }
            CallError::NotCircusd { endpoint, source } => {
                report.cause(format!("its reply is {source}")).hint(endpoint.origin())
            }
            CallError::Socket { source, .. } => report.cause(source.message()),
        }
    }
}

/// A refusal ends with the text of circusd and an exit code of its own.
pub fn refusal(response: &Response) -> Option<CommandError> {
    response.failure().map(|failure| CommandError::new(Kind::Refused, failure.reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::colour::Colour;
    use crate::endpoint::Service;

    #[test]
    fn without_time_nothing_is_said_about_who_listens() {
        let endpoint = Endpoint::choose(Service::Controller, Some("ipc:///x"), None, None);
        let (timeout, reach) = (Duration::ZERO, Reach::Stranger);
        let error = CommandError::from(CallError::NoAnswer { endpoint, timeout, reach });
        let said = error.text(Colour::Off);
        assert!(said.contains("with --timeout 0 no answer is waited for"), "{said}");
        assert!(!said.contains("ZeroMQ"), "{said}");
    }

    #[test]
    fn ids_are_32_hexadecimal_digits_and_differ() {
        let (one, other) = (fresh_id(), fresh_id());
        assert_ne!(one, other);
        assert_eq!(one.len(), 32);
        assert!(one.bytes().all(|b| b.is_ascii_hexdigit()));
    }
}
