//! circus-plugin: programs beside circusd that listen to its events and send it commands.
//!
//! [`interface`] is what a plugin is, [`circus`] its way to circusd, [`event`] what it hears, [`options`] what
//! its section says. [`registry`] knows all plugins by the names that ini files have for them; each has a
//! module of its own here, with its rules as pure functions and its I/O around them. [`runner`] is the one
//! loop that runs any of them, [`invocation`] the command line that starts one and [`config_text`] the form of its
//! options there, [`cli`] the program; [`program`] is the
//! same for plugins of others. Options are checked by building the plugin, which does nothing else; so circusd can do it too.

pub mod asker;
pub mod circus;
pub mod cli;
pub mod command_reloader;
pub mod config_text;
pub mod ending;
pub mod errand;
pub mod event;
pub mod flapping;
pub mod http_observer;
pub mod interface;
pub mod invocation;
pub mod option_file;
pub mod options;
pub mod periodic;
pub mod program;
pub mod python;
pub mod python_regex;
pub mod redis_observer;
pub mod registry;
pub mod resource_watcher;
pub mod restart;
pub mod runner;
pub mod size;
pub mod statsd;
pub mod watchdog;
