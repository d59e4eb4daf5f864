//! Processes: children of circusd, and children of the papa kernel.

pub mod direct;
pub mod end;
pub mod hosted;
pub mod info;
pub mod sampler;
