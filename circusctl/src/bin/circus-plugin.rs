//! The `circus-plugin` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    circusctl::plugin::cli::run(std::env::args_os().skip(1))
}
