//! The command line clients of circusd.
//!
//! Layout, lowest first: [`ui`], [`report`] and [`python_text`] know only text; [`client`] and
//! [`subscriber`] speak to a daemon; [`command`] holds one type per command with its arguments,
//! its message and the text of its answer; [`cli`] is the command line as a whole.
#![forbid(unsafe_code)]

pub mod cli;
pub mod client;
pub mod command;
pub mod python_text;
pub mod report;
pub mod subscriber;
pub mod ui;
