//! Which frames may come when, and what each of them is answered with.

use super::*;
use crate::h2::connection::{OpenError, SendError, StreamEnd};

fn server() -> Wire {
    Wire::server(&Limits::default())
}

#[test]
fn a_server_starts_with_its_settings_and_window() {
    let limits = Limits { enable_connect: true, ..Limits::default() };
    let wire = Wire::new(Role::Server, &limits);
    let got = frames(wire.it.output());
    let (settings, window) = (&got[0], &got[1]);
    assert_eq!((settings.kind, settings.flags, settings.stream), (Kind::Settings, 0, 0));
    let parameter = |name: u8, value: u32| {
        let value = value.to_be_bytes();
        let wanted = [&[0, name][..], &value[..]].concat();
        settings.payload.chunks(6).any(|chunk| chunk == wanted)
    };
    assert!(parameter(3, 100) && parameter(6, 65_536) && parameter(8, 1) && parameter(9, 1));
    assert_eq!(window.payload, (262_144u32 - 65_535).to_be_bytes());
    assert_eq!(got.len(), 2);
}

#[test]
fn a_client_starts_with_the_preface_and_no_push() {
    let wire = Wire::new(Role::Client, &Limits::default());
    let rest = wire.it.output().strip_prefix(&frame::PREFACE[..]).expect("the preface is first");
    let got = frames(rest);
    assert!(got[0].payload.chunks(6).any(|chunk| chunk == [0, 2, 0, 0, 0, 0]));
}

#[test]
fn a_wrong_preface_is_seen_at_its_first_wrong_byte() {
    let mut wire = Wire::new(Role::Server, &Limits::default());
    wire.it.receive(b"PRI", &mut wire.section, 0).unwrap();
    refuses(&mut wire, b"PRI * HTTP/1", Fault::Preface);
}

#[test]
fn settings_come_first() {
    let mut wire = Wire::new(Role::Server, &Limits::default());
    wire.feed(frame::PREFACE);
    refuses(&mut wire, &raw(6, 0, 0, &[0; 8]), Fault::NoSettings);
    let mut wire = Wire::new(Role::Client, &Limits::default());
    refuses(&mut wire, &raw(4, 1, 0, &[]), Fault::NoSettings);
}

#[test]
fn settings_are_acknowledged_and_told_of() {
    let mut wire = Wire::new(Role::Client, &Limits::default());
    wire.drain();
    assert!(!wire.it.peer_allows_connect());
    assert_eq!(wire.feed(&settings(&[(8, 1)])), [Event::Settings]);
    assert!(wire.it.peer_allows_connect());
    let got = wire.drain();
    assert_eq!((got[0].kind, got[0].flags, got.len()), (Kind::Settings, 1, 1));
    assert_eq!(wire.feed(&settings(&[(8, 1)])), [], "what was known is no news");
}

#[test]
fn frames_have_their_streams_and_sizes() {
    for (kind, flags, stream, payload, fault) in [
        (0, 0, 0, &b"x"[..], Fault::Stream),
        (0, 0, 5, b"x", Fault::Idle),
        (1, 4, 0, b"", Fault::Stream),
        (1, 4, 2, b"", Fault::Stream),
        (1, 0xc, 1, b"\x05abc", Fault::Padding),
        (1, 0xc, 1, b"", Fault::Padding),
        (1, 0x24, 1, b"\0\0\0\x03", Fault::FrameSize),
        (1, 0x24, 1, b"\0\0\0\x01\0", Fault::Dependency),
        (2, 0, 0, b"\0\0\0\0\0", Fault::Stream),
        (2, 0, 1, b"\0\0\0\0", Fault::FrameSize),
        (2, 0, 1, b"\x80\0\0\x01\0", Fault::Dependency),
        (3, 0, 0, b"\0\0\0\0", Fault::Stream),
        (3, 0, 1, b"\0\0\0\0", Fault::Idle),
        (3, 0, 1, b"\0\0\0", Fault::FrameSize),
        (4, 0, 1, b"", Fault::Stream),
        (4, 1, 0, b"x", Fault::FrameSize),
        (4, 0, 0, b"x", Fault::FrameSize),
        (4, 0, 0, b"\0\x02\0\0\0\x02", Fault::Setting),
        (4, 0, 0, b"\0\x04\x80\0\0\0", Fault::SettingWindow),
        (5, 4, 1, b"\0\0\0\x02", Fault::Push),
        (6, 0, 1, b"12345678", Fault::Stream),
        (6, 0, 0, b"1234567", Fault::FrameSize),
        (7, 0, 1, b"\0\0\0\0\0\0\0\0", Fault::Stream),
        (7, 0, 0, b"\0\0\0\0\0\0\0", Fault::FrameSize),
        (8, 0, 0, b"\0\0\0", Fault::FrameSize),
        (8, 0, 0, b"\0\0\0\0", Fault::ZeroIncrement),
        (8, 0, 0, b"\x7f\xff\xff\xff", Fault::Window),
        (8, 0, 1, b"\0\0\0\x01", Fault::Idle),
        (9, 4, 1, b"", Fault::Continuation),
        (16, 0, 1, b"\0\0\0\x01u=1", Fault::Stream),
        (16, 0, 0, b"\0\0\0", Fault::FrameSize),
        (16, 0, 0, b"\0\0\0\x02u=1", Fault::Stream),
    ] {
        let mut wire = server();
        println!("kind {kind} flags {flags} stream {stream} {payload:?}");
        refuses(&mut wire, &raw(kind, flags, stream, payload), fault);
    }
}

#[test]
fn a_frame_above_the_limit_is_known_by_its_header() {
    let mut wire = server();
    refuses(&mut wire, &[0, 0x40, 1, 0, 0, 0, 0, 0, 1], Fault::FrameSize);
}

#[test]
fn unknown_frames_and_flags_mean_nothing() {
    let mut wire = server();
    assert_eq!(wire.feed(&raw(0xbe, 0xff, 77, b"anything")), []);
    assert_eq!(wire.feed(&raw(6, 0xfe, 0, b"12345678")), []);
    assert_eq!(wire.drain()[0].payload, b"12345678");
}

#[test]
fn a_client_takes_no_push_and_no_stream() {
    let mut wire = Wire::client(&Limits::default());
    let block = wire.request();
    refuses(&mut wire, &raw(1, 5, 2, &block), Fault::Stream);
    let mut wire = Wire::client(&Limits::default());
    refuses(&mut wire, &raw(1, 5, 1, &block), Fault::Idle);
    let mut wire = Wire::client(&Limits::default());
    refuses(&mut wire, &raw(16, 0, 0, b"\0\0\0\x01u=1"), Fault::Stream);
}

#[test]
fn streams_open_in_order() {
    let mut wire = server();
    wire.opened(5, true);
    let block = wire.request();
    refuses(&mut wire, &raw(1, 5, 3, &block), Fault::Order);
}

#[test]
fn an_ended_stream_takes_nothing_more() {
    for frame in [raw(0, 0, 1, b"x"), raw(0, 1, 1, b""), raw(1, 5, 1, b"\x82")] {
        let mut wire = server();
        wire.opened(1, true);
        refuses(&mut wire, &frame, Fault::Closed);
        let mut wire = server();
        let key = wire.opened(1, true);
        wire.answer(key, true);
        wire.it.close(key);
        wire.drain();
        refuses(&mut wire, &frame, Fault::Closed);
        let mut wire = server();
        let key = wire.opened(1, false);
        assert_eq!(wire.feed(&raw(3, 0, 1, &[0, 0, 0, 8])), [Event::Reset(key)]);
        refuses(&mut wire, &frame, Fault::Closed);
    }
}

#[test]
fn late_small_frames_on_an_ended_stream_are_no_fault() {
    let mut wire = server();
    let key = wire.opened(1, true);
    wire.answer(key, true);
    wire.it.close(key);
    assert_eq!(wire.feed(&raw(8, 0, 1, &[0, 0, 0, 9])), []);
    assert_eq!(wire.feed(&raw(3, 0, 1, &[0, 0, 0, 8])), []);
    assert_eq!(wire.feed(&raw(2, 0, 1, &[0, 0, 0, 0, 9])), []);
}

#[test]
fn what_is_under_way_to_a_stream_that_was_cut_off_is_ignored() {
    let mut wire = server();
    let key = wire.opened(1, false);
    wire.it.reset(key, ErrorCode::CANCEL);
    assert_eq!(wire.drain()[0].payload, [0, 0, 0, 8]);
    let trailers = raw(1, 5, 1, b"\x82");
    assert_eq!(wire.feed(&raw(0, 0, 1, b"late")), []);
    wire.it.close(key);
    assert_eq!(wire.drain(), [], "a stream is reset once");
    assert_eq!(wire.feed(&raw(0, 0, 1, b"later")), []);
    assert_eq!(wire.feed(&raw(8, 0, 1, &[0, 0, 0, 1])), []);
    assert_eq!(wire.feed(&trailers), []);
    assert_eq!(wire.drain(), []);
}

#[test]
fn a_field_block_may_be_continued_and_must_not_be_interrupted() {
    let mut wire = server();
    let block = wire.request();
    let (a, b) = block.split_at(3);
    assert_eq!(wire.feed(&raw(1, 1, 1, a)), []);
    assert_eq!(wire.feed(&raw(9, 0, 1, &[])), []);
    let got = wire.feed(&raw(9, 4, 1, b));
    assert!(matches!(got[..], [Event::Head { ends: true, .. }]));
    for between in [raw(9, 4, 3, b), raw(6, 0, 0, &[0; 8]), raw(0xbe, 0, 0, b"")] {
        let mut wire = server();
        wire.feed(&raw(1, 1, 1, a));
        refuses(&mut wire, &between, Fault::Continuation);
    }
}

#[test]
fn padding_and_old_priority_are_taken_off_a_head() {
    let mut wire = server();
    let block = wire.request();
    let payload = [&b"\x04\0\0\0\0\xff"[..], &block, &[0; 4]].concat();
    let got = wire.feed(&raw(1, 0x2d, 1, &payload));
    assert!(matches!(got[..], [Event::Head { ends: true, .. }]));
    assert_eq!(wire.section.pseudo.path.unwrap().get(&wire.section.bytes), b"/");
}

#[test]
fn a_block_that_cannot_be_decoded_ends_the_connection() {
    refuses(&mut server(), &raw(1, 5, 1, b"\x80"), Fault::Compression);
}

#[test]
fn a_stream_past_the_limit_is_refused_and_its_block_is_decoded() {
    let limits = Limits { max_concurrent_streams: 2, ..Limits::default() };
    let mut wire = Wire::server(&limits);
    let first = wire.opened(1, true);
    wire.opened(3, true);
    let block = wire.request();
    let block = wire.field(block, b"user-agent", b"u");
    assert_eq!(wire.feed(&raw(1, 5, 5, &block)), []);
    let got = wire.drain();
    assert_eq!((got[0].kind, got[0].stream), (Kind::RstStream, 5));
    assert_eq!(got[0].payload, ErrorCode::REFUSED_STREAM.0.to_be_bytes());
    wire.answer(first, true);
    wire.it.close(first);
    let block = wire.request();
    let block = wire.field(block, b"user-agent", b"u");
    assert_eq!(wire.feed(&raw(1, 5, 7, &block)).len(), 1);
    let fields = &wire.section.fields;
    assert_eq!(fields.last().unwrap().value.get(&wire.section.bytes), b"u");
}

#[test]
fn a_slot_is_free_once_its_owner_is_done() {
    let limits = Limits { max_concurrent_streams: 4, ..Limits::default() };
    let mut wire = Wire::server(&limits);
    let mut id = 1;
    // The peer resets each stream at once; the work behind them goes on.
    while wire.it.counters().refused_full == 0 {
        let block = wire.request();
        wire.feed(&raw(1, 5, id, &block));
        wire.feed(&raw(3, 0, id, &[0, 0, 0, 8]));
        id += 2;
    }
    assert_eq!(wire.it.active(), limits.running_max());
}

#[test]
fn trailers_end_a_message() {
    let mut wire = server();
    let key = wire.opened(1, false);
    let block = wire.field(Vec::new(), b"grpc-status", b"0");
    assert_eq!(wire.feed(&raw(0, 0, 1, b"abc")), [Event::Readable(key)]);
    assert_eq!(wire.feed(&raw(1, 5, 1, &block)), [Event::Readable(key)]);
    let mut into = Vec::new();
    let inbox = wire.it.take(key, &mut into);
    assert_eq!((&into[..], inbox.ends, inbox.reset), (&b"abc"[..], true, None));
    assert_eq!(wire.it.trailers(key), b"grpc-status: 0\r\n");
}

#[test]
fn a_second_head_that_does_not_end_its_message_is_malformed() {
    let mut wire = server();
    let key = wire.opened(1, false);
    let block = wire.request();
    assert_eq!(wire.feed(&raw(1, 4, 1, &block)), [Event::Reset(key)]);
    let code = ErrorCode::PROTOCOL_ERROR;
    assert_eq!(wire.it.status(key), Some(StreamEnd::Reset { code }));
    assert_eq!(wire.drain()[0].payload, code.0.to_be_bytes());
}

#[test]
fn content_is_as_long_as_it_was_announced() {
    for (frames, sound) in [
        (vec![raw(0, 0, 1, b"12345"), raw(0, 1, 1, b"67890")], true),
        (vec![raw(0, 1, 1, b"12345678901")], false),
        (vec![raw(0, 0, 1, b"12345678901")], false),
        (vec![raw(0, 1, 1, b"123456789")], false),
        (vec![raw(0, 0, 1, b"1234"), raw(1, 5, 1, b"\0\x01a\x01b")], false),
        (vec![raw(0, 0, 1, b"1234567890"), raw(1, 5, 1, b"\0\x01a\x01b")], true),
    ] {
        let mut wire = server();
        let key = wire.opened(1, false);
        wire.it.expect(key, 10);
        let events: Vec<_> = frames.iter().flat_map(|frame| wire.feed(frame)).collect();
        let reset = events.contains(&Event::Reset(key));
        assert_eq!(reset, !sound, "{events:?}");
    }
}

#[test]
fn a_client_reads_interim_and_final_heads() {
    let mut wire = Wire::client(&Limits::default());
    let key = wire.it.open().unwrap();
    wire.it.head(key, true, |w| w.request(b"GET", Scheme::Https, b"a", b"/")).unwrap();
    let (hints, ok) = (wire.reply(103), wire.reply(200));
    assert_eq!(wire.feed(&raw(1, 4, 1, &hints)), [Event::Head { stream: key, ends: false }]);
    assert_eq!(wire.feed(&raw(1, 4, 1, &ok)), [Event::Head { stream: key, ends: false }]);
    assert_eq!(wire.feed(&raw(0, 1, 1, b"x")), [Event::Readable(key)]);
    assert_eq!(wire.taken(key), b"x");
    wire.it.close(key);
    assert_eq!((wire.it.active(), wire.it.ledger.used()), (0, 0));
}

#[test]
fn an_interim_head_that_ends_its_stream_and_content_before_a_head_are_malformed() {
    for head in [true, false] {
        let mut wire = Wire::client(&Limits::default());
        let key = wire.it.open().unwrap();
        wire.it.head(key, true, |w| w.request(b"GET", Scheme::Https, b"a", b"/")).unwrap();
        let hints = wire.reply(103);
        let frame = if head { raw(1, 5, 1, &hints) } else { raw(0, 0, 1, b"x") };
        assert_eq!(wire.feed(&frame), [Event::Reset(key)]);
    }
}

#[test]
fn a_peer_that_answered_may_want_no_more() {
    for code in [ErrorCode::NO_ERROR, ErrorCode::CANCEL] {
        let mut wire = Wire::client(&Limits::default());
        let key = wire.it.open().unwrap();
        wire.it.head(key, false, |w| w.request(b"POST", Scheme::Https, b"a", b"/")).unwrap();
        let block = wire.reply(413);
        wire.feed(&raw(1, 4, 1, &block));
        wire.feed(&raw(0, 1, 1, b"too large"));
        assert_eq!(wire.feed(&raw(3, 0, 1, &code.0.to_be_bytes())), [Event::Readable(key)]);
        assert_eq!(wire.it.data(key, b"x"), Err(SendError::Stopped));
        assert_eq!(wire.it.status(key), None);
        assert_eq!(wire.taken(key), b"too large", "the answer is not lost");
    }
}

#[test]
fn a_client_that_resets_wants_no_reply_whatever_code_it_gives() {
    for code in [ErrorCode::NO_ERROR, ErrorCode::CANCEL] {
        let mut wire = server();
        let key = wire.opened(1, true);
        assert_eq!(wire.feed(&raw(3, 0, 1, &code.0.to_be_bytes())), [Event::Reset(key)]);
        assert_eq!(wire.it.status(key), Some(StreamEnd::Reset { code }));
    }
}

#[test]
fn goaway_leaves_streams_above_it_unprocessed() {
    let mut wire = Wire::client(&Limits::default());
    let keys: Vec<_> = (0..3).map(|_| wire.it.open().unwrap()).collect();
    for &key in &keys {
        wire.it.head(key, true, |w| w.request(b"GET", Scheme::Https, b"a", b"/")).unwrap();
    }
    let events = wire.feed(&raw(7, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0]));
    let code = ErrorCode::NO_ERROR;
    assert_eq!(events, [Event::GoAway { last: 3, code }, Event::Reset(keys[2])]);
    let status: Vec<_> = keys.iter().map(|&key| wire.it.status(key)).collect();
    assert_eq!(status, [None, None, Some(StreamEnd::Unprocessed)]);
    assert_eq!(wire.it.open(), Err(OpenError::GoingAway));
    refuses(&mut wire, &raw(7, 0, 0, &[0, 0, 0, 5, 0, 0, 0, 0]), Fault::Order);
    assert_eq!(wire.it.status(keys[0]), Some(StreamEnd::Lost));
}

#[test]
fn a_refused_stream_is_told_apart() {
    let mut wire = Wire::client(&Limits::default());
    let key = wire.it.open().unwrap();
    wire.it.head(key, true, |w| w.request(b"GET", Scheme::Https, b"a", b"/")).unwrap();
    assert_eq!(wire.feed(&raw(3, 0, 1, &[0, 0, 0, 7])), [Event::Reset(key)]);
    assert_eq!(wire.it.status(key), Some(StreamEnd::Refused));
}

#[test]
fn a_client_keeps_to_the_peers_limit_of_streams() {
    let mut wire = Wire::client(&Limits::default());
    wire.feed(&settings(&[(3, 1)]));
    let key = wire.it.open().unwrap();
    assert_eq!(wire.it.open(), Err(OpenError::Full));
    wire.it.close(key);
    assert_eq!(wire.drain().iter().filter(|f| f.kind == Kind::RstStream).count(), 0);
    wire.it.open().unwrap();
    let limits = Limits { requests_max: 1, ..Limits::default() };
    let mut wire = Wire::client(&limits);
    wire.it.open().unwrap();
    assert_eq!(wire.it.open(), Err(OpenError::Exhausted));
}

#[test]
fn a_stream_that_was_overtaken_was_not_processed() {
    let mut wire = Wire::client(&Limits::default());
    let (one, three) = (wire.it.open().unwrap(), wire.it.open().unwrap());
    wire.it.head(three, true, |w| w.request(b"GET", Scheme::Https, b"a", b"/")).unwrap();
    let late = wire.it.head(one, true, |w| w.request(b"GET", Scheme::Https, b"a", b"/"));
    assert_eq!(late, Err(SendError::Closed));
    assert_eq!(wire.it.status(one), Some(StreamEnd::Unprocessed));
}

#[test]
fn goodbye_has_two_steps() {
    let mut wire = server();
    wire.opened(1, true);
    wire.it.shut_down();
    let got = wire.drain();
    assert_eq!(got[0].payload, [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    assert_eq!(got[1].kind, Kind::Ping);
    wire.opened(3, true);
    let ping = got[1].payload.clone();
    assert_eq!(wire.feed(&raw(6, 1, 0, &ping)), [Event::PingAck]);
    assert_eq!(wire.drain()[0].payload, [0, 0, 0, 3, 0, 0, 0, 0]);
    let block = wire.request();
    assert_eq!(wire.feed(&raw(1, 4, 5, &block)), [], "a stream above it is ignored");
    assert_eq!(wire.feed(&raw(0, 0, 5, b"x")), []);
    assert_eq!(wire.feed(&raw(3, 0, 5, &[0, 0, 0, 8])), []);
    wire.it.shut_down_now();
    assert_eq!((wire.drain().len(), wire.it.active()), (0, 2), "it is said once");
}

#[test]
fn after_its_last_request_a_connection_says_goodbye() {
    let limits = Limits { requests_max: 2, ..Limits::default() };
    let mut wire = Wire::server(&limits);
    wire.opened(1, true);
    assert!(!wire.it.is_going_away());
    wire.opened(3, true);
    assert_eq!(goaway(&wire.drain()), Some(ErrorCode::NO_ERROR));
}

#[test]
fn closing_says_what_the_peer_must_know() {
    // (the peer ended, we answered in full, what is sent)
    for (ended, answered, code) in [
        (true, true, None),
        (false, true, Some(ErrorCode::NO_ERROR)),
        (true, false, Some(ErrorCode::CANCEL)),
        (false, false, Some(ErrorCode::CANCEL)),
    ] {
        let mut wire = server();
        let key = wire.opened(1, ended);
        wire.answer(key, answered);
        wire.drain();
        wire.it.close(key);
        let got = wire.drain().pop().map(|frame| frame::u32_at(&frame.payload).unwrap());
        assert_eq!(got.map(ErrorCode), code, "{ended} {answered}");
        assert_eq!((wire.it.active(), wire.it.ledger.used(), wire.it.live), (0, 0, 0));
    }
}

#[test]
fn a_reset_makes_no_message_whole() {
    let mut wire = Wire::server(&Limits::default());
    for (id, content) in [(1, &b""[..]), (3, b"abc")] {
        let key = wire.opened(id, false);
        wire.feed(&raw(0, 0, id, content));
        let code = ErrorCode::CANCEL;
        assert_eq!(wire.feed(&raw(3, 0, id, &code.0.to_be_bytes())), [Event::Reset(key)]);
        let inbox = wire.it.take(key, &mut Vec::new());
        assert_eq!((inbox.ends, inbox.reset), (false, Some(StreamEnd::Reset { code })));
    }
}
