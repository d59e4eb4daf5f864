//! Where circusd is and how to get there: the options that every client has, resolved once.
//!
//! Owns the ssh tunnel, if there is one; connections made from a session live no longer than it.

use crate::client::{CallError, Client};
use crate::config_file::ConfigFile;
use crate::endpoint::{ENDPOINT_VARIABLE, Endpoint, Service, through_ssh};
use crate::report::CommandError;
use crate::ssh::Tunnel;
use std::path::Path;
use std::time::Duration;

/// What the user said about the place of circusd.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// `--endpoint`; it names the first service that is asked for.
    pub endpoint: Option<&'a str>,
    /// `--config`.
    pub config: Option<&'a Path>,
    /// `--ssh`.
    pub ssh: Option<&'a str>,
    /// `--ssh_keyfile`.
    pub ssh_keyfile: Option<&'a Path>,
    /// `--timeout`.
    pub timeout: Duration,
}

/// A way to circusd.
pub struct Session {
    endpoints: Vec<(Service, Endpoint)>,
    timeout: Duration,
    /// Only to be held: its end is the end of ssh.
    _tunnel: Option<Tunnel>,
}

impl Session {
    /// Finds the endpoints of these services and opens the tunnel to them if one is wanted. Nothing
    /// is sent to circusd yet.
    ///
    /// # Errors
    /// The file cannot be read, an endpoint is none, or ssh fails.
    pub fn open(place: Place<'_>, services: &[Service]) -> Result<Self, CommandError> {
        let variable = std::env::var(ENDPOINT_VARIABLE).ok();
        let file = match place.config {
            Some(path) => Some(ConfigFile::read(path)?),
            // The files of this machine say nothing about another.
            None if place.ssh.is_some() => None,
            None => ConfigFile::usual(),
        };
        let choose = |(number, service): (usize, &Service)| {
            let option = place.endpoint.filter(|_| number == 0);
            let variable = variable.as_deref().filter(|_| *service == Service::Controller);
            (*service, Endpoint::choose(*service, option, variable, file.as_ref()))
        };
        let mut endpoints: Vec<_> = services.iter().enumerate().map(choose).collect();
        for (_, endpoint) in &endpoints {
            endpoint.check()?;
        }
        let far = endpoints.iter_mut().map(|(_, endpoint)| endpoint).collect();
        let open = |host| through_ssh(host, place.ssh_keyfile, far, place.timeout);
        let tunnel = place.ssh.map(open).transpose()?;
        Ok(Self { endpoints, timeout: place.timeout, _tunnel: tunnel })
    }

    /// The endpoint of a service that was asked for; the default one of any other.
    pub fn endpoint(&self, service: Service) -> Endpoint {
        let found = self.endpoints.iter().find(|(known, _)| *known == service);
        found.map_or_else(
            || Endpoint::choose(service, None, None, None),
            |(_, endpoint)| endpoint.clone(),
        )
    }

    /// How long to wait for an answer.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A connection to the controller.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn client(&self) -> Result<Client, CallError> {
        self.client_with(self.timeout)
    }

    /// A connection to the controller that waits so long.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn client_with(&self, timeout: Duration) -> Result<Client, CallError> {
        Client::connect(self.endpoint(Service::Controller), timeout)
    }
}
