//! Ids of objects: 32 hexadecimal digits, or UUIDs. The caller brings the randomness.

use std::fmt::Write as _;

/// An object's id: 32 lower-case hexadecimal digits of 16 random octets.
#[must_use]
pub fn id(octets: [u8; 16]) -> String {
    octets.iter().fold(String::with_capacity(32), |mut text, octet| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// A random UUID (RFC 9562 §5.4: version 4) of 16 random octets, of which 122 bits are kept.
#[must_use]
pub fn uuid(octets: [u8; 16]) -> String {
    let number = u128::from_be_bytes(octets);
    let version = (number & !(0xf << 76)) | (0x4 << 76);
    let variant = (version & !(0x3 << 62)) | (0x2 << 62);
    let hex = format!("{variant:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_owned();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// Whether a text has the form of [`id`].
#[must_use]
pub fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(is_hex)
}

/// Whether a text has the form of a UUID in lower case (RFC 9562 §4).
#[must_use]
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => is_hex(byte),
        })
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::{id, is_id, is_uuid, uuid};
    use proptest::prelude::*;

    #[test]
    fn known_octets_make_known_ids() {
        let octets = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255];
        assert_eq!(id(octets), "000102030405060708090a0b0c0d0eff");
        assert_eq!(uuid(octets), "00010203-0405-4607-8809-0a0b0c0d0eff");
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
    }

    #[test]
    fn what_only_looks_like_an_id_is_none() {
        for text in ["", "0001", "000102030405060708090A0B0C0D0EFF", &"0".repeat(33), "é"] {
            assert!(!is_id(text) && !is_uuid(text), "{text}");
        }
        assert!(!is_uuid("00010203-0405-4607-8809-0a0b0c0d0efg"));
        assert!(!is_uuid("0001020304054607-8809-0a0b0c0d0effff-"));
    }

    proptest! {
        #[test]
        fn every_id_has_the_form_of_one(octets in any::<[u8; 16]>()) {
            prop_assert!(is_id(&id(octets)));
            prop_assert!(is_uuid(&uuid(octets)));
        }
    }
}
