//! What this process changed about itself and its children must not inherit.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::snapshot::v1::Shield;

static SHIELD: OnceLock<Shield> = OnceLock::new();

/// What children must not inherit, if anything.
pub(super) fn get() -> Option<&'static Shield> {
    SHIELD.get()
}

/// Raises this process' own limit of open files to what it may have. Children started after
/// this get the original limit back, and lose a protection from the OOM killer.
pub(crate) fn raise_own_limits() {
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

/// What children must not inherit, as [`super::raise_own_limits`] found it.
pub(crate) fn freeze_shield() -> Option<Shield> {
    SHIELD.get().copied()
}

/// Does what [`super::raise_own_limits`] did, in a program whose own limits are raised already.
pub(crate) fn thaw_shield(frozen: Option<Shield>) {
    if let Some(shield) = frozen {
        // Set once in the life of a program, and this is its beginning.
        let _ = SHIELD.set(shield);
    }
}
