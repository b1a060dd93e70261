//! Records made by hand: headers, what opened records say, numbers.

use super::*;

/// A record whose sealed part is `inner` in plain text.
fn record(inner: &[u8]) -> Vec<u8> {
    let len = (inner.len() + TAG_BYTES) as u16;
    [&[23, 3, 3][..], &len.to_be_bytes(), inner, &[0xaa; TAG_BYTES]].concat()
}

#[track_caller]
fn starts(received: &[u8], expect: Result<Option<usize>, RecordError>) {
    crate::fuzzing::tls_records(received);
    assert_eq!(first(received).map(|record| record.map(|record| record.bytes())), expect);
}

#[test]
fn a_record_is_found_when_it_is_whole() {
    starts(b"", Ok(None));
    starts(&[23], Ok(None));
    starts(&[23, 3, 3, 0], Ok(None));
    let one = record(b"x\x17");
    for cut in 0..one.len() {
        starts(&one[..cut], Ok(None));
    }
    starts(&one, Ok(Some(one.len())));
    starts(&[&one[..], b"more"].concat(), Ok(Some(one.len())));
    // A version is authenticated and means nothing.
    starts(&[23, 9, 9, 0, 17], Ok(None));
    starts(&record(&[23; SEALED_BYTES_MAX - TAG_BYTES]), Ok(Some(5 + SEALED_BYTES_MAX)));
}

#[test]
fn a_header_that_may_not_be_is_refused_at_once() {
    starts(&[20, 3, 3, 0, 1, 1], Err(RecordError::Unprotected));
    starts(&[21], Err(RecordError::Unprotected));
    starts(&[22, 3, 1], Err(RecordError::Unprotected));
    starts(&[23, 3, 3, 0x41, 0x01], Err(RecordError::TooLong));
    starts(&[23, 3, 3, 0xff, 0xff], Err(RecordError::TooLong));
    starts(&[23, 3, 3, 0, 0], Err(RecordError::TooShort));
    starts(&[23, 3, 3, 0, 16], Err(RecordError::TooShort));
}

#[track_caller]
fn says(opened: &[u8], expect: Result<Content, RecordError>) {
    crate::fuzzing::tls_records(&record(opened));
    assert_eq!(Receiving::new(0).take(opened), expect, "{:?}", &opened[..opened.len().min(9)]);
}

#[test]
fn opened_records_say_one_thing_each() {
    says(b"data\x17", Ok(Content::Data(4)));
    says(b"data\0\0\x17\0\0\0", Ok(Content::Data(6)));
    says(b"\x17", Ok(Content::Data(0)));
    says(b"\x17\0\0", Ok(Content::Data(0)));
    says(b"\x01\0\x15", Ok(Content::Closed));
    says(b"\x02\0\x15\0", Ok(Content::Closed));
    says(b"\x01\x5a\x15", Ok(Content::Nothing));
    says(b"\x02\x14\x15", Ok(Content::Fatal(20)));
    says(b"\x01\x0a\x15", Ok(Content::Fatal(10)));
    says(b"\x18\0\0\x01\0\x16", Ok(Content::KeyUpdate { asked: false }));
    says(b"\x18\0\0\x01\x01\x16\0", Ok(Content::KeyUpdate { asked: true }));
}

#[test]
fn what_no_peer_may_say_is_refused() {
    says(b"", Err(RecordError::NoContent));
    says(b"\0\0\0", Err(RecordError::NoContent));
    says(b"\x01\x14", Err(RecordError::BadContent));
    says(b"x\x18", Err(RecordError::BadContent));
    says(b"x\xff", Err(RecordError::BadContent));
    says(b"\x15", Err(RecordError::Empty));
    says(b"\x16\0", Err(RecordError::Empty));
    says(b"\x01\x15", Err(RecordError::BadAlert));
    says(b"\x01\0\x01\0\x15", Err(RecordError::BadAlert));
    // A ClientHello again, a client's certificate, a ticket.
    says(b"\x01\0\0\0\x16", Err(RecordError::UnexpectedMessage));
    says(b"\x0b\0\0\0\x16", Err(RecordError::UnexpectedMessage));
    says(b"\x04\0\0\0\x16", Err(RecordError::UnexpectedMessage));
    says(b"\x18\0\0\x01\x02\x16", Err(RecordError::BadRequest));
    says(b"\x18\0\0\x02\0\0\x16", Err(RecordError::BadMessage));
    says(b"\x18\0\0\x01\x16", Err(RecordError::BadMessage));
    says(b"\x18\0\0\x01\0\x18\0\0\x01\0\x16", Err(RecordError::BadMessage));
}

#[test]
fn content_and_padding_have_one_limit() {
    let padded = |data: usize, padding: usize| {
        [vec![7; data], vec![APPLICATION_DATA], vec![0; padding]].concat()
    };
    says(&padded(PLAIN_BYTES_MAX, 0), Ok(Content::Data(PLAIN_BYTES_MAX)));
    says(&padded(1, PLAIN_BYTES_MAX - 1), Ok(Content::Data(1)));
    says(&padded(PLAIN_BYTES_MAX, 1), Err(RecordError::TooLong));
    says(&padded(PLAIN_BYTES_MAX + 1, 0), Err(RecordError::TooLong));
}

#[test]
fn records_without_data_have_a_limit_in_a_row() {
    let kinds = [&b"\x17"[..], b"\x01\x5a\x15", b"\x18\0\0\x01\0\x16"];
    for kind in kinds {
        let mut receiving = Receiving::new(0);
        for _ in 0..3 {
            for _ in 0..IDLE_RECORDS_MAX {
                assert!(receiving.take(kind).is_ok());
            }
            assert_eq!(receiving.take(b"x\x17"), Ok(Content::Data(1)));
        }
        for _ in 0..IDLE_RECORDS_MAX {
            assert!(receiving.take(kind).is_ok());
        }
        assert_eq!(receiving.take(kind), Err(RecordError::TooManyIdle));
    }
}

#[test]
fn numbers_go_into_nonces_and_are_given_out_once() {
    let iv = [0xf0, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0x0f];
    let mut sending = Sending::new(0, 1 << 24);
    assert_eq!(sending.nonce(&iv), Some(iv));
    assert_eq!(sending.nonce(&iv), Some([0xf0, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0x0e]));
    let mut sending = Sending::new(0x0102, 1 << 24);
    assert_eq!(sending.nonce(&iv), Some([0xf0, 1, 2, 3, 0, 0, 0, 0, 0, 0, 1, 0x0d]));
    sending.renew();
    assert_eq!(sending.nonce(&iv), Some(iv));
    let mut last = Sending::new(u64::MAX, u64::MAX);
    assert_eq!(last.nonce(&iv), None);
    assert_eq!(last.nonce(&iv), None);
}

#[test]
fn received_numbers_move_with_good_records_only() {
    let iv = [0; NONCE_BYTES];
    let number = |receiving: &Receiving| receiving.nonce(&iv)[NONCE_BYTES - 1];
    let mut receiving = Receiving::new(7);
    assert_eq!(number(&receiving), 7);
    assert_eq!(receiving.take(b"\0"), Err(RecordError::NoContent));
    assert_eq!(number(&receiving), 7);
    assert!(receiving.take(b"x\x17").is_ok());
    assert_eq!(number(&receiving), 8);
    assert!(receiving.take(b"\x18\0\0\x01\0\x16").is_ok());
    assert_eq!(number(&receiving), 0, "new keys count from the start");
    assert_eq!(Receiving::new(u64::MAX).take(b"x\x17"), Err(RecordError::Exhausted));
}

#[test]
fn the_last_record_of_a_key_is_left_for_its_update() {
    let mut sending = Sending::new(0, 3);
    for worn in [false, false, true, true] {
        assert_eq!(sending.is_worn(), worn);
        assert!(sending.nonce(&[0; NONCE_BYTES]).is_some());
    }
    assert!(!Sending::new(0, u64::MAX).is_worn());
}

#[test]
fn a_header_counts_type_and_tag() {
    assert_eq!(header(0), [23, 3, 3, 0, 17]);
    assert_eq!(header(PLAIN_BYTES_MAX), [23, 3, 3, 0x40, 0x11]);
}
