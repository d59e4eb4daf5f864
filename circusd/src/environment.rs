//! What of our own environment the processes may get: all but what is meant for this process alone.

use crate::upgrade::handover;
use std::ffi::OsString;

/// The environment of this process as processes may get it, and the names of the variables that are no text. `own` are
/// meant for this process alone.
pub fn of_this_process(own: &[&str]) -> (Vec<(String, String)>, Vec<String>) {
    let (mut environment, mut left_out) = (Vec::new(), Vec::new());
    let ours = own.iter().chain(&[handover::VARIABLE]);
    let for_others = |key: &OsString| !ours.clone().any(|own| key == own);
    for (key, value) in std::env::vars_os().filter(|(key, _)| for_others(key)) {
        match (key.into_string(), value.into_string()) {
            (Ok(key), Ok(value)) => environment.push((key, value)),
            (Ok(key), Err(_)) => left_out.push(key),
            (Err(key), _) => left_out.push(key.to_string_lossy().into_owned()),
        }
    }
    (environment, left_out)
}
