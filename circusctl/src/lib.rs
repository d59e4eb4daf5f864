//! The command line clients of circusd.
//!
//! Layout, lowest first: [`ui`], [`colour`], [`report`], [`clock`], [`suggest`] and [`python_text`] know
//! only text; [`endpoint`], [`config_file`] and [`ssh`] find circusd, and [`session`] puts them together;
//! [`client`] and [`subscriber`] speak to it; [`command`] holds one type per command with its arguments,
//! its message and the text of its answer; [`run`] carries one out ([`follow`] those that go on), with [`advice`] when it fails;
//! [`completion`], [`generate`] and [`shell`] are made from the same tree of [`arguments`]; [`cli`] is the
//! program.
#![forbid(unsafe_code)]

#[cfg(feature = "ctl")]
pub mod advice;
#[cfg(feature = "ctl")]
pub mod arguments;
#[cfg(feature = "ctl")]
pub mod cli;
pub mod client;
pub mod clock;
pub mod colour;
#[cfg(feature = "ctl")]
pub mod command;
#[cfg(feature = "ctl")]
pub mod completion;
pub mod config_file;
pub mod endpoint;
#[cfg(feature = "ctl")]
pub mod follow;
#[cfg(feature = "ctl")]
pub mod generate;
pub mod interrupt;
#[cfg(feature = "logging")]
pub mod logging;
#[cfg(feature = "ctl")]
pub mod outcome;
#[cfg(any(feature = "plugins", feature = "stats"))]
pub mod parent;
#[cfg(feature = "plugins")]
pub mod plugin;
#[cfg(feature = "stats")]
pub mod private_endpoint;
pub mod python_text;
#[cfg(feature = "ctl")]
pub mod replace;
pub mod report;
#[cfg(feature = "ctl")]
pub mod run;
#[cfg(feature = "ctl")]
pub mod session;
#[cfg(feature = "ctl")]
pub mod shell;
pub mod ssh;
#[cfg(feature = "stats")]
pub mod stats;
pub mod subscriber;
pub mod suggest;
#[cfg(feature = "top")]
pub mod top;
pub mod ui;
#[cfg(feature = "ctl")]
pub mod usage;
