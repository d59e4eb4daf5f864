//! The end-to-end test harness: real programs in a temporary directory, and nothing left of them.
//!
//! ```no_run
//! let env = circus_e2e::TestEnv::new();
//! let circusd = env.start("[watcher:sleeper]\ncmd = sleep 100\nnumprocesses = 2\n");
//! let pids = circusd.wait_for_pids("sleeper", 2);
//! ```
//!
//! The tests can run against another circusd, such as the original: `CIRCUS_E2E_CIRCUSD=/path/to/circusd
//! cargo test -p circus-e2e`. What needs something that only ours has is then skipped.
#![forbid(unsafe_code)]
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails loudly")]

pub mod daemon;
pub mod env;
pub mod gate;
pub mod kernel;
pub mod process;
pub mod program;
pub mod python;
pub mod terminal;
pub mod waiting;

pub use daemon::Daemon;
pub use env::TestEnv;
pub use gate::Gate;
pub use kernel::KernelClient;
pub use python::Python;

use std::time::Duration;

/// How long anything may take before a test gives up. Far above what is ever needed, so that a busy
/// machine fails no test.
pub const PATIENCE: Duration = Duration::from_secs(60);
