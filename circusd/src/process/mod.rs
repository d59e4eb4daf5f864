//! Processes: children of circusd, and children of the papa kernel.

pub mod companion;
pub mod delivery;
pub mod direct;
pub mod end;
pub mod hosted;
pub mod printed;
pub mod sampler;
pub mod settlement;
pub mod tree;
pub mod turnstile;
