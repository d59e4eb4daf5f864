//! Hooks: users' code at fixed points of a watcher's life.
//!
//! [`point`] names the points, [`call`] says what a hook is told, [`outcome`] what it answers. The watcher's
//! machine decides when one runs and what its answer means; [`runner`] runs it, beside everything else.

pub mod call;
pub mod command;
pub mod outcome;
pub mod point;
pub mod runner;
