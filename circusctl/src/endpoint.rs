//! The addresses of circusd's sockets and where they come from. No connection is made here, except that
//! [`Endpoint::connect`] hands an address to ZeroMQ and [`through_ssh`] has ssh connect to another machine.

use crate::config_file::ConfigFile;
use crate::report::CommandError;
use crate::ssh::{SshError, Tunnel};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The variable that names the controller's endpoint.
pub const ENDPOINT_VARIABLE: &str = "CIRCUSCTL_ENDPOINT";

/// The sockets of circusd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Requests and replies.
    Controller,
    /// Events.
    Events,
    /// What circusd-stats publishes.
    Stats,
}

impl Service {
    /// Where it is when nothing else is said.
    pub fn default_address(self) -> &'static str {
        match self {
            Self::Controller => "tcp://127.0.0.1:5555",
            Self::Events => "tcp://127.0.0.1:5556",
            Self::Stats => "tcp://127.0.0.1:5557",
        }
    }

    /// Its key in the `[circus]` section.
    fn key(self) -> &'static str {
        match self {
            Self::Controller => "endpoint",
            Self::Events => "pubsub_endpoint",
            Self::Stats => "stats_endpoint",
        }
    }
}

/// Who chose the endpoint, so that a failure can say what to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointSource {
    /// `--endpoint`.
    Option,
    /// [`ENDPOINT_VARIABLE`].
    Environment,
    /// A configuration file.
    ConfigFile(PathBuf),
    /// circusd said so itself.
    Daemon,
    /// Nobody.
    Default,
}

/// The near end of a tunnel to an endpoint on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The machine, as the user wrote it.
    pub host: String,
    /// The address here that leads there.
    pub near: String,
}

/// A ZeroMQ address and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `tcp://HOST:PORT` or `ipc://PATH`.
    pub address: String,
    /// Who chose it.
    pub source: EndpointSource,
    /// How to get there, if it is not reached directly.
    pub route: Option<Route>,
}

/// Opens a tunnel through which all these endpoints of another machine are reached from now on. Its end is the end
/// of ssh, so it has to be held.
///
/// # Errors
/// [`SshError`].
pub fn through_ssh(
    host: &str,
    keyfile: Option<&Path>,
    mut endpoints: Vec<&mut Endpoint>,
    patience: Duration,
) -> Result<Tunnel, SshError> {
    let far: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.address.as_str()).collect();
    let tunnel = Tunnel::open(host, keyfile, &far, patience)?;
    for (endpoint, near) in endpoints.iter_mut().zip(tunnel.near()) {
        endpoint.route = Some(Route { host: host.to_owned(), near: near.clone() });
    }
    Ok(tunnel)
}

/// The text is no endpoint.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is not an endpoint", endpoint.address)]
pub struct InvalidEndpoint {
    /// The text.
    pub endpoint: Endpoint,
    /// What ZeroMQ says, if it was asked.
    pub source: Option<zmq::Error>,
}

/// What stands before the port.
fn host_of(address: &str) -> &str {
    address
        .strip_prefix("tcp://")
        .and_then(|rest| rest.rsplit_once(':'))
        .map_or("", |(host, _)| host)
}

impl Endpoint {
    /// Chooses the endpoint: the option, else the variable (an empty one counts as unset), else the
    /// file, else the default.
    pub fn choose(
        service: Service,
        option: Option<&str>,
        variable: Option<&str>,
        file: Option<&ConfigFile>,
    ) -> Self {
        let in_file = || Some((file?.endpoint(service.key())?, file?.path().to_owned()));
        let (address, source) = if let Some(address) = option {
            (address, EndpointSource::Option)
        } else if let Some(address) = variable.filter(|address| !address.is_empty()) {
            (address, EndpointSource::Environment)
        } else if let Some((address, path)) = in_file() {
            (address, EndpointSource::ConfigFile(path))
        } else {
            (service.default_address(), EndpointSource::Default)
        };
        Self { address: address.to_owned(), source, route: None }
    }

    /// Connects a socket, with a first check that gives a better answer than ZeroMQ's "invalid
    /// argument".
    ///
    /// # Errors
    /// [`InvalidEndpoint`].
    pub fn connect(&self, socket: &zmq::Socket) -> Result<(), InvalidEndpoint> {
        self.check()?;
        let address = self.route.as_ref().map_or(&self.address, |route| &route.near);
        // Not for names: libzmq would ask for IPv6 addresses, too, and try only the first of what it gets.
        let ipv6 = socket.set_ipv6(address.starts_with("tcp://") && host_of(address).contains(':'));
        ipv6.and_then(|()| socket.connect(address))
            .map_err(|source| InvalidEndpoint { endpoint: self.clone(), source: Some(source) })
    }

    /// Only the two kinds of address that circusd has are taken. ZeroMQ would take port 65537 for port 1.
    ///
    /// # Errors
    /// [`InvalidEndpoint`].
    pub fn check(&self) -> Result<(), InvalidEndpoint> {
        let fits = match self.address.strip_prefix("tcp://") {
            Some(address) => address
                .rsplit_once(':')
                .and_then(|(_, port)| port.trim_end_matches('/').parse().ok())
                .is_some_and(|port: u16| port > 0),
            None => self.address.starts_with("ipc://"),
        };
        if fits {
            return Ok(());
        }
        Err(InvalidEndpoint { endpoint: self.clone(), source: None })
    }

    /// The host, if it is a name that somebody has to look up.
    pub fn named_host(&self) -> Option<&str> {
        let (host, _) = self.address.strip_prefix("tcp://")?.rsplit_once(':')?;
        let number = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        (host != "localhost" && number.is_err()).then_some(host)
    }

    /// Where the endpoint comes from, as a sentence.
    pub fn origin(&self) -> String {
        match &self.source {
            EndpointSource::Option => "the endpoint comes from --endpoint".into(),
            EndpointSource::Environment => "the endpoint comes from CIRCUSCTL_ENDPOINT".into(),
            EndpointSource::ConfigFile(path) => {
                format!("the endpoint comes from {}", path.display())
            }
            EndpointSource::Daemon => "the endpoint comes from circusd itself".into(),
            EndpointSource::Default => {
                "tried --endpoint, CIRCUSCTL_ENDPOINT, the configuration file: none is given, so this \
                 is the default"
                    .into()
            }
        }
    }
}

impl From<InvalidEndpoint> for CommandError {
    fn from(error: InvalidEndpoint) -> Self {
        let report = Self::local(error.to_string());
        let report = match error.source {
            Some(source) => report.cause(source.message()),
            None => report,
        };
        report
            .hint("an endpoint is tcp://HOST:PORT or ipc:///PATH/TO/SOCKET")
            .hint(error.endpoint.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port_that_exists_and_a_host_may_be_a_name() {
        let endpoint = |address| Endpoint::choose(Service::Controller, Some(address), None, None);
        for address in ["tcp://127.0.0.1:1", "tcp://[::1]:65535", "tcp://web1:5555/", "ipc://x"] {
            assert!(endpoint(address).check().is_ok(), "{address}");
        }
        for address in ["tcp://h:0", "tcp://h:65536", "tcp://h", "tcp://h:x", "udp://h:1", ""] {
            assert!(endpoint(address).check().is_err(), "{address}");
        }
        assert_eq!(endpoint("tcp://web1:5555").named_host(), Some("web1"));
        for address in ["tcp://localhost:1", "tcp://127.0.0.1:1", "tcp://[::1]:1", "ipc://web1:5"] {
            assert_eq!(endpoint(address).named_host(), None, "{address}");
        }
    }

    #[test]
    fn the_option_wins_over_the_variable_and_that_over_the_file_and_that_over_the_default() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("circus.ini");
        std::fs::write(&path, "[circus]\nendpoint = tcp://f:1\n").expect("written");
        let file = ConfigFile::read(&path).expect("readable");
        let choose = |option, variable, file| {
            let endpoint = Endpoint::choose(Service::Controller, option, variable, file);
            (endpoint.address, endpoint.source)
        };
        let file = Some(&file);
        assert_eq!(choose(Some("o"), Some("v"), file), ("o".into(), EndpointSource::Option));
        assert_eq!(choose(None, Some("v"), file), ("v".into(), EndpointSource::Environment));
        let from_file = ("tcp://f:1".into(), EndpointSource::ConfigFile(path));
        assert_eq!(choose(None, Some(""), file), from_file);
        let default = ("tcp://127.0.0.1:5555".into(), EndpointSource::Default);
        assert_eq!(choose(None, None, None), default);
    }
}
