//! What Python hooks ask for, carried out as if a client had asked.

use super::dispatch::Dispatcher;
use crate::event_bus::EventBus;
use crate::python::message::Wish;
use crate::python::request::Request as HookRequest;
use protocol::circus::request::Request;
use protocol::circus::response::Failure;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// Requests of all hooks that may be under way; more wait for their turn.
const AT_ONCE: usize = 256;

/// Serves the requests until there is nobody who could send one, or the daemon ends.
pub async fn serve(
    dispatcher: Dispatcher,
    bus: EventBus,
    mut inbox: mpsc::Receiver<HookRequest>,
    stop: CancellationToken,
) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let request = tokio::select! {
            request = inbox.recv() => request,
            () = stop.cancelled() => return,
        };
        let Some(HookRequest { wish, reply }) = request else { return };
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
        let (dispatcher, bus) = (dispatcher.clone(), bus.clone());
        tokio::spawn(async move {
            let answer = carry_out(&dispatcher, &bus, wish).await;
            // The hook may have been killed.
            let _ = reply.send(answer.map_err(|failure| failure.reason));
            drop(turn);
        });
    }
}

async fn carry_out(dispatcher: &Dispatcher, bus: &EventBus, wish: Wish) -> Result<Value, Failure> {
    match wish {
        Wish::Command { command, properties } => {
            let request = Request::new(command.as_str(), &command, properties);
            Ok(Value::Object(dispatcher.carry_out(&request).await?))
        }
        Wish::Watcher { watcher } => dispatcher.picture(&watcher).await,
        Wish::Event { event, watcher, payload } => {
            bus.publish_own(&watcher, &event, payload);
            Ok(Value::Null)
        }
    }
}
