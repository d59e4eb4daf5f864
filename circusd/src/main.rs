//! The `circusd` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    circusd::circusd_main()
}
