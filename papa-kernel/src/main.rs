//! The `papa-kernel` program.

fn main() {}
