//! What subscriptions with prefixes get, as recorded.

use crate::recording::{self, Places};
use circus_e2e::{PATIENCE, TestEnv};
use serde_json::{Value, json};

#[test]
fn subscriptions_get_the_topics_that_begin_with_their_prefixes() {
    let env = TestEnv::new();
    let sections =
        std::fs::read_to_string(recording::folder().join("configs/events.ini")).expect("text");
    let (_, sections) = sections.split_once("[watcher:").expect("watchers");
    let circusd = env.start(&format!("[watcher:{sections}"));
    let mut places = Places::new("/nowhere".to_owned());
    let lines = recording::lines("events.jsonl", &mut places);
    let recorded =
        lines.iter().find_map(|line| line.get("received_by_subscription")).expect("recorded");
    let recorded = recorded.as_object().expect("an object");
    let context = zmq::Context::new();
    let subscriptions: Vec<(&String, zmq::Socket)> = recorded
        .keys()
        .map(|prefixes| {
            let socket = context.socket(zmq::SUB).expect("a socket");
            socket
                .set_rcvtimeo(i32::try_from(PATIENCE.as_millis()).expect("it fits"))
                .expect("a time");
            for prefix in prefixes.split(" + ") {
                socket.set_subscribe(prefix.as_bytes()).expect("a prefix");
            }
            // Tells that the subscription has arrived, and that nothing comes any more.
            socket.set_subscribe(b"watcher.hup.").expect("a prefix");
            socket.connect(&env.pubsub_endpoint()).expect("an endpoint");
            (prefixes, socket)
        })
        .collect();
    for (_, socket) in &subscriptions {
        while socket.poll(zmq::POLLIN, 50).expect("poll") == 0 {
            circusd.ok("set", json!({"name": "hup", "options": {"max_retry": 5}}));
        }
    }
    for watcher in ["alpha", "Mixed Case", "stubborn", "hup"] {
        circusd.ok("start", json!({"name": watcher, "waiting": true}));
    }
    for (prefixes, socket) in subscriptions {
        let mut got = Vec::new();
        loop {
            let topic = socket.recv_multipart(0).expect("an event in time").swap_remove(0);
            let topic = String::from_utf8(topic).expect("UTF-8");
            match topic.strip_prefix("watcher.hup.") {
                Some("start") => break,
                Some(_) => {}
                None => got.push(Value::from(topic)),
            }
        }
        assert_eq!(Some(&Value::from(got)), recorded.get(prefixes), "{prefixes}");
    }
}
