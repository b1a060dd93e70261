//! The handshake of WebSocket over HTTP/1.1 (RFC 6455 §4), for tunnels with HTTP/2 on one side,
//! where there is none (RFC 8441 §5): Weir asks or answers in place of that side.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// Characters of `Sec-WebSocket-Key`: 16 bytes in Base64.
pub(crate) const KEY_LEN: usize = 24;
/// Characters of `Sec-WebSocket-Accept`: a SHA-1 in Base64.
pub(crate) const ACCEPT_LEN: usize = 28;
/// What RFC 6455 §1.3 puts behind the key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A key out of 16 random bytes. It keeps caches from answering and is no secret.
pub(crate) fn key(random: [u64; 2]) -> [u8; KEY_LEN] {
    let [one, two] = random.map(u64::to_le_bytes);
    let mut bytes = [0; 16];
    for (place, byte) in bytes.iter_mut().zip(one.into_iter().chain(two)) {
        *place = byte;
    }
    base64(&bytes)
}

/// What the server must answer to `key`.
pub(crate) fn accept(key: &[u8]) -> [u8; ACCEPT_LEN] {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat());
    base64(hash.as_ref())
}

/// `bytes` in Base64 with padding (RFC 4648 §4); `N` is the length of that.
fn base64<const N: usize>(bytes: &[u8]) -> [u8; N] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = [b'='; N];
    for (group, places) in bytes.chunks(3).zip(out.chunks_mut(4)) {
        let octet = |at: usize| group.get(at).copied().map_or(0, u32::from);
        let word = octet(0) << 16 | octet(1) << 8 | octet(2);
        for (at, place) in places.iter_mut().enumerate().take(group.len() + 1) {
            let index = word >> (18 - 6 * at) & 63;
            *place = ALPHABET.get(index as usize).copied().unwrap_or_default();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(&accept(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_is_sixteen_bytes() {
        assert_eq!(&key([0, 0]), b"AAAAAAAAAAAAAAAAAAAAAA==");
        assert_ne!(key([1, 0]), key([0, 1]));
    }
}
