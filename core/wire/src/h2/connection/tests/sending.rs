//! What goes into the output, and whose turn it is.

use super::*;
use crate::h1::write::WriteError;
use crate::h2::connection::{SendError, StreamEnd};
use crate::h2::priority::Priority;

/// A server with open windows and these streams, each with a head.
fn replying(ids: &[u32]) -> (Wire, Vec<StreamKey>) {
    let mut wire = Wire::server(&Limits::default());
    wire.feed(&settings(&[(4, 1 << 24)]));
    wire.feed(&raw(8, 0, 0, &(1u32 << 24).to_be_bytes()));
    let keys: Vec<_> = ids.iter().map(|&id| wire.opened(id, true)).collect();
    for &key in &keys {
        wire.answer(key, false);
    }
    wire.drain();
    (wire, keys)
}

#[test]
fn a_short_reply_is_two_frames() {
    let mut wire = Wire::server(&Limits::default());
    let key = wire.opened(1, true);
    wire.answer(key, false);
    assert_eq!(wire.it.data(key, b"hello"), Ok(5));
    assert_eq!(wire.it.data(key, b" world"), Ok(6));
    wire.it.finish(key, &[]).unwrap();
    let got = wire.drain();
    assert_eq!((got[0].kind, got[0].flags), (Kind::Headers, END_HEADERS));
    assert_eq!((got[1].kind, got[1].flags, got.len()), (Kind::Data, END_STREAM, 2));
    assert_eq!(got[1].payload, b"hello world");
}

#[test]
fn a_reply_without_content_is_one_frame() {
    let mut wire = Wire::server(&Limits::default());
    let key = wire.opened(1, true);
    wire.answer(key, false);
    wire.it.finish(key, &[]).unwrap();
    let got = wire.drain();
    assert_eq!((got[0].flags, got.len()), (END_HEADERS | END_STREAM, 1));
}

#[test]
fn an_end_comes_in_its_own_frame_where_the_last_one_is_gone() {
    let (mut wire, keys) = replying(&[1]);
    wire.it.data(keys[0], b"x").unwrap();
    wire.it.sent(3);
    wire.it.finish(keys[0], &[]).unwrap();
    let rest = wire.it.output().len();
    assert_eq!(rest, 7 + 9, "a frame that is on its way stays as it is");
}

#[test]
fn trailers_end_a_reply() {
    let (mut wire, keys) = replying(&[1]);
    wire.it.data(keys[0], b"x").unwrap();
    wire.it.finish(keys[0], b"grpc-status: 0\r\n").unwrap();
    let got = wire.drain();
    assert_eq!((got[0].kind, got[0].flags), (Kind::Data, 0));
    assert_eq!((got[1].kind, got[1].flags), (Kind::Headers, END_STREAM | END_HEADERS));
}

#[test]
fn parts_come_in_order() {
    let mut wire = Wire::server(&Limits::default());
    let key = wire.opened(1, true);
    assert_eq!(wire.it.data(key, b"x"), Err(SendError::Order));
    assert_eq!(wire.it.finish(key, &[]), Err(SendError::Order));
    wire.it.head(key, false, |w| w.status(103)).unwrap();
    wire.answer(key, true);
    assert_eq!(wire.it.data(key, b"x"), Err(SendError::Order));
    assert_eq!(wire.it.head(key, true, |w| w.status(200)), Err(SendError::Order));
    wire.it.close(key);
    assert_eq!(wire.it.data(key, b"x"), Err(SendError::Closed));
    assert_eq!(wire.it.status(key), Some(StreamEnd::Lost));
}

#[test]
fn a_head_that_cannot_be_written_leaves_the_tables_alike() {
    let (mut wire, _) = replying(&[]);
    let mut decoder = crate::h2::hpack::Decoder::new(4096);
    let mut section = Section::default();
    for round in 0..6 {
        let key = wire.opened(round * 2 + 1, true);
        let broken = wire.it.head(key, true, |w| {
            w.status(200)?;
            w.field(b"server", format!("weir {round}").as_bytes())?;
            w.field(b"x", b"a\r\nb")
        });
        assert_eq!(broken, Err(SendError::Head(WriteError::Value)));
        assert!(wire.it.output().is_empty());
        let sound = wire.it.head(key, true, |w| {
            w.status(200)?;
            w.field(b"server", b"weir")?;
            w.field(b"vary", format!("v{}", round / 2).as_bytes())
        });
        assert_eq!(sound, Ok(()));
        section.clear();
        let block = wire.drain().pop().unwrap().payload;
        decoder.decode(&block, &Limits::default().section, &mut section).unwrap();
        let values: Vec<_> =
            section.fields.iter().map(|field| field.value.get(&section.bytes)).collect();
        assert_eq!(values, [&b"weir"[..], format!("v{}", round / 2).as_bytes()]);
    }
}

#[test]
fn the_output_has_a_high_water_mark_and_turns_go_around() {
    let (mut wire, keys) = replying(&[1, 3, 5]);
    let content = vec![0; 1 << 20];
    assert_eq!(wire.it.data(keys[0], &content), Ok(65_536));
    assert_eq!(wire.it.data(keys[1], &content), Ok(0));
    assert_eq!(wire.it.data(keys[2], &content), Ok(0));
    assert_eq!(wire.it.next_writable(), None, "there is no room");
    let mut order = Vec::new();
    for _ in 0..3 {
        wire.drain();
        while let Some(key) = wire.it.next_writable() {
            order.push((key.id, wire.it.data(key, &content).unwrap()));
        }
        assert!(wire.it.output().len() <= (64 << 10) + 100);
    }
    assert_eq!(order[..3], [1, 3, 5].map(|id| (id, 16_384)));
    assert!(order.iter().all(|&(_, sent)| sent > 16_000), "{order:?}");
    let mut ids: Vec<_> = order.iter().map(|&(id, _)| id).collect();
    ids.dedup();
    assert_eq!(ids.len(), order.len(), "nobody has two turns in a row");
}

#[test]
fn a_turn_that_is_not_used_goes_on_to_others() {
    let (mut wire, keys) = replying(&[1, 3, 5, 7, 9, 11, 13]);
    let content = vec![0; 1 << 17];
    for &key in &keys {
        wire.it.data(key, &content).unwrap();
    }
    wire.drain();
    let first: Vec<_> = std::iter::from_fn(|| wire.it.next_writable()).collect();
    assert_eq!(first, keys[..4], "four turns fill the output");
    for &key in &first {
        assert_eq!(wire.it.can_send(key), Ok(true));
        assert!(wire.it.give_way(key));
        assert!(!wire.it.give_way(key), "once");
    }
    let second: Vec<_> = std::iter::from_fn(|| wire.it.next_writable()).collect();
    assert_eq!(second, keys[4..], "nobody waits for those who have nothing to send");
}

#[test]
fn credit_for_a_full_frame_may_come_in_four() {
    let (mut wire, keys) = replying(&[1]);
    let content = vec![0; 16_384];
    for _ in 0..1_000 {
        assert_eq!(wire.it.data(keys[0], &content), Ok(16_384));
        wire.drain();
        for (stream, credit) in [(1, 16_384_u32 - 56), (0, 16_384 - 56), (1, 56), (0, 56)] {
            wire.feed(&raw(8, 0, stream, &credit.to_be_bytes()));
        }
    }
    assert_eq!(wire.it.output(), b"", "no GOAWAY");
}

#[test]
fn the_urgent_goes_first() {
    let (mut wire, keys) = replying(&[1, 3, 5, 7]);
    let content = vec![0; 1 << 17];
    wire.it.set_priority(keys[2], Priority { urgency: 1, incremental: true });
    wire.feed(&raw(16, 0, 0, b"\0\0\0\x07u=6, i"));
    for &key in &keys {
        wire.it.data(key, &content).unwrap();
    }
    wire.drain();
    let order: Vec<_> = std::iter::from_fn(|| wire.it.next_writable()).map(|k| k.id).collect();
    assert_eq!(order, [5, 1, 3, 7], "as many come out as have room");
}

#[test]
fn a_request_says_how_urgent_it_is() {
    let mut wire = Wire::server(&Limits::default());
    let block = wire.request();
    let block = wire.field(block, b"priority", b"u=0, i");
    wire.feed(&raw(1, 5, 1, &block));
    assert_eq!(wire.it.streams.get(wire.it.streams.find(1).unwrap()).unwrap().urgency, 0);
}

#[test]
fn a_priority_may_come_before_its_request_and_is_preferred_to_it() {
    let mut wire = Wire::server(&Limits::default());
    wire.feed(&raw(16, 0, 0, b"\0\0\0\x03u=7"));
    wire.feed(&raw(16, 0, 0, b"\0\0\0\x03u=1, i"));
    let block = wire.request();
    let block = wire.field(block, b"priority", b"u=5");
    for (id, urgency, in_order) in [(1, 5, true), (3, 1, false), (5, 5, true)] {
        let events = wire.feed(&raw(1, 5, id, &block));
        let [Event::Head { stream, .. }] = events[..] else { panic!("{events:?}") };
        let stream = wire.it.streams.get(stream).unwrap();
        assert_eq!((stream.urgency, stream.in_order), (urgency, in_order), "stream {id}");
    }
}

#[test]
fn a_whole_reply_has_all_the_room_before_the_next() {
    let (mut wire, keys) = replying(&[1, 3, 5]);
    let content = vec![0; 1 << 17];
    for &key in &keys {
        wire.it.set_priority(key, Priority { urgency: 3, incremental: false });
        wire.it.data(key, &content).unwrap();
    }
    for turn in 0..3 {
        wire.drain();
        wire.feed(&raw(8, 0, 0, &[0, 1, 0, 0]));
        wire.feed(&raw(8, 0, 1, &[0, 1, 0, 0]));
        let next: Vec<_> = std::iter::from_fn(|| wire.it.next_writable()).collect();
        assert_eq!(next, [keys[0]], "turn {turn}");
        assert!(wire.it.data(keys[0], &content).unwrap() > 60_000, "turn {turn}");
    }
    // It has nothing at hand: the next one need not wait for it.
    wire.drain();
    wire.feed(&raw(8, 0, 0, &[0, 1, 0, 0]));
    wire.feed(&raw(8, 0, 1, &[0, 1, 0, 0]));
    assert_eq!(wire.it.next_writable(), Some(keys[0]));
    assert!(wire.it.give_way(keys[0]));
    assert_eq!(wire.it.next_writable(), Some(keys[1]));
}

#[test]
fn who_gives_its_turn_away_holds_nobody_up() {
    let (mut wire, keys) = replying(&[1, 3, 5, 7, 9, 11]);
    let content = vec![0; 1 << 17];
    for &key in &keys {
        wire.it.data(key, &content).unwrap();
    }
    wire.drain();
    let came = std::iter::from_fn(|| wire.it.next_writable()).count();
    assert_eq!(came, 4, "four turns fit the output");
    for &key in &keys[1..4] {
        wire.it.close(key);
    }
    let sent = wire.it.output().len();
    wire.it.sent(sent);
    let came: Vec<_> = std::iter::from_fn(|| wire.it.next_writable()).map(|k| k.id).collect();
    assert_eq!(came, [9, 11]);
}

#[test]
fn heads_longer_than_a_frame_are_continued() {
    let (mut wire, keys) = replying(&[1]);
    let value = vec![b'v'; 20_000];
    let key = keys[0];
    wire.it.head(key, true, |w| w.field(b"x", &value)).unwrap();
    let got = wire.drain();
    assert_eq!((got[0].flags, got[0].payload.len()), (END_STREAM, 16_384));
    assert_eq!((got[1].kind, got[1].flags), (Kind::Continuation, END_HEADERS));
}
