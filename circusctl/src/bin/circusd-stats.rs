//! The `circusd-stats` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    circusctl::stats::cli::run(std::env::args_os().skip(1))
}
