//! A request as it stands on the wire: `{"id", "command", "properties", "msg_type"}`.
//!
//! Used by circusd (parse) and by the clients (print). What the properties of a command mean is the
//! business of circusd's controller.

use super::errno::Errno;
use super::response::Failure;
use serde_json::{Map, Value, json};

/// The largest request that circusd looks at, in bytes.
pub const MAX_REQUEST: usize = 16 * 1024 * 1024;

/// Commands that look at no property, and so do not mind what is in their place.
const WITHOUT_PROPERTIES: [&str; 5] = ["dstats", "ipython", "listen", "listsockets", "numwatchers"];

/// One request of a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Echoed in the reply; null when the client gave none.
    pub id: Value,
    /// The command as the client wrote it; it is matched without regard to case.
    pub command: String,
    /// The arguments of the command.
    pub properties: Map<String, Value>,
    /// A cast is carried out and never answered.
    pub cast: bool,
}

/// A message that is no request, with what its sender must be told.
#[derive(Debug, Clone, PartialEq)]
pub struct BadRequest {
    /// The sender's id, as far as it could be read.
    pub id: Value,
    /// The message asked for no reply.
    pub cast: bool,
    /// What is wrong.
    pub failure: Failure,
}

impl Request {
    /// A request with properties given as a JSON object.
    pub fn new(id: impl Into<Value>, command: &str, properties: Map<String, Value>) -> Self {
        Self { id: id.into(), command: command.to_owned(), properties, cast: false }
    }

    /// Reads one message.
    ///
    /// Where the original never answers (an empty message, JSON that is no object, a command that is
    /// no text) this gives an error to send back.
    ///
    /// # Errors
    /// [`BadRequest`] when the bytes are too many, not JSON, not an object, or name no command.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadRequest> {
        let bad = |id, cast, errno, reason: &str| BadRequest {
            id,
            cast,
            failure: Failure::new(errno, reason),
        };
        if bytes.len() > MAX_REQUEST {
            let reason = format!("json invalid: longer than {MAX_REQUEST} bytes");
            return Err(bad(Value::Null, false, Errno::InvalidJson, &reason));
        }
        let Ok(Value::Object(mut object)) = serde_json::from_slice::<Value>(bytes) else {
            return Err(bad(Value::Null, false, Errno::InvalidJson, "json invalid"));
        };
        let id = object.remove("id").unwrap_or(Value::Null);
        let cast = object.get("msg_type").and_then(Value::as_str) == Some("cast");
        let command = match object.remove("command") {
            Some(Value::String(command)) => command,
            Some(other) => {
                let reason = format!("unknown command: {other}");
                return Err(bad(id, cast, Errno::UnknownCommand, &reason));
            }
            None => {
                let reason = "unknown command: the message has no `command`";
                return Err(bad(id, cast, Errno::UnknownCommand, reason));
            }
        };
        let properties = match object.remove("properties") {
            None => Map::new(),
            Some(Value::Object(properties)) => properties,
            // A null is not the same as nothing: `stop` with it must not stop everything.
            Some(_) if WITHOUT_PROPERTIES.contains(&command.to_lowercase().as_str()) => Map::new(),
            Some(_) => {
                let reason = "message invalid: `properties` is not an object";
                return Err(bad(id, cast, Errno::Message, reason));
            }
        };
        Ok(Self { id, command, properties, cast })
    }

    /// Prints the request as one frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut object = json!({
            "id": self.id,
            "command": self.command,
            "properties": self.properties,
        });
        if self.cast {
            object["msg_type"] = json!("cast");
        }
        object.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_parses_back() {
        let mut properties = Map::new();
        properties.insert("name".into(), json!("web"));
        let mut request = Request::new("abc", "incr", properties);
        assert_eq!(Request::parse(&request.to_bytes()), Ok(request.clone()));
        request.cast = true;
        assert_eq!(Request::parse(&request.to_bytes()), Ok(request));
    }

    #[test]
    fn numbers_are_read_to_the_last_bit() {
        let request = Request::parse(br#"{"command": "set", "properties": {"x": 100E-77}}"#);
        let request = request.expect("it is a request");
        assert_eq!(request.properties["x"].as_f64(), Some(100E-77));
        assert_eq!(Request::parse(&request.to_bytes()), Ok(request));
    }

    #[test]
    fn messages_the_original_never_answers_get_an_error() {
        for (text, errno) in [
            ("", Errno::InvalidJson),
            ("   ", Errno::InvalidJson),
            ("[]", Errno::InvalidJson),
            ("3", Errno::InvalidJson),
            ("{", Errno::InvalidJson),
            ("{}", Errno::UnknownCommand),
            (r#"{"command": null}"#, Errno::UnknownCommand),
            (r#"{"command": 3}"#, Errno::UnknownCommand),
            (r#"{"command": "list", "properties": 3}"#, Errno::Message),
        ] {
            let error = Request::parse(text.as_bytes()).expect_err(text);
            assert_eq!(error.failure.errno, errno, "{text}");
        }
    }

    #[test]
    fn the_id_of_a_bad_message_is_kept() {
        let error = Request::parse(br#"{"id": [1, 2], "command": 5}"#).expect_err("no command");
        assert_eq!(error.id, json!([1, 2]));
    }
}
