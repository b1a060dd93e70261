//! Peers that make a connection work or hold memory for nothing, and peers that only look so.

use super::*;

/// Feeds the frames of `make` until the connection ends; gives how many it took.
#[track_caller]
fn until(wire: &mut Wire, fault: Fault, mut make: impl FnMut(u32) -> Vec<u8>) -> u32 {
    for nth in 0..200_000 {
        let bytes = make(nth);
        match wire.try_feed(&bytes) {
            Ok(_) => drop(wire.drain()),
            Err(got) => {
                assert_eq!(got, fault);
                assert_eq!(goaway(&wire.drain()), Some(ErrorCode::ENHANCE_YOUR_CALM));
                assert_eq!(wire.it.counters().floods, 1);
                return nth;
            }
        }
    }
    panic!("the flood was let go on");
}

#[test]
fn resets_have_a_budget() {
    let mut wire = Wire::server(&Limits::default());
    let block = wire.request();
    let block = [&block[..], &[]].concat();
    let mut other = Wire::server(&Limits::default());
    let took = until(&mut wire, Fault::ResetFlood, |nth| {
        let block = if nth == 0 { block.clone() } else { other.request() };
        [raw(1, 5, nth * 2 + 1, &block), raw(3, 0, nth * 2 + 1, &[0, 0, 0, 8])].concat()
    });
    assert_eq!(took, 200);
}

#[test]
fn resets_of_ours_that_the_peer_brings_about_are_charged() {
    let mut wire = Wire::server(&Limits::default());
    for round in 0..=200 {
        let key = wire.opened(round * 2 + 1, false);
        wire.drain();
        wire.it.reset(key, ErrorCode::PROTOCOL_ERROR);
        wire.it.close(key);
    }
    assert_eq!(wire.it.fault(), Some(Fault::ResetFlood));
    assert_eq!(goaway(&wire.drain()), Some(ErrorCode::ENHANCE_YOUR_CALM));
}

#[test]
fn resets_at_a_human_pace_are_fine() {
    let mut wire = Wire::server(&Limits::default());
    for round in 0..2_000 {
        let key = wire.opened(round * 2 + 1, true);
        wire.feed(&raw(3, 0, key.id, &[0, 0, 0, 8]));
        wire.it.close(key);
        wire.tick += 1;
        wire.drain();
    }
}

#[test]
fn control_frames_have_a_budget() {
    for (name, frame) in [
        ("ping", raw(6, 0, 0, &[0; 8])),
        ("unasked answer", raw(6, 1, 0, &[0; 8])),
        ("settings", settings(&[(4, 65_535)])),
        ("settings acknowledged", raw(4, 1, 0, &[])),
        ("priority", raw(2, 0, 1, &[0, 0, 0, 9, 1])),
        ("priority update", raw(16, 0, 0, b"\0\0\0\x01u=1")),
        ("window update", raw(8, 0, 0, &[0, 0, 0, 1])),
        ("window update of a stream", raw(8, 0, 1, &[0, 0, 0, 1])),
        ("empty data", raw(0, 0, 1, &[])),
        ("padded empty data", raw(0, 8, 1, &[3, 0, 0, 0])),
        ("unknown", raw(0xbe, 0, 0, b"grease")),
        ("goaway", raw(7, 0, 0, &[0; 8])),
    ] {
        let mut wire = Wire::server(&Limits::default());
        wire.opened(1, false);
        let took = until(&mut wire, Fault::ControlFlood, |_| frame.clone());
        assert!((100..110).contains(&took), "{name}: {took}");
    }
}

#[test]
fn a_peer_that_does_not_read_is_not_answered_without_end() {
    let limits = Limits { control_burst: 10_000, ..Limits::default() };
    let mut wire = Wire::server(&limits);
    let pings = raw(6, 0, 0, &[0; 8]).repeat(1_000);
    let step = wire.it.receive(&pings, &mut wire.section, 0).unwrap();
    assert!(wire.it.is_choked());
    assert_eq!(step.consumed, 129 * 17);
    let step = wire.it.receive(&pings, &mut wire.section, 0).unwrap();
    assert_eq!((step.consumed, step.event), (0, None));
    wire.it.sent(129 * 17);
    assert!(!wire.it.is_choked());
}

#[test]
fn replies_pay_for_the_windows_that_they_need() {
    let mut wire = Wire::server(&Limits::default());
    let key = wire.opened(1, true);
    wire.answer(key, false);
    for _ in 0..5_000 {
        assert_eq!(wire.it.data(key, &[0; 300]), Ok(300));
        wire.drain();
        wire.feed(&raw(8, 0, 0, &[0, 0, 1, 0x2c]));
        wire.feed(&raw(8, 0, 1, &[0, 0, 1, 0x2c]));
    }
}

#[test]
fn a_window_opened_byte_by_byte_is_a_flood() {
    let mut wire = Wire::server(&Limits::default());
    wire.feed(&settings(&[(4, 0)]));
    let key = wire.opened(1, true);
    wire.answer(key, false);
    let content = [0; 1_000];
    let mut took = 0;
    loop {
        wire.it.data(key, &content).unwrap();
        wire.drain();
        if wire.try_feed(&raw(8, 0, 1, &[0, 0, 0, 1])).is_err() {
            break;
        }
        took += 1;
    }
    assert_eq!(wire.it.fault(), Some(Fault::ControlFlood));
    assert!(took < 110, "{took}");
}

#[test]
fn tiny_pieces_have_a_budget_whoever_reads_them() {
    let mut wire = Wire::server(&Limits::default());
    wire.opened(1, false);
    let took = until(&mut wire, Fault::TinyFlood, |_| raw(0, 0, 1, b"x"));
    assert_eq!(took, 16_384);
    assert!(wire.it.ledger_bytes() < 64 << 10, "the bytes themselves are few");
    let mut wire = Wire::server(&Limits::default());
    let key = wire.opened(1, false);
    for _ in 0..16_384 {
        wire.feed(&raw(0, 0, 1, b"x"));
        let taken = wire.taken(key).len();
        wire.it.release(key, taken);
        wire.drain();
    }
    assert_eq!(wire.it.fault(), None);
    assert_eq!(until(&mut wire, Fault::TinyFlood, |_| raw(0, 0, 1, b"x")), 0);
}

#[test]
fn continuations_have_a_number_and_a_size() {
    for (piece, fault) in [
        (&b""[..], Fault::ContinuationFlood),
        (&b"\0"[..], Fault::ContinuationFlood),
        (&[0; 16_384][..], Fault::BlockBytes),
    ] {
        let mut wire = Wire::server(&Limits::default());
        wire.feed(&raw(1, 1, 1, b""));
        let took = until(&mut wire, fault, |_| raw(9, 0, 1, piece));
        assert!(took <= 8, "{took}");
    }
}

#[test]
fn heads_that_grow_when_they_are_decoded_are_bounded() {
    let mut wire = Wire::server(&Limits::default());
    wire.feed(&settings(&[(4, 0)]));
    // One empty value goes into the table; each of the others refers to it by one byte.
    let mut bomb = b"\x82\x87\x84\x41\x01a\x40\x01a\x00".to_vec();
    bomb.extend_from_slice(&[0xbe; 4_000]);
    refuses(&mut wire, &raw(1, 5, 1, &bomb), Fault::SectionFlood);
    // Below twice the limit the streams stay, and the connection has a bound for all of them.
    let mut wire = Wire::server(&Limits::default());
    let mut large = b"\x82\x87\x84\x01\x01a\0\x01a\x7f\x81\x7c".to_vec();
    large.extend_from_slice(&[b'v'; 16_000]);
    let mut nth = 0;
    while wire.it.counters().refused_memory == 0 {
        wire.section = Section::default();
        wire.feed(&raw(1, 5, nth * 2 + 1, &large));
        nth += 1;
        assert!(wire.it.ledger_bytes() <= Limits::default().ledger_max);
    }
    assert!(nth > 20, "heads of 16 KB are welcome: {nth}");
}

#[test]
fn what_a_connection_holds_is_bounded() {
    let limits = Limits { ledger_base: 100 << 10, ledger_per_stream: 0, ..Limits::default() };
    let mut wire = Wire::server(&limits);
    let key = wire.opened(1, false);
    wire.opened(3, false);
    for id in [1, 3].repeat(4) {
        wire.feed(&raw(0, 0, id, &[0; 15_000]));
    }
    let block = wire.request();
    assert_eq!(wire.feed(&raw(1, 5, 5, &block)), []);
    assert_eq!(wire.it.counters().refused_memory, 1, "a stream that does not fit is refused");
    let taken = wire.taken(key).len();
    assert!(wire.it.ledger_bytes() > 120_000, "what was taken and not passed on counts");
    wire.it.release(key, taken);
    wire.opened(7, true);
    let limits = Limits { ledger_max: 40 << 10, ..Limits::default() };
    let mut wire = Wire::server(&limits);
    wire.opened(1, false);
    until(&mut wire, Fault::Memory, |_| raw(0, 0, 1, &[0; 16_000]));
}
