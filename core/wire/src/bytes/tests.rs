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
    check("18446744073709551615", Some(u64::MAX));
    check("18446744073709551616", None);
    for bad in ["", "-1", "+1", " 1", "1 ", "a"] {
        check(bad, None);
    }
}
