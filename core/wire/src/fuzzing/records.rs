//! What must hold for received records of TLS 1.3, under a cipher that changes nothing.

use super::cuts;
use crate::tls_record::{
    self, APPLICATION_DATA, Content, HEADER_BYTES, IDLE_RECORDS_MAX, NONCE_BYTES, PLAIN_BYTES_MAX,
    Receiving, RecordError, SEALED_BYTES_MAX,
};

/// Some bytes for nonces to be made of.
const IV: [u8; NONCE_BYTES] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8];

/// Records say the same however they are cut; data is what stood before the type; numbers count up
/// and start again with new keys; and records without data end somewhere.
pub fn tls_records(data: &[u8]) {
    for cut in cuts(data.len()) {
        let part = data.get(..cut).unwrap_or(data);
        if let Ok(Some(record)) = tls_record::first(part) {
            assert_eq!(tls_record::first(data), Ok(Some(record)), "more bytes change no record");
            break;
        }
        if let Err(error) = tls_record::first(part) {
            assert_eq!(tls_record::first(data), Err(error), "more bytes change no verdict");
            break;
        }
    }
    let mut rest = data;
    let mut receiving = Receiving::new(0);
    let (mut number, mut idle) = (0_u64, 0);
    loop {
        assert_eq!(low(&receiving.nonce(&IV)) ^ low(&IV), number, "numbers count up");
        let Ok(Some(record)) = tls_record::first(rest) else { return };
        assert!(!record.sealed.is_empty() && record.bytes() <= HEADER_BYTES + SEALED_BYTES_MAX);
        let content = match receiving.take(record.sealed) {
            Ok(content) => content,
            Err(error) => {
                let again = receiving.take(record.sealed);
                assert_eq!(again, Err(error), "a bad record stays bad");
                assert!(error != RecordError::Forged, "that is the cipher's to find");
                return;
            }
        };
        number = if let Content::KeyUpdate { .. } = content { 0 } else { number + 1 };
        idle = if let Content::Data(1..) = content { 0 } else { idle + 1 };
        assert!(idle <= IDLE_RECORDS_MAX, "records without data are limited");
        if let Content::Data(len) = content {
            let (_, tail) = record.sealed.split_at(len);
            assert!(len <= PLAIN_BYTES_MAX && tail.first() == Some(&APPLICATION_DATA));
            assert!(tail.iter().skip(1).all(|byte| *byte == 0), "padding is zeros");
        }
        rest = rest.get(record.bytes()..).expect("a record is inside of the input");
    }
}

fn low(nonce: &[u8; NONCE_BYTES]) -> u64 {
    let [_, _, _, _, low @ ..] = *nonce;
    u64::from_be_bytes(low)
}
