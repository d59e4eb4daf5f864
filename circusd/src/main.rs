//! The `circusd` program.

fn main() {}
