//! libzmq and bare sockets as clients of ours.
#![expect(clippy::unwrap_used, reason = "a test fails loudly")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::{task, time};
use zmtp::{Incoming, Listener, Publisher, Router};

/// How long something that must happen may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a socket of version 3.0 sends first.
fn greeting(kind: &str) -> Vec<u8> {
    let mut greeting = b"\xff\0\0\0\0\0\0\0\0\x7f\x03\0NULL".to_vec();
    greeting.resize(64, 0);
    let kind_length = u8::try_from(kind.len()).unwrap();
    greeting.extend([4, 1 + 5 + 1 + 11 + 4 + kind_length]);
    greeting.extend(b"\x05READY\x0bSocket-Type\0\0\0");
    greeting.push(kind_length);
    greeting.extend(kind.as_bytes());
    greeting
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("e")
    }

    fn endpoint(&self) -> String {
        format!("ipc://{}", self.path().display())
    }

    fn bind(&self) -> Listener {
        Listener::bind(&self.endpoint()).unwrap()
    }
}

/// A ROUTER that sends back what comes, until the sender is dropped.
fn echo(listener: Listener) -> oneshot::Sender<()> {
    let (stop, stopped) = oneshot::channel();
    let (requests, mut incoming) = mpsc::channel(4);
    let mut router = Router::serve(listener, requests).unwrap();
    tokio::spawn(async move {
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                Some(Incoming { client, body, .. }) = incoming.recv() => match incoming.is_empty() {
                    true => client.reply_now(body.into()),
                    false => client.reply(body.into()),
                },
                never = router.attend() => match never {},
            }
        }
        router.close(PATIENCE).await;
    });
    stop
}

/// What blocks must not keep the loop that serves it.
async fn blocking<T: Send + 'static>(client: impl FnOnce() -> T + Send + 'static) -> T {
    task::spawn_blocking(client).await.unwrap()
}

/// A client of a ROUTER that sends back what comes, at this path.
async fn with_echo(client: impl FnOnce(PathBuf) + Send + 'static) {
    let place = Place::new();
    let path = place.path();
    let _server = echo(place.bind());
    blocking(move || client(path)).await;
}

fn connect(kind: zmq::SocketType, endpoint: &str) -> zmq::Socket {
    let socket = zmq::Context::new().socket(kind).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvtimeo(i32::try_from(PATIENCE.as_millis()).unwrap()).unwrap();
    socket.connect(endpoint).unwrap();
    socket
}

#[tokio::test]
async fn requests_of_all_sizes_come_back_to_who_sent_them() {
    let tcp = Listener::bind("tcp://127.0.0.1:*").unwrap();
    let place = Place::new();
    let endpoints = [format!("tcp://{}", tcp.tcp_address().unwrap().unwrap()), place.endpoint()];
    let _servers = [echo(tcp), echo(place.bind())];
    for endpoint in endpoints {
        let clients = [0_u8, 1].map(|number| {
            let endpoint = endpoint.clone();
            blocking(move || {
                let socket = connect(zmq::DEALER, &endpoint);
                for length in [0, 1, 255, 256, 4096, 4097, 70_000, 16 << 20] {
                    let body = vec![number; length];
                    socket.send(&body, 0).unwrap();
                    assert_eq!(socket.recv_bytes(0).unwrap(), body, "{length} bytes");
                }
            })
        });
        for client in clients {
            client.await;
        }
    }
}

#[tokio::test]
async fn many_requests_at_once_are_all_answered_in_order() {
    with_echo(|path| {
        let endpoint = format!("ipc://{}", path.display());
        let socket = connect(zmq::DEALER, &endpoint);
        let sent: Vec<_> = (0..900).map(|n: u32| n.to_be_bytes().repeat(n as usize % 40)).collect();
        for body in &sent {
            socket.send(body, 0).unwrap();
        }
        for body in &sent {
            assert_eq!(&socket.recv_bytes(0).unwrap(), body);
        }
    })
    .await;
}

#[tokio::test]
async fn who_reads_late_gets_all_replies_once_and_in_order() {
    const COUNT: u32 = 1500;
    with_echo(|path| {
        let mut socket = stranger(&path, "DEALER");
        socket.read_exact(&mut [0; 64 + 30]).unwrap();
        let mut frame = b"\x02\0\0\0\0\0\0\x20\0".to_vec();
        frame.resize(9 + 0x2000, b'x');
        for round in 0..2 {
            // Far more than the socket has room for, and less than its queue.
            for number in 0..COUNT {
                frame[9..13].copy_from_slice(&(round * COUNT + number).to_be_bytes());
                socket.write_all(&frame).unwrap();
            }
            for number in 0..COUNT {
                let mut reply = vec![0; frame.len()];
                socket.read_exact(&mut reply).unwrap();
                frame[9..13].copy_from_slice(&(round * COUNT + number).to_be_bytes());
                assert!(reply == frame, "reply {number} of round {round}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_message_of_several_frames_is_dropped_and_the_next_one_is_not() {
    with_echo(|path| {
        let endpoint = format!("ipc://{}", path.display());
        let socket = connect(zmq::DEALER, &endpoint);
        socket.send_multipart(["one", "two", "three"], 0).unwrap();
        socket.send("alone", 0).unwrap();
        assert_eq!(socket.recv_bytes(0).unwrap(), b"alone");
    })
    .await;
}

#[tokio::test]
async fn heartbeats_are_answered() {
    with_echo(|path| {
        let mut socket = stranger(&path, "DEALER");
        // Our greeting and READY, the time to live and a context.
        socket.read_exact(&mut [0; 64 + 30]).unwrap();
        socket.write_all(b"\x04\x0a\x04PING\0\x0actx").unwrap();
        let mut pong = [0; 10];
        socket.read_exact(&mut pong).unwrap();
        assert_eq!(&pong, b"\x04\x08\x04PONGctx");
        let long = [&b"\x04\x4b\x04PING\0\0"[..], &[7; 68]].concat();
        socket.write_all(&long).unwrap();
        let mut pong = [0; 2 + 5 + 16];
        socket.read_exact(&mut pong).unwrap();
        assert_eq!(pong, *[&b"\x04\x15\x04PONG"[..], &[7; 16]].concat());
    })
    .await;
}

#[tokio::test]
async fn who_says_nothing_for_as_long_as_it_announced_is_let_go() {
    with_echo(|path| {
        let [mut talker, mut gone] = [(); 2].map(|()| {
            let mut socket = stranger(&path, "DEALER");
            socket.read_exact(&mut [0; 64 + 30]).unwrap();
            // A tenth of a second.
            socket.write_all(b"\x04\x07\x04PING\0\x01").unwrap();
            socket.read_exact(&mut [0; 7]).unwrap();
            socket.write_all(b"\0\x05hello").unwrap();
            socket.read_exact(&mut [0; 7]).unwrap();
            socket
        });
        gone.write_all(b"\x04\x07\x04PING\0\x01").unwrap();
        let mut heard = Vec::new();
        gone.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, b"\x04\x05\x04PONG");
        talker.write_all(b"\0\x05hello").unwrap();
        talker.read_exact(&mut [0; 7]).unwrap();
    })
    .await;
}

#[tokio::test]
async fn long_messages_of_all_clients_together_have_an_end() {
    const LENGTH: usize = 15 << 20;
    let place = Place::new();
    let (path, endpoint) = (place.path(), place.endpoint());
    let _server = echo(place.bind());
    blocking(move || {
        let unfinished = [&b"\x02\0\0\0\0\x01\0\0\0"[..], &vec![7; LENGTH]].concat();
        let held = (128 << 20) / LENGTH;
        let _held: Vec<_> = (0..held)
            .map(|_| {
                let mut socket = stranger(&path, "DEALER");
                socket.write_all(&unfinished).unwrap();
                socket
            })
            .collect();
        cut_off(stranger(&path, "DEALER"), &unfinished);
        let socket = connect(zmq::DEALER, &endpoint);
        socket.send("short", 0).unwrap();
        assert_eq!(socket.recv_bytes(0).unwrap(), b"short");
    })
    .await;
}

/// A connection without libzmq, which has sent its greeting.
fn stranger(path: &Path, kind: &str) -> UnixStream {
    let mut socket = UnixStream::connect(path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(&greeting(kind)).unwrap();
    socket
}

/// Sends `bytes` and waits to be cut off.
fn cut_off(socket: impl Read + Write, bytes: &[u8]) {
    let mut socket = socket;
    // Cut off meanwhile, perhaps.
    let _ = socket.write_all(bytes);
    if let Err(error) = socket.read_to_end(&mut Vec::new()) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "not cut off: {bytes:?}");
    }
}

#[tokio::test]
async fn who_speaks_something_else_is_cut_off_and_nobody_else_notices() {
    let listener = Listener::bind("tcp://127.0.0.1:*").unwrap();
    let address = listener.tcp_address().unwrap().unwrap();
    let _server = echo(listener);
    blocking(move || {
        let socket = connect(zmq::DEALER, &format!("tcp://{address}"));
        let dealer = greeting("DEALER");
        let endless = [&dealer[..], b"\x02\xff\xff\xff\xff\xff\xff\xff\xff"].concat();
        let flags = [&dealer[..], b"\xf0"].concat();
        let subscriber = greeting("SUB");
        for bytes in [b"GET / HTTP/1.1\r\n\r\n", &endless[..], &flags, &subscriber] {
            let stranger = TcpStream::connect(address).unwrap();
            stranger.set_read_timeout(Some(PATIENCE)).unwrap();
            cut_off(stranger, bytes);
            socket.send("still here", 0).unwrap();
            assert_eq!(socket.recv_bytes(0).unwrap(), b"still here");
        }
    })
    .await;
}

#[tokio::test]
async fn who_does_not_go_with_us_is_told_what_we_are_first() {
    with_echo(|path| {
        let mut socket = stranger(&path, "SUB");
        let mut heard = Vec::new();
        socket.read_to_end(&mut heard).unwrap();
        assert!(heard.ends_with(b"\x05READY\x0bSocket-Type\0\0\0\x06ROUTER"), "{heard:?}");
    })
    .await;
}

#[tokio::test]
async fn who_has_not_said_what_it_is_does_not_hold_up_the_end() {
    let place = Place::new();
    let (requests, _incoming) = mpsc::channel(1);
    let mut router = Router::serve(place.bind(), requests).unwrap();
    let mut silent = UnixStream::connect(place.path()).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    let greeted = blocking(move || silent.read_exact(&mut [0; 11]).map(|()| silent));
    let _silent = tokio::select! {
        greeted = greeted => greeted.unwrap(),
        never = router.attend() => match never {},
    };
    let long = 100 * PATIENCE;
    time::timeout(PATIENCE, router.close(long)).await.unwrap();
}

#[tokio::test]
async fn what_a_client_said_before_it_left_counts() {
    let place = Place::new();
    let path = place.path();
    let (requests, mut incoming) = mpsc::channel(1);
    let mut router = Router::serve(place.bind(), requests).unwrap();
    let serving = tokio::spawn(async move { match router.attend().await {} });
    blocking(move || {
        let mut socket = UnixStream::connect(path).unwrap();
        socket.write_all(&greeting("DEALER")).unwrap();
        socket.read_exact(&mut [0; 64 + 30]).unwrap();
        socket.write_all(&b"\0\x04cast".repeat(500)).unwrap();
    })
    .await;
    for _ in 0..500 {
        assert_eq!(incoming.recv().await.unwrap().body, b"cast");
    }
    serving.abort();
}

#[tokio::test]
async fn a_reply_finds_a_client_that_came_back_under_its_name() {
    let place = Place::new();
    let endpoint = place.endpoint();
    let (requests, mut incoming) = mpsc::channel(4);
    let mut router = Router::serve(place.bind(), requests).unwrap();
    let named = move |text: &'static str| {
        let endpoint = endpoint.clone();
        blocking(move || {
            let socket = zmq::Context::new().socket(zmq::DEALER).unwrap();
            socket.set_identity(b"operator").unwrap();
            socket.set_linger(0).unwrap();
            socket.set_rcvtimeo(i32::try_from(PATIENCE.as_millis()).unwrap()).unwrap();
            socket.connect(&endpoint).unwrap();
            socket.send(text, 0).unwrap();
            socket
        })
    };
    let mut receive = async |socket| {
        let socket = tokio::spawn(named(socket));
        let request = tokio::select! {
            request = incoming.recv() => request.unwrap(),
            never = router.attend() => match never {},
        };
        (request, socket.await.unwrap())
    };
    let (first, gone) = receive("first").await;
    drop(gone);
    let (_, back) = receive("second").await;
    let received = tokio::spawn(blocking(move || back.recv_bytes(0).unwrap()));
    let answer = async {
        // Until the loop has seen that the first one has left, the reply goes to where it was.
        loop {
            first.client.reply(b"answer".as_slice().into());
            tokio::select! {
                () = task::yield_now() => {}
                never = router.attend() => match never {},
            }
            if received.is_finished() {
                break;
            }
        }
    };
    answer.await;
    assert_eq!(received.await.unwrap(), b"answer");
}

#[tokio::test]
async fn subscribers_get_what_they_asked_for_and_everything_before_the_end() {
    let place = Place::new();
    let endpoint = place.endpoint();
    let mut publisher = Publisher::serve(place.bind()).unwrap();
    let (seen, mut first_seen) = oneshot::channel();
    let subscriber = tokio::spawn(blocking(move || {
        let socket = connect(zmq::SUB, &endpoint);
        socket.set_subscribe(b"watcher.web.").unwrap();
        let mut messages = vec![socket.recv_multipart(0).unwrap()];
        seen.send(()).unwrap();
        while messages.last().unwrap()[1] != b"last" {
            messages.push(socket.recv_multipart(0).unwrap());
        }
        messages
    }));
    // Slower than it reads, so that none is dropped: nothing tells when a subscription has come.
    let mut pace = time::interval(Duration::from_millis(1));
    loop {
        tokio::select! {
            _ = &mut first_seen => break,
            _ = pace.tick() => publisher.publish(b"watcher.web.spawn", b"first"),
            never = publisher.attend() => match never {},
        }
    }
    publisher.publish(b"watcher.db.spawn", b"not asked for");
    for number in 0..1000 {
        publisher.publish(b"watcher.web.reap", format!("{number}").as_bytes());
    }
    publisher.publish(b"watcher.web.stop", b"last");
    publisher.close(PATIENCE).await;
    let messages = subscriber.await.unwrap();
    let reaps = messages.iter().filter(|message| message[0] == b"watcher.web.reap");
    assert!(
        reaps
            .map(|message| &message[1])
            .eq((0..1000).map(|n| n.to_string().into_bytes()).collect::<Vec<_>>().iter())
    );
    assert!(messages.iter().all(|message| message[0].starts_with(b"watcher.web.")));
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_holds_up_nobody() {
    let place = Place::new();
    let path = place.path();
    let endpoint = place.endpoint();
    let mut publisher = Publisher::serve(place.bind()).unwrap();
    let mut stuck = UnixStream::connect(path).unwrap();
    let mut subscribe = greeting("SUB");
    subscribe.extend(b"\0\x01\x01");
    stuck.write_all(&subscribe).unwrap();
    let (done, mut ended) = oneshot::channel();
    tokio::spawn(blocking(move || {
        let socket = connect(zmq::SUB, &endpoint);
        socket.set_subscribe(b"").unwrap();
        for _ in 0..20_000 {
            socket.recv_multipart(0).unwrap();
        }
        done.send(()).unwrap();
    }));
    loop {
        tokio::select! {
            _ = &mut ended => break,
            () = task::yield_now() => publisher.publish(b"topic", &[7; 1000]),
            never = publisher.attend() => match never {},
        }
    }
    // Held at most what its queue holds; it is cut off at the end.
    publisher.close(Duration::ZERO).await;
    stuck.set_read_timeout(Some(PATIENCE)).unwrap();
    blocking(move || stuck.read_to_end(&mut Vec::new()).unwrap()).await;
}

#[tokio::test]
async fn a_client_that_never_stops_sending_leaves_others_their_turn() {
    let place = Place::new();
    let path = place.path();
    let mut publisher = Publisher::serve(place.bind()).unwrap();
    let served = Arc::new(AtomicBool::new(false));
    let flood = {
        let served = Arc::clone(&served);
        blocking(move || {
            let mut socket = UnixStream::connect(path).unwrap();
            socket.write_all(&greeting("SUB")).unwrap();
            // Never more than one whole frame at a time.
            let mut frame = b"\x02\0\0\0\0\0\0\xc0\0".to_vec();
            frame.resize(9 + 0xc000, b'x');
            let begin = Instant::now();
            while !served.load(Ordering::Relaxed) {
                assert!(begin.elapsed() < PATIENCE, "nobody else got a turn");
                socket.write_all(&frame).unwrap();
            }
        })
    };
    let flood = tokio::spawn(flood);
    let turns = async {
        for _ in 0..10_000 {
            task::yield_now().await;
        }
    };
    tokio::select! {
        () = turns => served.store(true, Ordering::Relaxed),
        never = publisher.attend() => match never {},
    }
    tokio::select! {
        ended = flood => ended.unwrap(),
        never = publisher.attend() => match never {},
    }
}
