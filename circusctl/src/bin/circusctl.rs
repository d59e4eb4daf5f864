//! The `circusctl` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    circusctl::cli::run(std::env::args_os())
}
