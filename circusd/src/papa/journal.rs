//! The notes that outlive circusd: values in the kernel, written when they change.
//!
//! What a note says is no business of this module. The latest note of a name wins; one that the kernel has
//! already is not written again. Whoever must not go on before a note is safe waits for its [`Noted`].

use super::client::{KernelClient, PapaError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::{task, time};
use tracing::{info, warn};

/// What the names of our values begin with.
const PREFIX: &str = "circus.watcher.";

/// Pause before a note that could not be written is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// A note, or none for "forget it".
type Text = Option<Vec<u8>>;

#[derive(Default)]
struct State {
    /// There is a kernel that keeps them.
    attached: bool,
    /// What the kernel has, or will have when `pending` is written.
    known: BTreeMap<String, Vec<u8>>,
    pending: BTreeMap<String, Text>,
    waiting: Vec<oneshot::Sender<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Notify,
}

/// A handle on the notes; clones share them. Without a kernel there is nobody to keep them; they are written
/// when one is there.
#[derive(Clone, Default)]
pub struct Journal {
    shared: Arc<Shared>,
}

/// The writing of a note.
#[derive(Debug)]
pub struct Noted(Option<oneshot::Receiver<()>>);

impl Noted {
    /// Nothing had to be written.
    pub fn already() -> Self {
        Self(None)
    }

    /// Returns when the kernel has the note, or does not answer; it is tried again then, but nobody is held
    /// up.
    pub async fn wait(self) {
        if let Some(written) = self.0 {
            // A dropped sender means that circusd ends.
            let _ = written.await;
        }
    }
}

/// The value that holds the note of a watcher, whose name may have any characters.
fn value_name(key: &str) -> String {
    let mut name = String::from(PREFIX);
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => name.push(char::from(byte)),
            other => name.push_str(&format!("%{other:02x}")),
        }
    }
    name
}

impl Journal {
    /// Keeps the notes in this kernel from now on, and gives those that it has.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub async fn attach(&self, kernel: KernelClient) -> Result<Vec<Vec<u8>>, PapaError> {
        let rows = kernel.list_values(&format!("{PREFIX}*")).await?;
        let notes = rows.iter().map(|row| row.value.clone()).collect();
        self.shared.with(|state| {
            state.attached = true;
            for row in rows {
                // What was noted here meanwhile is newer.
                if !state.pending.contains_key(&row.name) {
                    state.known.insert(row.name, row.value);
                }
            }
        });
        task::spawn(write(kernel, Arc::clone(&self.shared)));
        Ok(notes)
    }

    /// Another kernel has taken the place of the one that kept the notes: everything is written again.
    pub fn repeat(&self) {
        self.shared.with(|state| {
            for (name, text) in &state.known {
                state.pending.entry(name.clone()).or_insert_with(|| Some(text.clone()));
            }
        });
        self.shared.wake.notify_one();
    }

    /// Notes something about a watcher, named in lower case, or forgets it.
    pub fn note(&self, key: &str, text: Text) -> Noted {
        let shared = &self.shared;
        let name = value_name(key);
        let (written, done) = oneshot::channel();
        let to_write = shared.with(|state| {
            let known = state.known.get(&name);
            // What is the same but still on its way has to be waited for.
            if known == text.as_ref() && !state.pending.contains_key(&name) {
                return false;
            }
            match &text {
                Some(text) => state.known.insert(name.clone(), text.clone()),
                None => state.known.remove(&name),
            };
            state.pending.insert(name, text);
            if state.attached {
                state.waiting.push(written);
            }
            state.attached
        });
        if !to_write {
            return Noted::already();
        }
        shared.wake.notify_one();
        Noted(Some(done))
    }

    /// All notes as they are now.
    pub fn notes(&self) -> Vec<Vec<u8>> {
        self.shared.with(|state| state.known.values().cloned().collect())
    }

    /// The note of a watcher, named in lower case.
    pub fn note_of(&self, key: &str) -> Option<Vec<u8>> {
        self.shared.with(|state| state.known.get(&value_name(key)).cloned())
    }

    /// Returns when everything that was noted is written, or the kernel does not answer.
    pub async fn settled(&self) {
        let (written, done) = oneshot::channel();
        self.shared.with(|state| {
            if state.attached {
                state.waiting.push(written);
            }
        });
        self.shared.wake.notify_one();
        let _ = done.await;
    }
}

impl Shared {
    fn with<T>(&self, action: impl FnOnce(&mut State) -> T) -> T {
        // Every action is complete in itself, so a panic elsewhere leaves nothing half changed.
        action(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn write(kernel: KernelClient, shared: Arc<Shared>) {
    let mut failing = false;
    loop {
        let (pending, waiting) = shared
            .with(|state| (std::mem::take(&mut state.pending), std::mem::take(&mut state.waiting)));
        let mut failed = false;
        for (name, text) in pending {
            let result = kernel.set_value(&name, text.clone()).await;
            if let Err(error) = &result {
                failed = true;
                // A newer note for the same name may have come meanwhile.
                shared.with(|state| {
                    state.pending.entry(name.clone()).or_insert(text);
                });
                if !failing {
                    warn!(
                        "what is to outlive circusd cannot be noted in papa as `{name}`, trying again: {error}"
                    );
                }
            } else if failing {
                info!("what is to outlive circusd can be noted in papa again");
            }
            failing = result.is_err();
        }
        for waiting in waiting {
            // The asker may have given up.
            let _ = waiting.send(());
        }
        if failed {
            time::sleep(RETRY).await;
        } else {
            shared.wake.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_becomes_one_word() {
        assert_eq!(value_name("web.api-1"), "circus.watcher.web.api-1");
        assert_eq!(value_name("my web=é%"), "circus.watcher.my%20web%3d%c3%a9%25");
    }

    #[tokio::test]
    async fn without_a_kernel_nobody_waits() {
        let journal = Journal::default();
        journal.note("web", Some(b"x".to_vec())).wait().await;
        journal.settled().await;
    }
}
