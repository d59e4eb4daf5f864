//! Runs `upgrade`: one request to the program that is running, and questions to the one that is there then.

use crate::client::{self, CallError};
use crate::command::{Begun, Upgrade};
use crate::outcome::{Ending, Output, print, print_json};
use crate::report::CommandError;
use crate::session::Session;
use serde_json::Map;
use std::thread;
use std::time::{Duration, Instant};

/// The least time to wait for a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// How long circusd may take to check a program that is to take over.
const UPGRADE_CHECKS: Duration = Duration::from_secs(90);

/// The least time that the new circusd has to take over before the old one comes back.
const UPGRADE_WITHIN: Duration = Duration::from_secs(30);

/// Between two questions how an upgrade has ended.
const UPGRADE_PAUSE: Duration = Duration::from_millis(100);

/// Orders an upgrade and waits until the program that is there then says how it ended.
///
/// # Errors
/// [`Ending`].
pub fn run(session: &Session, output: Output, upgrade: &Upgrade) -> Result<(), Ending> {
    // The usual patience with an answer is too short for a start; a longer one was asked for.
    let within = session.timeout().max(UPGRADE_WITHIN);
    // Checking the program takes its time, so whether anybody is there is asked before.
    let mut client = session.client_with(session.timeout().max(SIGN_OF_LIFE))?;
    client.call("numwatchers", Map::new())?;
    let mut client = session.client_with(session.timeout().max(UPGRADE_CHECKS))?;
    let response = client.call("upgrade", upgrade.properties(within)?)?;
    if let Some(refusal) = client::refusal(&response) {
        return Err(refusal.into());
    }
    let id = match upgrade.begun(&response) {
        Begun::Done(text) => match output.json {
            true => return print_json(output, &response.into_value()),
            false => return print(&text),
        },
        Begun::Pending(id) => id,
    };
    // It may come back after its time, and has to take over again then.
    let deadline = Instant::now() + within * 2 + UPGRADE_CHECKS;
    loop {
        // A new connection each time: nothing is left over from the program before.
        let mut client = session.client_with(UPGRADE_PAUSE * 10)?;
        match client.call("upgrade", Upgrade::question(&id)) {
            Ok(response) if Upgrade::is_pending(&response) => thread::sleep(UPGRADE_PAUSE),
            Ok(response) => {
                return match client::refusal(&response) {
                    Some(refusal) => Err(refusal.into()),
                    None if output.json => print_json(output, &response.into_value()),
                    None => print(&Upgrade::render(&response)),
                };
            }
            Err(error @ CallError::NoAnswer { .. }) if Instant::now() >= deadline => {
                return Err(CommandError::from(error)
                    .hint("the upgrade has begun; circusd's log says how it ended")
                    .into());
            }
            // Between the two programs nobody listens.
            Err(CallError::NoAnswer { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
