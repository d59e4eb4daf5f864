//! Runs the `circusctl` program as a user does.
#![expect(clippy::expect_used, reason = "a test fails loudly")]

mod failures;
mod generated;
mod golden;
mod listen;
mod shell;
mod support;
