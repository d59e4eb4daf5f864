//! A plugin's way to circusd: commands with an answer and commands without.

use crate::client::{self, Client};
use crate::endpoint::Endpoint;
use protocol::circus::response::Failure;
use serde_json::{Map, Value};
use std::time::Duration;
use tracing::{debug, warn};

/// How long circusd may take to answer. Its commands answer at once unless they are told to wait.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A command has come to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// circusd could not be asked.
    #[error(transparent)]
    Unreached(#[from] client::CallError),
    /// circusd has refused.
    #[error("circusd refuses: {0}")]
    Refused(Failure),
}

/// The connection to circusd. It is made in the background and outlives a circusd that goes and comes again.
pub struct Circus {
    endpoint: Endpoint,
    /// None after circusd has not answered: what waits for it in the old connection must not reach it late.
    client: Option<Client>,
    name: String,
}

impl Circus {
    /// Prepares the connection. `name` is the watcher that the plugin runs under, such as `plugin:flapping`.
    ///
    /// # Errors
    /// [`client::CallError`]: the endpoint is none.
    pub fn connect(endpoint: Endpoint, name: &str) -> Result<Self, client::CallError> {
        let client = Client::connect(endpoint.clone(), PATIENCE)?;
        Ok(Self { endpoint, client: Some(client), name: name.to_owned() })
    }

    /// The watcher that the plugin runs under: what it should leave alone.
    pub fn own_name(&self) -> &str {
        &self.name
    }

    /// Sends a command with these properties (an object) and waits for the reply, at most [`PATIENCE`].
    ///
    /// # Errors
    /// [`CallError`].
    pub fn call(&mut self, command: &str, properties: Value) -> Result<Value, CallError> {
        let client = self.client()?;
        let response = match client.call(command, object(properties)) {
            Err(error @ client::CallError::NoAnswer { .. }) => {
                self.client = None;
                return Err(error.into());
            }
            other => other?,
        };
        match response.failure() {
            Some(failure) => Err(CallError::Refused(failure)),
            None => Ok(response.into_value()),
        }
    }

    /// Sends a command that circusd does not answer. Whether it was carried out is not known.
    pub fn cast(&mut self, command: &str, properties: Value) {
        debug!("cast {command} {properties}");
        let sent = self.client().and_then(|client| client.cast(command, object(properties)));
        if let Err(error) = sent {
            warn!("the command {command} is lost: {error}");
        }
    }

    fn client(&mut self) -> Result<&mut Client, client::CallError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(self.endpoint.clone(), PATIENCE)?,
        };
        Ok(self.client.insert(client))
    }
}

fn object(properties: Value) -> Map<String, Value> {
    match properties {
        Value::Object(properties) => properties,
        _ => Map::new(),
    }
}
