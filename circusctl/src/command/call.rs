//! What every command that has an answer provides: the properties it sends and the text it shows.

use crate::colour::Colour;
use crate::report::CommandError;
use protocol::circus::response::Response;
use serde_json::{Map, Value};

/// A command that sends one request and shows one reply.
pub trait Call {
    /// The properties of the request.
    ///
    /// # Errors
    /// When an argument cannot be right; then nothing is sent.
    fn properties(&self) -> Result<Map<String, Value>, CommandError>;

    /// What standard output gets for a reply that is no refusal.
    ///
    /// # Errors
    /// When the reply lacks what the command asked for.
    fn render(&self, _response: &Response) -> Result<String, CommandError> {
        Ok("ok\n".into())
    }

    /// The same for a person: coloured, if `colour` says so.
    ///
    /// # Errors
    /// As [`Call::render`].
    fn show(&self, response: &Response, _colour: Colour) -> Result<String, CommandError> {
        self.render(response)
    }
}

/// Properties under construction; what is absent is not sent.
#[derive(Default)]
pub(super) struct Properties(Map<String, Value>);

impl Properties {
    /// Adds a property.
    pub(super) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    /// Adds a property that was given.
    pub(super) fn maybe<T: Clone + Into<Value>>(self, key: &str, value: Option<&T>) -> Self {
        match value {
            Some(value) => self.with(key, value.clone()),
            None => self,
        }
    }

    /// Adds a switch that was given; an absent one is not sent.
    pub(super) fn switch(self, key: &str, given: bool) -> Self {
        if given { self.with(key, true) } else { self }
    }

    /// All properties.
    pub(super) fn done(self) -> Map<String, Value> {
        self.0
    }
}

/// The value of a key that the reply must have.
pub(super) fn required<'r>(response: &'r Response, key: &str) -> Result<&'r Value, CommandError> {
    response.get(key).ok_or_else(|| misfit(key))
}

/// The object of a key that the reply must have.
pub(super) fn required_object<'r>(
    response: &'r Response,
    key: &str,
) -> Result<&'r Map<String, Value>, CommandError> {
    required(response, key)?.as_object().ok_or_else(|| misfit(key))
}

/// The list of a key that the reply must have.
pub(super) fn required_list<'r>(
    response: &'r Response,
    key: &str,
) -> Result<&'r [Value], CommandError> {
    required(response, key)?.as_array().map(Vec::as_slice).ok_or_else(|| misfit(key))
}

/// The reply lacks a key or has it in a shape of its own.
fn misfit(key: &str) -> CommandError {
    CommandError::local(format!("the reply has no usable `{key}`"))
        .hint("`--json` shows the reply as it came")
}
