//! Runs one command against one circusd. Used by the command line and by each line of the shell.

use crate::advice;
use crate::client::{self, CallError};
use crate::colour::Colour;
use crate::command::{Call, Command, CommandKind, Listen};
use crate::endpoint::Service;
use crate::follow;
use crate::outcome::{Ending, Output, print, print_json};
use crate::python_text;
use crate::replace;
use crate::report::CommandError;
use crate::session::Session;
use crate::subscriber::Subscriber;

/// The services of circusd that a command needs, the one that `--endpoint` names first.
pub fn services(command: &Command) -> &'static [Service] {
    match command.kind() {
        CommandKind::Listen(_) => &[Service::Events],
        CommandKind::Call(..)
        | CommandKind::Tail(_)
        | CommandKind::Events(_)
        | CommandKind::Upgrade(_) => &[Service::Controller],
        CommandKind::Discover(_) | CommandKind::Generate(_) => &[],
    }
}

/// Runs a command to its end.
///
/// # Errors
/// [`Ending`].
pub fn run(session: &Session, output: Output, command: &Command) -> Result<(), Ending> {
    match command.kind() {
        CommandKind::Call(name, call) => run_call(session, output, name, call),
        CommandKind::Listen(listen) => run_listen(session, output, listen),
        CommandKind::Tail(tail) => follow::tail(session, output, tail),
        CommandKind::Events(events) => follow::events(session, output, events),
        CommandKind::Upgrade(upgrade) => replace::run(session, output, upgrade),
        CommandKind::Discover(discover) => {
            let found = discover.run()?;
            match output.json {
                true => print_json(output, &discover.json(&found)),
                false => print(&discover.render(&found)),
            }
        }
        // It has nothing to do with a circusd and is run without a session.
        CommandKind::Generate(_) => Ok(()),
    }
}

fn run_call(session: &Session, output: Output, name: &str, call: &dyn Call) -> Result<(), Ending> {
    let properties = call.properties()?;
    let mut progress = advice::Progress::of(session, &properties);
    let asked = session.client().and_then(|mut client| {
        progress.watch(|patience| client.call_watched(name, properties.clone(), patience))
    });
    let response = match asked {
        Ok(response) => response,
        Err(error) => {
            let hints = match &error {
                CallError::NoAnswer { reach: client::Reach::Peer, .. } => {
                    advice::on_time_out(session, &properties)
                }
                _ => Vec::new(),
            };
            return Err(hints.into_iter().fold(error.into(), CommandError::hint).into());
        }
    };
    let refusal = client::refusal(&response);
    if output.json {
        print_json(output, &response.into_value())?;
        // The reply itself tells why; only the exit code is missing.
        return refusal.map_or(Ok(()), |refusal| Err(Ending::Told(refusal.kind)));
    }
    match refusal {
        Some(refusal) => {
            let hints = advice::on_refusal(session, &properties, &refusal.message);
            Err(hints.into_iter().fold(refusal, CommandError::hint).into())
        }
        None => print(&call.show(&response, Colour::of_stdout())?),
    }
}

/// Shows events until it is interrupted.
fn run_listen(session: &Session, output: Output, listen: &Listen) -> Result<(), Ending> {
    let endpoint = session.endpoint(Service::Events);
    let mut subscriber = Subscriber::connect(endpoint.clone(), &listen.topic)?;
    advice::while_listening(endpoint);
    loop {
        let event = subscriber.wait()?;
        match output.json {
            true => print(&(python_text::json(&Listen::json(&event)) + "\n"))?,
            false => print(&Listen::render(&event))?,
        }
    }
}
