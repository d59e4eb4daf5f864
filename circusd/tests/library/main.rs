//! An arbiter in another program, through nothing but what the crate offers.
#![expect(clippy::expect_used, reason = "a test may fail loudly, in its helpers too")]

mod commands;
mod embedding;
mod examples;
mod failures;

use circusd::{Arbiter, ArbiterBuilder};
use serde_json::{Value, json};
use std::path::Path;

/// An arbiter with its endpoints in this folder.
fn arbiter_in(folder: &Path) -> ArbiterBuilder {
    let [commands, events] = endpoints_in(folder);
    Arbiter::builder().endpoint(commands).pubsub_endpoint(events).multicast_endpoint("")
}

fn endpoints_in(folder: &Path) -> [String; 2] {
    ["commands", "events"].map(|name| format!("ipc://{}", folder.join(name).display()))
}

/// What a Circus client gets for this command.
fn ask(endpoint: &str, command: &str, properties: &Value) -> Value {
    let context = zmq::Context::new();
    let socket = context.socket(zmq::DEALER).expect("a socket");
    socket.set_linger(0).expect("set");
    socket.connect(endpoint).expect("connected");
    let request = json!({"id": "1", "command": command, "properties": properties});
    socket.send(request.to_string().as_str(), 0).expect("sent");
    let reply = socket.recv_bytes(0).expect("an answer");
    serde_json::from_slice(&reply).expect("JSON")
}
