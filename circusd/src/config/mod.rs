//! The configuration: what the ini files say, typed and resolved.

pub mod model;
