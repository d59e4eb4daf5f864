//! The `circus-top` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    circusctl::top::cli::run(std::env::args_os().skip(1))
}
