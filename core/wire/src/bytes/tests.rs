//! The scanners of eight bytes at a time against their tables, for each byte at each place.

use super::*;

type Skip = fn(&[u8], usize) -> usize;

#[track_caller]
fn check(skip: Skip, filler: u8, allowed: impl Fn(u8) -> bool) {
    for len in [0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 40] {
        for at in 0..len {
            for b in 0..=255 {
                let mut text = vec![filler; len];
                text[at] = b;
                let expect = if allowed(b) { len } else { at };
                assert_eq!(skip(&text, 0), expect, "{b:#x} at {at} of {len}");
                // What stands behind must not change what is found.
                if !allowed(b) && at + 1 < len {
                    text[at + 1] = 0;
                    assert_eq!(skip(&text, 0), at, "{b:#x} at {at} of {len}, then NUL");
                }
            }
        }
        assert_eq!(skip(&vec![filler; len], 0), len);
    }
}

#[test]
fn scanners_agree_with_their_tables() {
    check(skip_plain, b'a', |b| has(b, PLAIN));
    check(skip_target, b'Z', |b| has(b, TARGET));
    check(skip_reg_name, b'0', |b| has(b, REG_NAME));
    check(skip_text, b' ', |b| b >= 0x20 && b != 0x7f);
    check(skip_token, b'~', |b| has(b, TOKEN));
    check(skip_printable, b'~', |b| b == b' ' || b.is_ascii_graphic());
    // It leaves what is shorter than a word to others.
    let colon = |text: &[u8], _| match before_colon(text) {
        Some((len, _)) => len,
        None => text.iter().position(|&b| b == b':').unwrap_or(text.len()),
    };
    check(colon, b';', |b| b != b':');
}

#[test]
fn names_are_known_by_their_ends_wherever_they_stand() {
    let text = b"Strict-Transport-Security:X-Forwarded-For:Accept::";
    for from in 0..text.len() {
        for to in from..=text.len() {
            let text = &text[from..to];
            let len = text.iter().position(|&b| b == b':');
            let expect = len.filter(|_| text.len() >= 8).map(|len| (len, ends(&text[..len])));
            assert_eq!(before_colon(text), expect, "{:?}", text.escape_ascii().to_string());
        }
    }
    let word = |text: &str| text.bytes().rev().fold(0, |word, b| word << 8 | u64::from(b));
    for name in ["", "a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg"] {
        assert_eq!(ends(name.as_bytes()), (word(name), 0), "{name}");
    }
    assert_eq!(ends(b"abcdefgh"), (word("abcdefgh"), word("abcdefgh")));
    assert_eq!(ends(b"abcdefghi"), (word("abcdefgh"), word("bcdefghi")));
}

#[test]
fn a_target_ends_at_the_first_byte_that_it_cannot_have() {
    let check = |text: &str, expect| assert_eq!(target_and_path(text.as_bytes()), expect, "{text}");
    check("/ HTTP/1.1", Some((1, 1)));
    check("/a/b%20c?d=e?f HTTP/1.1", Some((14, 8)));
    check("/a~_!$&'()*+,;=:@[] HTTP/1.1", Some((19, 19)));
    check("/abcdefghijklmnop?\tHTTP/1.1", Some((18, 17)));
    check("/abcdef HTTP/1.1", Some((7, 7)));
    check("/#aaaaaaaaa", Some((1, 1)));
    check("/a\u{e9}aaaaaaaa", Some((2, 2)));
    check("/aaaaaaaaaaaa", None);
    check("/a b", None);
}

#[test]
fn each_octet_is_written_as_it_is_displayed() {
    for octet in 0..=255 {
        let address = Ipv4Addr::new(octet, 255 - octet, 7, octet);
        let mut text = [0; 16];
        let len = ipv4(address, &mut text);
        assert_eq!(text[..len].escape_ascii().to_string(), address.to_string());
    }
}

#[test]
fn texts_of_values_may_have_tabs() {
    assert!(is_value_text(b"") && is_value_text(b"\t") && is_value_text(b"a\t\tb\xff"));
    assert!(!is_value_text(b"a\tb\r") && !is_value_text(b"\x7f") && !is_value_text(b"a\t\0"));
}

#[test]
fn numbers_are_decimal_and_bounded() {
    let check = |text: &str, expect| assert_eq!(decimal(text.as_bytes()), expect, "{text}");
    check("0", Some(0));
    check("9999999999999999999", Some(9_999_999_999_999_999_999));
    check("18446744073709551615", Some(u64::MAX));
    check("00000000000000000000018446744073709551615", Some(u64::MAX));
    check("99999999999999999999", None);
    check("18446744073709551616", None);
    for bad in ["", "-1", "+1", " 1", "1 ", "a", "1234567890123456789a"] {
        check(bad, None);
    }
}
