use proptest::prelude::*;

use super::*;

fn texts(ring: &Ring, seq: u64) -> Vec<String> {
    let text = |view: RecordView<'_>| match view.kind {
        RecordKind::Closed(code) => format!("closed {code}"),
        kind => {
            let bytes = [view.data.0, view.data.1].concat();
            format!("{kind:?} {}", String::from_utf8(bytes).unwrap())
        }
    };
    ring.records_from(seq).map(text).collect()
}

#[test]
fn the_oldest_records_make_room() {
    let mut ring = Ring::new(14);
    ring.push_output(false, 1.0, b"0123456789");
    ring.push_output(false, 2.0, b"abcdefgh");
    ring.push_output(true, 3.0, b"ERR");
    ring.push_closed(4.0, 0);
    assert_eq!(texts(&ring, 0), ["Out abcdefgh", "Err ERR", "closed 0"]);
    assert_eq!(ring.dropped(), 10);
    assert_eq!(ring.records_from(0).next().unwrap().offset, 10);
    assert_eq!(ring.released_offset(), 0);
}

#[test]
fn of_a_piece_larger_than_the_limit_the_end_is_kept() {
    let mut ring = Ring::new(4);
    ring.push_output(false, 1.0, b"ab");
    ring.push_output(false, 2.0, b"0123456789");
    assert_eq!(texts(&ring, 0), ["Out 6789"]);
    assert_eq!(ring.dropped(), 8);
    assert_eq!(ring.records_from(0).next().unwrap().offset, 8);
}

#[test]
fn acknowledged_records_go_and_are_not_counted() {
    let mut ring = Ring::new(100);
    ring.push_output(false, 1.0, b"ab");
    ring.push_output(false, 1.0, b"cd");
    ring.release(1);
    assert_eq!(texts(&ring, 0), ["Out cd"]);
    assert_eq!((ring.first_seq(), ring.released_offset(), ring.dropped()), (1, 2, 0));
}

#[test]
fn a_discarded_ring_keeps_only_the_end() {
    let mut ring = Ring::new(100);
    ring.push_output(false, 1.0, b"ab");
    ring.discard();
    ring.push_output(false, 1.0, b"cd");
    ring.push_closed(2.0, -9);
    assert_eq!(texts(&ring, 0), ["closed -9"]);
}

#[test]
fn many_small_records_are_joined_unless_they_were_shown() {
    let mut ring = Ring::new(1 << 20);
    for _ in 0..JOIN_FROM + 10 {
        ring.push_output(false, 1.0, b"x");
    }
    assert_eq!(ring.heads.len(), JOIN_FROM);
    ring.mark_shown(ring.end_seq());
    ring.push_output(false, 1.0, b"y");
    assert_eq!(texts(&ring, ring.end_seq() - 1), ["Out y"]);
}

#[derive(Debug, Clone)]
enum Step {
    Push(bool, Vec<u8>),
    Release(u64),
}

proptest! {
    #[test]
    fn nothing_vanishes_uncounted(
        limit in 1usize..40,
        steps in prop::collection::vec(prop_oneof![
            (any::<bool>(), prop::collection::vec(any::<u8>(), 1..20))
                .prop_map(|(stderr, bytes)| Step::Push(stderr, bytes)),
            (0u64..4).prop_map(Step::Release),
        ], 0..60),
    ) {
        let mut ring = Ring::new(limit);
        let (mut written, mut acknowledged, mut released) = (Vec::new(), 0u64, 0);
        for step in steps {
            match step {
                Step::Push(stderr, bytes) => {
                    ring.push_output(stderr, 0.0, &bytes);
                    written.extend(bytes);
                }
                Step::Release(count) => {
                    let seq = (ring.first_seq() + count).min(ring.end_seq());
                    let sizes = ring.records_from(0).take_while(|view| view.seq < seq);
                    acknowledged += sizes.map(|v| (v.data.0.len() + v.data.1.len()) as u64).sum::<u64>();
                    let lets_go = seq > ring.first_seq();
                    ring.release(seq);
                    if lets_go {
                        released = written.len() as u64 - ring.len() as u64;
                    }
                }
            }
            prop_assert_eq!(ring.released_offset(), released);
            let kept: Vec<u8> =
                ring.records_from(0).flat_map(|v| [v.data.0, v.data.1].concat()).collect();
            prop_assert!(kept.len() <= limit);
            prop_assert!(written.ends_with(&kept));
            let all = kept.len() as u64 + ring.dropped() + acknowledged;
            prop_assert_eq!(all, written.len() as u64);
        }
    }
}
