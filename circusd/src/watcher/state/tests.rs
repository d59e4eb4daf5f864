//! Tests of the watcher machine: the rules one by one, then random scripts.

mod bench;
mod ending;
mod hooking;
mod renewal;
mod scripts;
mod spawning;

use super::super::vocabulary::Renewal;
use super::*;
use crate::hook::outcome::Outcome;
use crate::hook::point::HookPoint;
use protocol::signal::Signal;
use std::time::Duration;
