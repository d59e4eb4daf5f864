//! Letting go: of streams when nothing runs, of hosted processes when circusd ends.

use super::Task;
use crate::process::direct::DRAIN_LIMIT;
use tokio::sync::oneshot;
use tokio::{task, time};
use tracing::info;

impl Task {
    pub(super) fn close_streams(&self) {
        let outputs = self.outputs.clone();
        task::spawn(async move {
            for writer in [outputs.stdout, outputs.stderr].into_iter().flatten() {
                writer.close().await;
            }
        });
    }

    /// Leaves hosted processes to the kernel: what has been delivered is written and acknowledged, the
    /// rest stays there.
    pub(super) async fn detach(mut self, reply: oneshot::Sender<()>) {
        let left = self.state.processes().len();
        self.detach.cancel();
        // A process that is being made right now is adopted by the next circusd.
        while self.launches.join_next().await.is_some() {}
        while self.ends.join_next().await.is_some() {}
        for writer in [&self.outputs.stdout, &self.outputs.stderr].into_iter().flatten() {
            // A stream that cannot be written says so itself; one that hangs is not waited for.
            let _ = time::timeout(DRAIN_LIMIT, writer.write_through(Vec::new())).await;
        }
        if left > 0 {
            info!("{} left running in papa", self.identity.name);
        }
        let _ = reply.send(());
    }
}
