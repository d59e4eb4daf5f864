//! Threads that wait for something and tell the loop. A panic of one is an input like any other: the loop ends,
//! gives the terminal back and says what has happened.

use super::screen;
use super::session::Input;
use crate::report::CommandError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::SyncSender;
use std::thread;

/// Starts one.
pub(super) fn start(inputs: &SyncSender<Input>, wait: impl FnOnce() + Send + 'static) {
    let inputs = inputs.clone();
    thread::spawn(move || {
        // What it leaves half done is not looked at again.
        if catch_unwind(AssertUnwindSafe(wait)).is_err() {
            let error = CommandError::local("a part of circus-top has failed")
                .cause(screen::last_panic())
                .hint("this is a fault of circus-top, please report it");
            // Without a loop nobody is left to tell.
            let _ = inputs.send(Input::Failed(error));
        }
    });
}
