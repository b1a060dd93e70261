//! Flow control: what may come, what goes back for it, what may be sent.

use super::*;

/// Opens the windows that a server may send into far enough for any row here.
fn wide(wire: &mut Wire) {
    wire.feed(&settings(&[(4, 1 << 24)]));
    wire.feed(&raw(8, 0, 0, &(1u32 << 24).to_be_bytes()));
    wire.drain();
}

fn increments(frames: &[Frame], stream: u32) -> Vec<u32> {
    let updates = frames.iter().filter(|f| f.kind == Kind::WindowUpdate && f.stream == stream);
    updates.map(|f| frame::u32_at(&f.payload).unwrap()).collect()
}

#[test]
fn credit_goes_back_when_bytes_were_passed_on_and_at_half_a_window() {
    let mut wire = Wire::server(&Limits::default());
    let key = wire.opened(1, false);
    for _ in 0..2 {
        wire.feed(&raw(0, 0, 1, &[7; 16_384]));
    }
    assert_eq!(wire.taken(key).len(), 32_768);
    assert_eq!(wire.drain(), [], "reading alone earns nothing");
    wire.it.release(key, 32_767);
    assert_eq!(wire.drain(), []);
    wire.it.release(key, 1);
    assert_eq!(increments(&wire.drain(), 1), [32_768]);
    wire.it.release(key, 1_000_000);
    assert_eq!(wire.it.recv.promised(), 256 << 10, "no more is credited than came");
}

#[test]
fn more_than_a_window_is_a_fault() {
    let mut wire = Wire::server(&Limits::default());
    wire.opened(1, false);
    for _ in 0..3 {
        wire.feed(&raw(0, 0, 1, &[0; 16_384]));
    }
    wire.feed(&raw(0, 0, 1, &[0; 16_383]));
    refuses(&mut wire, &raw(0, 0, 1, b"x"), Fault::Window);
    let mut wire = Wire::server(&Limits::default());
    for id in [1, 3, 5, 7, 9] {
        wire.opened(id, false);
    }
    for id in [1, 3, 5, 7].repeat(3) {
        wire.feed(&raw(0, 0, id, &[0; 16_384]));
    }
    for id in [1, 3, 5, 7] {
        wire.feed(&raw(0, 0, id, &[0; 16_383]));
    }
    wire.feed(&raw(0, 0, 9, &[0; 4]));
    refuses(&mut wire, &raw(0, 0, 9, b"x"), Fault::Window);
}

#[test]
fn padding_is_credited_at_once() {
    let mut wire = Wire::server(&Limits::default());
    let key = wire.opened(1, false);
    let payload = [&[255][..], b"ab", &[0; 255]].concat();
    wire.feed(&raw(0, 8, 1, &payload));
    let stream = wire.it.streams.get(key).unwrap();
    assert_eq!((stream.recv.promised(), wire.it.recv.promised()), (65_533, (256 << 10) - 2));
    assert_eq!(wire.taken(key), b"ab");
}

#[test]
fn the_connection_window_comes_back_whatever_becomes_of_streams() {
    let mut wire = Wire::server(&Limits { reset_burst: 9_999, ..Limits::default() });
    wide(&mut wire);
    let full = wire.it.recv.promised();
    let mut id = 1;
    for round in 0..1_000u32 {
        let key = wire.opened(id, false);
        let payload = [&[200][..], &[1; 500], &[0; 200]].concat();
        wire.feed(&raw(0, 8, id, &payload));
        wire.feed(&raw(0, 8, id, &payload));
        match round % 6 {
            0 => wire.feed(&raw(3, 0, id, &[0, 0, 0, 8])).truncate(0),
            1 => wire.it.reset(key, ErrorCode::CANCEL),
            2 => {
                let taken = wire.taken(key).len();
                wire.it.release(key, taken / 3);
                wire.it.reset(key, ErrorCode::CANCEL);
                wire.it.release(key, taken - taken / 3);
            }
            3 => {
                wire.taken(key);
                wire.answer(key, true);
            }
            4 => wire.feed(&raw(0, 1, id, b"end")).truncate(0),
            _ => {
                wire.it.reset(key, ErrorCode::CANCEL);
                wire.feed(&raw(0, 8, id, &payload));
            }
        }
        wire.it.close(key);
        if round % 6 == 1 {
            wire.feed(&raw(0, 8, id, &payload));
        }
        wire.drain();
        id += 2;
        assert_eq!(wire.it.recv.promised(), full, "round {round}");
    }
    assert_eq!((wire.it.ledger.used(), wire.it.live, wire.it.active()), (0, 0, 0));
}

#[test]
fn our_settings_are_in_force_once_they_are_acknowledged() {
    let limits = Limits { stream_window: 1_000, ..Limits::default() };
    let mut wire = Wire::new(Role::Server, &limits);
    wire.feed(frame::PREFACE);
    wire.feed(&settings(&[]));
    let key = wire.opened(1, false);
    wire.feed(&raw(0, 0, 1, &[0; 2_000]));
    wire.feed(&raw(4, 1, 0, &[]));
    assert_eq!(wire.it.streams.get(key).unwrap().recv.promised(), -1_000);
    wire.feed(&raw(0, 0, 1, &[]));
    wire.taken(key);
    wire.it.release(key, 2_000);
    wire.drain();
    wire.feed(&raw(0, 0, 1, &[0; 1_000]));
    refuses(&mut wire, &raw(0, 0, 1, b"x"), Fault::Window);
}

#[test]
fn a_reply_keeps_to_both_windows() {
    let mut wire = Wire::server(&Limits::default());
    wire.feed(&settings(&[(4, 10)]));
    let key = wire.opened(1, true);
    wire.answer(key, false);
    assert_eq!(wire.it.data(key, &[1; 25]), Ok(10));
    assert_eq!(wire.it.next_writable(), None);
    wire.drain();
    wire.feed(&raw(8, 0, 1, &[0, 0, 0, 5]));
    assert_eq!(wire.it.next_writable(), Some(key));
    assert_eq!(wire.it.data(key, &[1; 15]), Ok(5));
    // A smaller initial window takes back what was given: 0 - 8 = -8.
    wire.feed(&settings(&[(4, 2)]));
    assert_eq!(wire.it.streams.get(key).unwrap().send.size(), -8);
    wire.feed(&raw(8, 0, 1, &[0, 0, 0, 8]));
    assert_eq!((wire.it.next_writable(), wire.it.can_send(key)), (None, Ok(false)));
    wire.feed(&settings(&[(4, 12)]));
    assert_eq!(wire.it.next_writable(), Some(key));
    assert_eq!(wire.it.data(key, &[1; 10]), Ok(10));
    wire.it.finish(key, &[]).unwrap();
    let got = wire.drain();
    assert_eq!(got.last().map(|f| (f.kind, f.flags, f.payload.len())), Some((Kind::Data, 1, 10)));
}

#[test]
fn a_full_connection_window_holds_all_streams_back() {
    let mut wire = Wire::server(&Limits { out_high_water: 1 << 20, ..Limits::default() });
    let (one, three) = (wire.opened(1, true), wire.opened(3, true));
    for key in [one, three] {
        wire.answer(key, false);
    }
    assert_eq!(wire.it.data(one, &[0; 65_535]), Ok(65_535));
    assert_eq!(wire.it.data(three, &[0; 1]), Ok(0));
    wire.drain();
    assert_eq!(wire.it.next_writable(), None);
    wire.feed(&raw(8, 0, 1, &[0, 0, 1, 0]));
    assert_eq!(wire.it.next_writable(), None);
    wire.feed(&raw(8, 0, 0, &[0, 0, 1, 0]));
    assert_eq!(wire.it.next_writable(), Some(three));
    assert_eq!(wire.it.data(three, b"x"), Ok(1));
}

#[test]
fn windows_do_not_grow_past_31_bits() {
    let mut wire = Wire::server(&Limits::default());
    wire.opened(1, true);
    let most = (frame::U31_MAX - 65_535).to_be_bytes();
    wire.feed(&raw(8, 0, 1, &most));
    refuses(&mut wire, &raw(8, 0, 1, &[0, 0, 0, 1]), Fault::Window);
    let mut wire = Wire::server(&Limits::default());
    wire.opened(1, true);
    wire.feed(&raw(8, 0, 1, &most));
    refuses(&mut wire, &settings(&[(4, 65_536)]), Fault::SettingWindow);
}
