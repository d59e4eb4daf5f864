//! The command line clients of circusd.
//!
//! Layout, lowest first: [`ui`], [`colour`], [`report`], [`clock`], [`suggest`] and [`python_text`] know
//! only text; [`endpoint`], [`config_file`] and [`ssh`] find circusd, and [`session`] puts them together;
//! [`client`] and [`subscriber`] speak to it; [`command`] holds one type per command with its arguments,
//! its message and the text of its answer; [`run`] carries one out ([`follow`] those that go on), with [`advice`] when it fails;
//! [`completion`], [`generate`] and [`shell`] are made from the same tree of [`arguments`]; [`cli`] is the
//! program.
#![forbid(unsafe_code)]

pub mod advice;
pub mod arguments;
pub mod cli;
pub mod client;
pub mod clock;
pub mod colour;
pub mod command;
pub mod completion;
pub mod config_file;
pub mod endpoint;
pub mod follow;
pub mod generate;
pub mod interrupt;
#[cfg(feature = "logging")]
pub mod logging;
pub mod outcome;
#[cfg(any(feature = "plugins", feature = "stats"))]
pub mod parent;
#[cfg(feature = "plugins")]
pub mod plugin;
#[cfg(feature = "stats")]
pub mod private_endpoint;
pub mod python_text;
pub mod replace;
pub mod report;
pub mod run;
pub mod session;
pub mod shell;
pub mod ssh;
#[cfg(feature = "stats")]
pub mod stats;
pub mod subscriber;
pub mod suggest;
#[cfg(feature = "top")]
pub mod top;
pub mod ui;
pub mod usage;
