//! A process of few descriptors. Apart from the other tests, since the limit is that of the whole process.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::Read;
use std::os::unix::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task;
use zmtp::{Listener, Router};

const SOFT: u64 = 400;

#[tokio::test]
async fn clients_that_stay_leave_descriptors_to_others() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, SOFT, hard).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e");
    let listener = Listener::bind(&format!("ipc://{}", path.display())).unwrap();
    let (requests, _incoming) = mpsc::channel(1);
    let mut router = Router::serve(listener, requests).unwrap();
    let crowd = task::spawn_blocking(move || {
        let mut staying = Vec::new();
        loop {
            let mut client = UnixStream::connect(&path).unwrap();
            // A greeting, or nothing at all for who is turned away.
            match client.read_exact(&mut [0; 11]) {
                Ok(()) => staying.push(client),
                Err(_) => return staying.len(),
            }
        }
    });
    let staying = tokio::select! {
        staying = crowd => staying.unwrap(),
        never = router.attend() => match never {},
    };
    assert_eq!(staying, 100, "a quarter of {SOFT}");
}
