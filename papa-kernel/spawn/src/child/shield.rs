//! What this process changed about itself and its children must not inherit.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Limits as they were before this process changed its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shield {
    /// Soft and hard limit of open files.
    pub nofile: (u64, u64),
    /// The process is protected from the OOM killer.
    pub reset_oom: bool,
}

static SHIELD: OnceLock<Shield> = OnceLock::new();

/// Raises this process' own limit of open files to what it may have. Children started after
/// this get the original limit back, and lose a protection from the OOM killer.
pub fn raise_own_limits() {
    const MOST: u64 = 1 << 20;
    let Ok(original) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let oom = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    let reset_oom = oom.trim().parse::<i32>().is_ok_and(|score| score < 0);
    if SHIELD.set(Shield { nofile: original, reset_oom }).is_ok() {
        let wanted = original.1.max(MOST);
        let raised = setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted)
            .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, original.1, original.1));
        if let Err(error) = raised {
            tracing::warn!(%error, "could not raise the limit of open files");
        }
    }
}

/// What children must not inherit, as [`raise_own_limits`] found it.
pub fn shield() -> Option<Shield> {
    SHIELD.get().copied()
}

/// Does what [`raise_own_limits`] did, in a program whose own limits are raised already because the one
/// before it did so.
pub fn restore_shield(shield: Shield) {
    // Set once in the life of a program, and this is its beginning.
    let _ = SHIELD.set(shield);
}
