//! Rows of the framing recipes that concern bodies.

use super::*;
use crate::testing::wire;

/// Content, what is left of the input and trailers; or the fault.
fn decode_with(
    text: &str,
    framing: Framing,
    limits: BodyLimits,
) -> Result<(String, String, String), BodyError> {
    let input = wire(text);
    crate::fuzzing::h1_body(&input);
    let mut decoder = BodyDecoder::new(framing, limits);
    let (mut at, mut content) = (0, Vec::new());
    while !decoder.is_done() {
        let decoded = decoder.decode(&input[at..])?;
        content.extend_from_slice(&input[at..][decoded.data]);
        if decoded.consumed == 0 {
            break;
        }
        at += decoded.consumed;
    }
    decoder.end()?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().replace("\r\n", "⏎");
    Ok((text(&content), text(&input[at..]), text(decoder.trailers())))
}

#[track_caller]
fn check(text: &str, expect: Result<(&str, &str, &str), BodyError>) {
    let got = decode_with(text, Framing::Chunked, BodyLimits::default());
    let expect = expect.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
    assert_eq!(got, expect, "{text:?}");
}

#[track_caller]
fn refused(text: &str, expect: BodyError) {
    check(text, Err(expect));
    assert_eq!(expect.status(), 400);
}

#[test]
fn chunks_are_taken_out_of_their_coding() {
    check("0⏎⏎", Ok(("", "", "")));
    check("5⏎hello⏎0⏎⏎GET /", Ok(("hello", "GET /", "")));
    check("1⏎a⏎0a⏎0123456789⏎0000⏎⏎", Ok(("a0123456789", "", "")));
    check("B⏎hello world⏎b⏎hello world⏎0⏎⏎", Ok(("hello worldhello world", "", "")));
    for cut in ["", "5", "5⏎hel", "5⏎hello", "5⏎hello⏎", "5⏎hello⏎0", "5⏎hello⏎0⏎", "0⏎A: b⏎"]
    {
        check(cut, Err(BodyError::EndedEarly));
    }
}

#[test]
fn row_17_extensions() {
    for fine in [
        "2;a",
        "2;a=b",
        "2;a=\"b;\\\" c\"",
        "2 ; a = b ; c",
        "2;a;b;c=d",
        "2\t;a=\"\"",
        "2;a=\"b\"",
        "2;a=\"\u{e9}\"",
    ] {
        check(&format!("{fine}⏎ok⏎0⏎⏎"), Ok(("ok", "", "")));
        check(&format!("2⏎ok⏎{}⏎⏎", fine.replace('2', "0")), Ok(("ok", "", "")));
    }
    refused("2;␊xx⏎0⏎⏎", BodyError::BareLf);
    refused("2;a=\"⏎\"⏎xx⏎0⏎⏎", BodyError::ChunkExtension);
    refused("2;a=\"␊\"⏎xx⏎0⏎⏎", BodyError::BareLf);
    refused("2;␍x⏎xx⏎0⏎⏎", BodyError::ChunkExtension);
    refused("2;a␍x⏎xx⏎0⏎⏎", BodyError::BareCr);
    refused("2;⏎xx⏎0⏎⏎", BodyError::ChunkExtension);
    refused("2 ⏎xx⏎0⏎⏎", BodyError::ChunkSize);
    refused("2;a=␀⏎xx⏎0⏎⏎", BodyError::ChunkExtension);
    for bad in
        ["2;=b", "2;a=", "2;a b", "2;a ", "2;a=b c", "2;a=b ", "2;a=\"b\"c", "2;a=\"b", "2;;a"]
    {
        let text = format!("{bad}⏎xx⏎0⏎⏎");
        let got = decode_with(&text, Framing::Chunked, BodyLimits::default());
        let faults = [BodyError::ChunkExtension, BodyError::ChunkSize];
        assert!(got.as_ref().is_err_and(|e| faults.contains(e)), "{bad}: {got:?}");
    }
}

#[test]
fn row_18_extensions_are_capped() {
    let long = |len: usize| format!("1;{}⏎x⏎", "a".repeat(len));
    check(&format!("{}0⏎⏎", long(8000)), Ok(("x", "", "")));
    refused(&format!("{}0⏎⏎", long(8192)), BodyError::ChunkExtensionTooLong);
    refused(&format!("{}0⏎⏎", long(6000).repeat(3)), BodyError::ChunkExtensionTooLong);
}

#[test]
fn row_18_framing_may_not_outgrow_the_content() {
    let wide = "0000000000000001⏎x⏎";
    refused(&format!("{}0⏎⏎", wide.repeat(4500)), BodyError::ChunkOverhead);
    let narrow = format!("{}0⏎⏎", "1⏎x⏎".repeat(9000));
    check(&narrow, Ok((&"x".repeat(9000), "", "")));
}

#[test]
fn row_19_chunk_ends() {
    refused("5␊hello␊0␊␊", BodyError::BareLf);
    refused("5⏎helloXX0⏎⏎", BodyError::ChunkEnd);
    refused("5⏎hello␍0⏎⏎", BodyError::BareCr);
    refused("5⏎hello␊0⏎⏎", BodyError::BareLf);
    refused("5␍hello⏎0⏎⏎", BodyError::BareCr);
    refused("0⏎␊", BodyError::BareLf);
    refused("0⏎␍␍", BodyError::BareCr);
}

#[test]
fn row_20_chunk_sizes() {
    refused("10000000000000000⏎", BodyError::ChunkSize);
    refused("00000000000000000001⏎x⏎0⏎⏎", BodyError::ChunkSize);
    check("FFFFFFFFFFFFFFFF⏎abc", Err(BodyError::EndedEarly));
    for bad in ["-1", "+1", "0x5", " 5", "g", ";a", "", "5h", "5_0", "\u{b2}"] {
        refused(&format!("{bad}⏎hello⏎0⏎⏎"), BodyError::ChunkSize);
    }
    for (len, head) in [
        (0, "0⏎"),
        (15, "f⏎"),
        (16, "10⏎"),
        (1 << 32, "100000000⏎"),
        (usize::MAX, "ffffffffffffffff⏎"),
    ] {
        assert_eq!(BodyEncoder::frame(len).as_slice(), wire(head));
    }
}

#[test]
fn row_21_trailers() {
    let text = "0⏎Content-Length: 9⏎Host: evil⏎X-Forwarded-For: 1⏎grpc-status:0⏎x_y: 1⏎\
                Authorization: a⏎cf-ray: a⏎CF-Worker: a⏎x-forwarded-mine: a⏎\
                Grpc-Message: hi there⏎⏎rest";
    check(text, Ok(("", "rest", "grpc-status: 0⏎Grpc-Message: hi there⏎")));
    refused("0⏎A : b⏎⏎", BodyError::Trailer);
    refused("0⏎A: b⏎ c⏎⏎", BodyError::Trailer);
    refused("0⏎A: b␀⏎⏎", BodyError::Trailer);
    refused("0⏎A␊⏎", BodyError::BareLf);
    let many = |count: usize| format!("0⏎{}⏎", "A: b⏎".repeat(count));
    check(&many(32), Ok(("", "", &"A: b⏎".repeat(32))));
    check(&many(33), Err(BodyError::TrailersTooLarge));
    let dropped = format!("0⏎{}⏎", "Host: b⏎".repeat(33));
    check(&dropped, Err(BodyError::TrailersTooLarge));
    let long = |len: usize| format!("0⏎A: {}⏎⏎", "b".repeat(len - 5));
    assert!(decode_with(&long(8192), Framing::Chunked, BodyLimits::default()).is_ok());
    check(&long(8193), Err(BodyError::TrailersTooLarge));
}

#[test]
fn exact_bodies_end_where_they_promise() {
    let limits = BodyLimits::default();
    let check = |text: &str, framing| decode_with(text, framing, limits);
    let ok = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned(), String::new()));
    assert_eq!(check("hello", Framing::Exact(5)), ok("hello", ""));
    assert_eq!(check("hello!", Framing::Exact(5)), ok("hello", "!"));
    assert_eq!(check("hell", Framing::Exact(5)), Err(BodyError::EndedEarly));
    assert_eq!(check("hello", Framing::Exact(0)), ok("", "hello"));
    assert_eq!(check("hello", Framing::None), ok("", "hello"));
    assert_eq!(check("hello", Framing::Eof), ok("hello", ""));
    assert_eq!(check("", Framing::Eof), ok("", ""));
    assert_eq!(check("", Framing::Exact(u64::MAX)), Err(BodyError::EndedEarly));
}

#[test]
fn bodies_have_a_limit() {
    let limits = BodyLimits { body_bytes: 5, ..BodyLimits::default() };
    for framing in [Framing::Eof, Framing::Exact(6)] {
        assert_eq!(decode_with("hello!", framing, limits), Err(BodyError::TooLarge));
    }
    assert!(decode_with("hello", Framing::Eof, limits).is_ok());
    let chunked = decode_with("5⏎hello⏎1⏎!⏎0⏎⏎", Framing::Chunked, limits);
    assert_eq!(chunked, Err(BodyError::TooLarge));
    assert_eq!(BodyError::TooLarge.status(), 413);
}

#[test]
fn encoders_keep_to_their_framing() {
    let mut exact = BodyEncoder::new(Framing::Exact(5));
    assert_eq!(exact.account(3), Ok(()));
    assert_eq!(exact.end(), Err(BodyError::Underrun));
    assert_eq!(exact.account(3), Err(BodyError::Overrun));
    assert_eq!((exact.account(2), exact.end(), exact.seen()), (Ok(()), Ok(()), 5));
    let mut none = BodyEncoder::new(Framing::None);
    assert_eq!((none.account(0), none.end()), (Ok(()), Ok(())));
    assert_eq!(none.account(1), Err(BodyError::Overrun));
    let mut open = BodyEncoder::new(Framing::Eof);
    assert_eq!((open.account(1), open.end()), (Ok(()), Ok(())));
}

#[test]
fn left_tells_what_is_owed() {
    let mut decoder = BodyDecoder::new(Framing::Exact(5), BodyLimits::default());
    assert_eq!(decoder.left(), Some(5));
    decoder.decode(b"he").unwrap();
    assert_eq!((decoder.left(), decoder.seen(), decoder.is_done()), (Some(3), 2, false));
    decoder.decode(b"llo").unwrap();
    assert_eq!((decoder.left(), decoder.is_done()), (Some(0), true));
}

#[test]
fn content_that_goes_by_unseen_is_counted() {
    use BodyError::{EndedEarly, Overrun, TooLarge};
    let decoder = |framing, body_bytes| {
        BodyDecoder::new(framing, BodyLimits { body_bytes, ..BodyLimits::default() })
    };
    let mut exact = decoder(Framing::Exact(10), 10);
    assert_eq!(exact.decode(b"abc").map(|decoded| decoded.consumed), Ok(3));
    assert_eq!(exact.pass(6), Ok(()));
    assert_eq!((exact.left(), exact.seen(), exact.end()), (Some(1), 9, Err(EndedEarly)));
    assert_eq!(exact.pass(2), Err(Overrun));
    assert_eq!(exact.pass(1), Ok(()));
    assert_eq!((exact.is_done(), exact.seen(), exact.end()), (true, 10, Ok(())));
    assert_eq!(exact.pass(1), Err(Overrun));
    assert_eq!(decoder(Framing::Exact(10), 9).pass(10), Err(TooLarge));
    for framing in [Framing::Chunked, Framing::Eof, Framing::None] {
        assert_eq!(decoder(framing, 10).pass(1), Err(Overrun), "{framing:?}");
    }
}
