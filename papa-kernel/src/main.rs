//! The `papa-kernel` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    papa_kernel::run(std::env::args_os().skip(1))
}
