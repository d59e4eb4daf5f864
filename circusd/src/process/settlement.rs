//! After the death of a circusd: which of the writes that it was about to do have happened.
//!
//! Done for all processes before anything is written or followed, since a file can only tell as long as
//! nobody has written to it; and noted in the kernel at once, so that a second death changes nothing.

use crate::papa::client::{KernelClient, PapaError};
use crate::stream::file::recovery::{self, Outcome};
use crate::stream::ledger::Ledger;
use protocol::papa::ProcessRow;
use tokio::task;
use tracing::{info, warn};

/// Settles the notes in `rows`.
///
/// # Errors
/// The kernel does not take a note.
pub async fn settle(kernel: &KernelClient, rows: &mut [ProcessRow]) -> Result<(), PapaError> {
    for row in rows {
        let Some(mut ledger) = row.note.as_deref().and_then(Ledger::from_note) else { continue };
        let Some((channel, intent)) = ledger.take_intent() else { continue };
        let path = intent.path.display().to_string();
        let mark = intent.mark;
        let looked = task::spawn_blocking(move || recovery::settle(&intent)).await;
        match looked {
            Ok(Ok(Outcome::Written)) => ledger.advance(channel, mark, None),
            Ok(Ok(Outcome::NotWritten)) => {}
            Ok(Ok(Outcome::Undone)) => {
                info!("`{path}` ended in the middle of a write, which is repeated")
            }
            Ok(Ok(Outcome::Unknown)) => {
                warn!("`{path}` was changed while circusd was gone; its last lines may come twice");
            }
            Ok(Err(error)) => {
                warn!("cannot look into `{path}`, its last lines may come twice: {error}");
            }
            Err(_) => {}
        }
        let note = ledger.to_note();
        kernel.note(&row.name, note.clone()).await?;
        row.note = Some(note);
    }
    Ok(())
}
