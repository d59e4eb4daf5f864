//! The `circusctl` program.

fn main() {}
