//! `circus.plugins.flapping.Flapping`: stops a watcher whose processes die too fast, and starts it again later.
//!
//! [`rules`] decides for one watcher, [`plugin`] knows all of them and acts.

pub mod plugin;
pub mod rules;
