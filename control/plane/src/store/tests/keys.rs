//! What is a key, and what is not.

use crate::store::{KEY_BYTES_MAX, Key};

#[test]
fn keys_are_segments_of_small_letters_digits_and_two_signs() {
    let check = |text: &str, good: bool| assert_eq!(Key::new(text).is_ok(), good, "{text:?}");
    check("accounts", true);
    check("accounts/0a1b/pools/c-d_e", true);
    check("", false);
    check("/accounts", false);
    check("accounts/", false);
    check("accounts//x", false);
    check("accounts/../zones", false);
    check("Accounts", false);
    check("accounts/ä", false);
    check("a b", false);
    check("a\0", false);
    check(&"a".repeat(KEY_BYTES_MAX), true);
    check(&"a".repeat(KEY_BYTES_MAX + 1), false);
}

#[test]
fn a_segment_cannot_bring_a_slash_along() {
    assert_eq!(Key::of(&["zones", "1"]).expect("a key").as_str(), "zones/1");
    assert!(Key::of(&["zones", "1/../../accounts/2"]).is_err());
    assert!(Key::of(&["zones", "1/x"]).is_err());
    assert!(Key::of(&["zones", ""]).is_err());
}
