//! Replays what was recorded from circusctl 0.17.2: the requests it sends and the text it makes of
//! replies. Deviations are listed here by case, each with its entry in the list of differences.

use crate::support::{FakeCircusd, Ran, circusctl, golden, judge};
use serde_json::{Value, json};

/// Requests that we send differently, and why.
const REQUEST_DEVIATIONS: &[(&str, &str)] = &[
    ("circusctl-request/ipython", "No `ipython` command"),
    (
        "circusctl-request/stop w x --waiting --match=simple",
        "Words that a command does not know are refused",
    ),
    ("circusctl-request/kill w 12", "`kill` sends numbers, and `--waiting`"),
    (
        "circusctl-request/kill w 12 --signum INT --graceful_timeout 3",
        "`kill` sends numbers, and `--waiting`",
    ),
    ("circusctl-request/kill w --waiting", "`kill` sends numbers, and `--waiting`"),
    ("circusctl-request/rm w --waiting --nostop", "`rm` sends its options"),
];

/// Replies that we show differently, and why.
const CONSOLE_DEVIATIONS: &[(&str, &str)] = &[
    (
        "circusctl-console/error-json-list",
        "An error reply ends with exit code 3, with `--json` too",
    ),
    ("circusctl-console/error-status", "Error replies are all shown alike"),
    ("circusctl-console/error-status w", "Error replies are all shown alike"),
    ("circusctl-console/error-globaloptions", "Error replies are all shown alike"),
    ("circusctl-console/error-no-reason", "Error replies are all shown alike"),
    ("circusctl-console/error-ipython", "No `ipython` command"),
    ("circusctl-console/ipython-no-shell", "No `ipython` command"),
    ("circusctl-console/list-neither", "A reply that lacks what was asked for is an error"),
    ("circusctl-console/numprocesses-missing", "A reply that lacks what was asked for is an error"),
    ("circusctl-console/no-reply", "A time-out says what was tried"),
];

fn arguments(case: &Value) -> Vec<String> {
    let words = case["argv"].as_array().expect("a list");
    words.iter().map(|word| word.as_str().expect("text").to_owned()).collect()
}

fn with_id(reply: &Value, request: &Value) -> Value {
    let mut reply = reply.clone();
    reply["id"] = request["id"].clone();
    reply
}

/// The difference between two values, if there is one.
fn equal<T: PartialEq + std::fmt::Debug>(ours: &T, recorded: &T) -> Result<(), String> {
    if ours == recorded {
        Ok(())
    } else {
        Err(format!("\n  ours     {ours:?}\n  recorded {recorded:?}"))
    }
}

#[test]
fn requests_are_those_of_the_original() {
    let mut compared = Vec::new();
    for (name, case) in golden("circusctl_requests.jsonl") {
        let fake = FakeCircusd::start(|request| {
            let reply = with_id(&json!({"status": "error", "reason": "seen", "errno": 3}), request);
            vec![reply.to_string().into_bytes()]
        });
        let output = circusctl()
            .args(["--timeout", "60", "--endpoint", fake.endpoint()])
            .args(arguments(&case))
            .output()
            .expect("circusctl runs");
        let mut requests = fake.finish();
        let mut recorded = case["request"].clone();
        let outcome = match requests.as_mut_slice() {
            [] => Err(format!("nothing was sent: {}", String::from_utf8_lossy(&output.stderr))),
            [request] => {
                let id = request["id"].take();
                let id = id.as_str().expect("a text");
                assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
                recorded["id"].take();
                equal(request, &recorded)
            }
            more => Err(format!("{} requests were sent", more.len())),
        };
        compared.push((name, outcome));
    }
    judge(compared, REQUEST_DEVIATIONS);
}

#[test]
fn replies_are_shown_as_the_original_shows_them() {
    let mut compared = Vec::new();
    for (name, case) in golden("circusctl_console.jsonl") {
        let reply = case["reply"].clone();
        let answered = !reply.is_null();
        let fake = FakeCircusd::start(move |request| match answered {
            true => vec![with_id(&reply, request).to_string().into_bytes()],
            false => vec![],
        });
        let output = circusctl()
            .args(["--timeout", if answered { "60" } else { "0" }, "--endpoint", fake.endpoint()])
            .args(arguments(&case))
            .output()
            .expect("circusctl runs");
        let requests = fake.finish();
        let text = |key: &str| {
            let id = requests.first().and_then(|request| request["id"].as_str());
            case[key].as_str().expect("text").replace("<uuid>", id.unwrap_or("<uuid>"))
        };
        let recorded = Ran {
            stdout: text("stdout"),
            stderr: text("stderr"),
            code: case["rc"].as_i64().and_then(|code| i32::try_from(code).ok()).expect("a code"),
        };
        compared.push((name, equal(&Ran::from(output), &recorded)));
    }
    judge(compared, CONSOLE_DEVIATIONS);
}
