//! What one program says to the next, and the exec itself.
//!
//! The message is a variable in the environment; it names our own pid, so that a circusd that inherits it
//! from somewhere knows that it is not meant. Everything else that matters is in the kernel or in the ini file.

use nix::unistd::Pid;
use papa_spawn::successor::{self, Environment, WayBack};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::Duration;

/// The variable that carries the message.
pub const VARIABLE: &str = "CIRCUSD_HANDOVER";

/// What the successor is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The process that it is meant for.
    pid: i32,
    /// Number of the program to go back to.
    predecessor: RawFd,
    /// Names the upgrade; whoever asked for it asks for its end with this.
    pub id: String,
    /// The version before.
    pub from: String,
    /// The version that is to take over.
    pub to: String,
    /// The program that is to take over.
    pub program: PathBuf,
    /// Seconds that it has.
    pub timeout: u64,
    /// Why it could not, if this is the one before again.
    pub failure: Option<String>,
}

/// An upgrade that was decided on and not yet begun.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Names it.
    pub id: String,
    /// The version before.
    pub from: String,
    /// The version that is to take over.
    pub to: String,
    /// The program that is to take over.
    pub program: PathBuf,
    /// The time that it has.
    pub timeout: Duration,
}

/// A handover that this program was started for.
#[derive(Debug)]
pub struct Received {
    /// What we were told.
    pub message: Message,
    predecessor: OwnedFd,
    way_back: Option<WayBack>,
}

/// Becomes the program that the order names. Returns only if there is neither a way forward nor one back,
/// with the reason; by then nothing runs any more.
pub fn carry_out(order: &Order) -> io::Error {
    let opened = File::open("/proc/self/exe").and_then(|own| {
        successor::pass_on(own.as_fd())?;
        Ok(own)
    });
    let own = match opened {
        Ok(own) => own,
        Err(error) => return error,
    };
    let mut message = Message {
        pid: Pid::this().as_raw(),
        predecessor: own.as_raw_fd(),
        id: order.id.clone(),
        from: order.from.clone(),
        to: order.to.clone(),
        program: order.program.clone(),
        timeout: order.timeout.as_secs().max(1),
        failure: None,
    };
    let error = match File::open(&order.program) {
        Ok(program) => successor::become_program(program, &environment(Some(&message))),
        Err(error) => error,
    };
    message.failure = Some(format!("it could not be started: {error}"));
    successor::become_program(own, &environment(Some(&message)))
}

impl Received {
    /// The handover that this program was started for, if it was.
    pub fn from_environment() -> Option<Self> {
        let text = std::env::var(VARIABLE).ok()?;
        let message: Message = serde_json::from_str(&text).ok()?;
        if message.pid != Pid::this().as_raw() || message.predecessor <= 2 {
            return None;
        }
        let predecessor = successor::take(message.predecessor).ok()?;
        Some(Self { message, predecessor, way_back: None })
    }

    /// From now on a crash leads back to the program before, and so does not being finished in time. Nothing
    /// to do in the one that came back.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn guard(&mut self) -> io::Result<()> {
        if self.message.failure.is_some() {
            return Ok(());
        }
        let seconds = self.message.timeout;
        let reason = format!("it crashed, or did not take over within {seconds} s");
        let environment = environment(Some(&self.failed(&reason)));
        let within = Duration::from_secs(seconds);
        // It has to be there for the one that comes back, too.
        successor::pass_on(self.predecessor.as_fd())?;
        // A panic is a crash, too, also in a task that would survive it.
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            tell(panic);
            std::process::abort();
        }));
        let way_back = WayBack::arm(self.predecessor.as_raw_fd(), &environment, Some(within))?;
        self.way_back = Some(way_back);
        Ok(())
    }

    /// What a test asks for, to see that an upgrade survives it. Absent from release builds.
    pub fn fault(&self) -> Result<(), &'static str> {
        #[cfg(debug_assertions)]
        if self.message.failure.is_none() {
            match std::env::var("CIRCUSD_TEST_FAULT").as_deref() {
                Ok("takeover-error") => return Err("a test asked for it"),
                Ok("takeover-abort") => std::process::abort(),
                Ok("takeover-hang") => loop {
                    std::thread::park();
                },
                _ => {}
            }
        }
        Ok(())
    }

    /// Becomes the program before, which tells `reason`. Returns when that is not possible, as when this is
    /// the program before.
    pub fn roll_back(&self, reason: &str) -> io::Error {
        if self.message.failure.is_some() {
            return io::Error::other("this is the program before");
        }
        if let Err(error) = successor::pass_on(self.predecessor.as_fd()) {
            return error;
        }
        let environment = environment(Some(&self.failed(reason)));
        successor::become_program(self.predecessor.as_fd(), &environment)
    }

    /// Everything has been taken over: there is no way back any more.
    pub fn finish(self) -> Message {
        if let Some(way_back) = self.way_back {
            way_back.disarm();
            drop(std::panic::take_hook());
        }
        self.message
    }

    fn failed(&self, reason: &str) -> Message {
        Message { failure: Some(reason.to_owned()), ..self.message.clone() }
    }
}

/// The environment that says `message` to the next program.
fn environment(message: Option<&Message>) -> Environment {
    let new = message.and_then(|message| serde_json::to_vec(message).ok());
    let new = new.map(|text| (VARIABLE.into(), text));
    successor::environment(&[VARIABLE]).into_iter().chain(new).collect()
}
