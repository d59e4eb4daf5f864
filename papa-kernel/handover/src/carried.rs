//! What a kernel is to a handover.

use bincode::{Decode, Encode};

use crate::descriptor::{Descriptor, Kind};
use crate::origin::Origin;
use crate::snapshot::{self, SnapshotError};

/// Everything that goes over to the next program.
pub trait Carried: Encode + Decode<()> {
    /// Which programs it goes from and to.
    fn origin(&mut self) -> &mut Origin;

    /// All descriptors, and what each is said to be.
    fn descriptors(&self) -> impl Iterator<Item = (&Descriptor, Kind)>;

    /// Makes what is not kept from what is, after everything was read.
    ///
    /// # Errors
    /// Why no kernel could have written this.
    fn complete(&mut self) -> Result<(), String>;

    /// Reads a snapshot. Nothing is opened, closed or owned by that.
    ///
    /// # Errors
    /// It is damaged, or no kernel could have written it.
    fn decode_snapshot(snapshot: &[u8]) -> Result<Self, SnapshotError> {
        completed(snapshot::decode(snapshot)?)
    }

    /// Like [`Carried::decode_snapshot`], of a payload without a head.
    ///
    /// # Errors
    /// As there.
    fn decode_payload(payload: &[u8]) -> Result<Self, SnapshotError> {
        completed(snapshot::decode_payload(payload)?)
    }
}

fn completed<S: Carried>(mut state: S) -> Result<S, SnapshotError> {
    state.complete().map_err(SnapshotError::Decode)?;
    Ok(state)
}
