//! The sessions in `docs/papa-protocol.md` happen as they are written there.
//!
//! A session is what a telnet user sees: what stands after a prompt was typed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "only tests use it")]

mod harness;

use std::path::Path;

use harness::Kernel;

/// Whether `got` is `wanted`, in which `<...>` stands for any word.
fn matches(wanted: &str, got: &str) -> bool {
    let Some((start, rest)) = wanted.split_once('<') else { return wanted == got };
    let Some((_, rest)) = rest.split_once('>') else { return wanted == got };
    let Some(got) = got.strip_prefix(start) else { return false };
    let ends = got.char_indices().map(|(at, _)| at).chain([got.len()]).skip(1);
    let word = |end: &usize| !got[..*end].contains([' ', '\n']);
    ends.take_while(word).any(|end| matches(rest, &got[end..]))
}

/// Pairs of what the kernel says, up to and with a prompt, and what is typed then.
fn turns(session: &str) -> Vec<(String, Option<String>)> {
    let mut turns = Vec::new();
    let mut said = String::new();
    for line in session.lines() {
        // A prompt at the end of a session may have lost its blank to an editor.
        match line.get(..2).unwrap_or(line) {
            prompt @ ("> " | "] " | ">") => {
                said.push_str(if prompt == ">" { "> " } else { prompt });
                let typed = line.get(2..).unwrap_or_default().to_owned();
                turns.push((std::mem::take(&mut said), Some(typed)));
            }
            _ => said.push_str(&format!("{line}\n")),
        }
    }
    if let Some(last) = turns.last_mut() {
        last.1 = None;
    }
    turns
}

#[test]
fn the_documented_sessions_happen() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/papa-protocol.md");
    let text = std::fs::read_to_string(path).unwrap();
    let sessions: Vec<&str> =
        text.split("```papa\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert!(sessions.len() >= 4);
    for session in sessions {
        let kernel = Kernel::start(&[]);
        let mut client = kernel.connect();
        for (wanted, typed) in turns(session) {
            let got = client.read_to(wanted.get(wanted.len() - 2..).unwrap());
            assert!(matches(&wanted, &got), "wanted {wanted:?}\ngot    {got:?}");
            if let Some(typed) = typed {
                client.send(format!("{typed}\n"));
            }
        }
    }
}

#[test]
fn a_placeholder_is_one_word() {
    assert!(matches("pid=<pid> x", "pid=12 x"));
    assert!(!matches("pid=<pid> x", "pid= x"));
    assert!(!matches("pid=<pid> x", "pid=1 2 x"));
    assert!(!matches("pid=<pid>", "pid=1\n"));
}

#[test]
fn info_has_the_documented_keys() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/papa-protocol.md");
    let text = std::fs::read_to_string(path).unwrap();
    let listed = text.split_once("`info` answers").unwrap().1.split_once("\n\n").unwrap().0;
    let documented: Vec<&str> = listed.split('`').skip(1).step_by(2).collect();
    let answer = Kernel::start(&[]).client().ask("info");
    let keys: Vec<&str> = answer.lines().map(|line| line.split_once('=').unwrap().0).collect();
    assert_eq!(keys, documented);
}
