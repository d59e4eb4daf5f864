//! Every state survives, old snapshots load for ever, and no bytes do harm.

use std::time::{Duration, Instant};

use papa_handover::snapshot::encode;
use papa_handover::stand_in;
use proptest::prelude::*;

use super::*;
use crate::access::Access;
use crate::is_acceptable_snapshot;
use crate::kernel::Kernel;

/// Length of the head.
const HEAD: usize = 26;

/// A stack as it may be met: two sockets, values, a process that runs and is watched, one that has
/// ended, one that was removed; a client for each mode. Written by version 0.1.0.
const STACK: &[u8] = include_bytes!("../../../tests/snapshots/v1-stack.bin");
/// What a kernel of version 0.1.0 wrote, which held sockets of all kinds, processes that run, have ended and
/// left a pipe behind, and clients that watch, wait and leave.
const KERNEL: &[u8] = include_bytes!("../../../tests/snapshots/v1-kernel.bin");

proptest! {
    #[test]
    fn a_snapshot_that_was_cut_or_changed_is_refused(at: prop::sample::Index, bit in 0..8u8) {
        let at = at.index(STACK.len());
        prop_assert!(State::decode_snapshot(&STACK[..at]).is_err());
        let mut changed = STACK.to_vec();
        changed[at] ^= 1 << bit;
        prop_assert!(State::decode_snapshot(&changed).is_err());
        let mut longer = STACK.to_vec();
        longer.push(0);
        prop_assert!(State::decode_snapshot(&longer).is_err());
    }

    #[test]
    fn no_bytes_are_too_strange(bytes: Vec<u8>) {
        is_acceptable_snapshot(&bytes);
    }
}

#[test]
fn a_length_that_is_not_there_is_refused_before_memory_is_taken() {
    // The version's length is the first number: 253 announces eight bytes of it.
    let mut payload = STACK[HEAD..].to_vec();
    payload.splice(..1, [253, 0, 0, 0, 0, 0, 0, 0, 0x7f]);
    assert!(State::decode_payload(&payload).is_err());
}

#[test]
fn a_newer_format_is_named() {
    let mut snapshot = STACK.to_vec();
    snapshot[8] = 2;
    let text = State::decode_snapshot(&snapshot).unwrap_err().to_string();
    assert_eq!(text, "snapshot format 2 is not known here, only formats up to 1");
}

#[test]
fn golden_snapshots_load_for_ever() {
    let state = State::decode_snapshot(KERNEL).unwrap();
    assert!(encode(&state).unwrap() == KERNEL, "format 1 is still written the same");
    let state = State::decode_snapshot(STACK).unwrap();
    let shown = format!("{state:?}");
    let fields = [
        "version: \"0.1.0\"",
        "requester: ClientId(9)",
        "shield: Some(Kept(Shield { nofile: (1024, 524288), reset_oom: true }))",
        "credentials: Some(Kept(Credentials { uid: Some(33), gid: 33, groups: Some([33, 4]) }))",
        "Follower { client: ClientId(7), next: 19, acknowledged: 17, offset: 1241 }",
        "exit: Some(Kept(Signal(15)))",
        "kind: Closed(-15)",
        "unanswered: [(ProcessId(0), 19)], resume_after: Some(ProcessId(1))",
        "next_client: 10",
    ];
    for field in fields {
        assert!(shown.contains(field), "{field} is not in {shown}");
    }
}

#[test]
fn a_golden_snapshot_makes_a_kernel_that_writes_the_same_one() {
    let state = State::decode_snapshot(STACK).unwrap();
    stand_in(&state).unwrap();
    let before = encode(&state).unwrap();
    let kernel = Kernel::new(state, Access::default()).unwrap();
    assert_eq!(encode(&kernel.state).unwrap(), before);
}

/// Changes the golden snapshot at random, as often as `goes_on` says, and decodes it. Not guided by
/// coverage; `fuzz/` has a target for cargo-fuzz.
fn change_the_golden_snapshot(mut goes_on: impl FnMut(u64) -> bool) {
    let original = &STACK[HEAD..];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        // Xorshift: any sequence will do, and the same one each time.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below.max(1) as u64) as usize
    };
    let (mut runs, mut readable) = (0u64, 0u64);
    while goes_on(runs) {
        let mut payload = original.to_vec();
        for _ in 0..=random(4) {
            let at = random(payload.len());
            match random(5) {
                0 => payload[at] ^= 1 << random(8),
                1 => payload[at] = [0, 1, 250, 251, 252, 253, 254, 255][random(8)],
                2 => payload.truncate(at + 1),
                3 => drop(payload.splice(at..at, [random(256) as u8])),
                _ => {
                    let from = random(payload.len());
                    let part = payload[from..payload.len().min(from + random(30))].to_vec();
                    payload.splice(at..at, part);
                }
            }
        }
        runs += 1;
        readable += u64::from(State::decode_payload(&payload).is_ok());
        is_acceptable_snapshot(&payload);
    }
    assert!(readable > 0 && readable < runs, "{readable} of {runs} were readable");
    eprintln!("{runs} changed snapshots, {readable} of them readable");
}

#[test]
fn changed_snapshots_do_no_harm_and_what_is_read_survives() {
    change_the_golden_snapshot(|runs| runs < 20_000);
}

#[test]
#[ignore = "runs for a minute, or for as many seconds as SNAPSHOT_SECONDS says"]
fn mutated_golden_snapshots_do_no_harm() {
    let seconds = std::env::var("SNAPSHOT_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(60));
    change_the_golden_snapshot(|_| Instant::now() < end);
}
