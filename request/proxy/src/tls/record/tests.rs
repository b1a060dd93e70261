//! Our records beside those of rustls, which is the client: both directions, every suite.

use super::*;
use crate::tls::testing::{SUITES, pair};
use proptest::prelude::*;
use rustls::ClientConnection;
use rustls::unbuffered::ConnectionState;
use std::io::{Read, Write};

/// A client of rustls and our records, behind a handshake; bytes go from hand to hand.
struct Rig {
    client: ClientConnection,
    ours: Records,
}

/// What the client has for us.
fn said(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// Has the client take all of `bytes`.
fn tell(client: &mut ClientConnection, mut bytes: &[u8]) -> Result<(), rustls::Error> {
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

/// Runs a handshake until rustls, our server, has sealed `first`.
fn shake(server: &mut UnbufferedServerConnection, client: &mut ClientConnection, first: &[u8]) {
    let (mut received, mut sealed) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let status = server.process_tls_records(&mut received);
        let (discard, mut done) = (status.discard, false);
        match status.state.unwrap() {
            ConnectionState::EncodeTlsData(mut message) => {
                let len = message.encode(&mut sealed).unwrap();
                tell(client, &sealed[..len]).unwrap();
            }
            ConnectionState::TransmitTlsData(flight) => flight.done(),
            ConnectionState::BlockedHandshake => received.extend(said(client)),
            ConnectionState::WriteTraffic(mut traffic) => {
                let len = traffic.encrypt(first, &mut sealed).unwrap();
                tell(client, &sealed[..len]).unwrap();
                done = true;
            }
            other => panic!("{other:?}"),
        }
        received.drain(..discard);
        if done {
            assert!(received.is_empty());
            return;
        }
    }
}

impl Rig {
    fn new(suite: SupportedCipherSuite) -> Self {
        Self::with_limit(suite, u64::MAX)
    }

    fn with_limit(suite: SupportedCipherSuite, records: u64) -> Self {
        let (config, mut client) = pair(suite);
        let mut server = UnbufferedServerConnection::new(config).unwrap();
        shake(&mut server, &mut client, b"from rustls");
        assert!(Records::fit(&server));
        let ours = Records::take_for(server, records).unwrap();
        let mut rig = Self { client, ours };
        assert_eq!(rig.heard(), b"from rustls");
        rig
    }

    /// What the client has received and nobody has taken.
    fn heard(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.client.reader().read_to_end(&mut bytes) {
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => panic!("{error}"),
            _ => bytes,
        }
    }

    /// We send `plain`.
    fn send(&mut self, plain: &[u8]) {
        let mut out = Lent::take();
        self.ours.seal(plain, &mut out).unwrap();
        tell(&mut self.client, out.filled()).unwrap();
    }

    /// The client sends `plain`; its records.
    fn sent(&mut self, plain: &[u8]) -> Vec<u8> {
        self.client.writer().write_all(plain).unwrap();
        said(&mut self.client)
    }

    /// We open all records of `received`; the data in them, and the last that is no data.
    fn receive(&mut self, received: &[u8]) -> Result<(Vec<u8>, Option<Content>), RecordFault> {
        let (mut data, mut other, mut rest) = (Vec::new(), None, received);
        while let Some(record) = tls_record::first(rest)? {
            let mut into = vec![0; record.sealed.len()];
            match self.ours.open(&record, &mut into)? {
                Content::Data(len) => data.extend_from_slice(&into[..len]),
                content => other = Some(content),
            }
            rest = &rest[record.bytes()..];
        }
        assert!(rest.is_empty(), "no record is cut");
        Ok((data, other))
    }

    #[track_caller]
    fn refuses(&mut self, received: &[u8], expect: RecordError) {
        match self.receive(received) {
            Err(RecordFault::Peer(error)) => assert_eq!(error, expect),
            other => panic!("{other:?}"),
        }
        let mut out = Lent::take();
        self.ours.refuse(expect, &mut out).unwrap();
        match tell(&mut self.client, out.filled()) {
            Err(rustls::Error::AlertReceived(alert)) => {
                assert_eq!(u8::from(alert), expect.alert());
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A record of the client with any content, sealed with its keys, which `Records` has as well.
fn forge(rig: &mut Rig, inner: &[u8]) -> Vec<u8> {
    let Opener { key, numbers } = &rig.ours.opener;
    let nonce = Nonce::assume_unique_for_key(numbers.nonce(&key.iv));
    let mut sealed = inner.to_vec();
    let len = u16::try_from(inner.len() + 16).unwrap().to_be_bytes();
    let header = [23, 3, 3, len[0], len[1]];
    key.aead.seal_in_place_append_tag(nonce, Aad::from(header), &mut sealed).unwrap();
    [&header[..], &sealed].concat()
}

#[test]
fn data_goes_both_ways_in_every_suite() {
    for suite in SUITES {
        let mut rig = Rig::new(suite);
        assert_eq!(rig.ours.alpn(), Some(&b"h2"[..]));
        assert_eq!(rig.ours.agreed().suite, Some(suite));
        assert_eq!(rig.ours.agreed().version, Some(ProtocolVersion::TLSv1_3));
        assert!(!rig.ours.certified());
        for len in [1, 2, 15, 16, 17, 1000, PLAIN_BYTES_MAX - 1, PLAIN_BYTES_MAX] {
            let data: Vec<u8> = (0..len).map(|n| n as u8).collect();
            rig.send(&data);
            assert_eq!(rig.heard(), data, "{suite:?} {len}");
            let records = rig.sent(&data);
            assert_eq!(rig.receive(&records).unwrap(), (data, None), "{suite:?} {len}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn any_talk_is_understood(
        suite in prop::sample::select(&SUITES[..]),
        talk in prop::collection::vec((0_u8..8, 0_usize..20_000), 1..24),
    ) {
        let mut rig = Rig::new(suite);
        for (what, len) in talk {
            let data: Vec<u8> = (0..len).map(|n| (n * 7) as u8).collect();
            match what {
                0 => rig.client.refresh_traffic_keys().unwrap(),
                // As at the confidentiality limit.
                1 => rig.ours.update_owed = true,
                2..=4 => {
                    for record in data.chunks(PLAIN_BYTES_MAX) {
                        rig.send(record);
                        prop_assert_eq!(&rig.heard(), record);
                    }
                }
                _ => {
                    let records = rig.sent(&data);
                    prop_assert_eq!(rig.receive(&records).unwrap().0, data);
                }
            }
        }
    }

    #[test]
    fn a_record_with_any_bit_changed_opens_nowhere(
        suite in prop::sample::select(&SUITES[..]),
        len in 1_usize..2000,
        at in any::<prop::sample::Index>(),
        bit in 0_u32..8,
    ) {
        let mut rig = Rig::new(suite);
        let good = rig.sent(&vec![7; len]);
        let mut bad = good.clone();
        bad[at.index(good.len())] ^= 1_u8 << bit;
        // A length may have grown: the record is not whole then.
        if let Ok(None) = tls_record::first(&bad) {
            return Ok(());
        }
        let opened = match tls_record::first(&bad) {
            Ok(Some(record)) => {
                let mut into = vec![9; record.sealed.len()];
                let opened = rig.ours.open(&record, &mut into);
                prop_assert!(!into.contains(&7), "nothing that was not proven is left");
                opened.map(|_| ())
            }
            other => other.map(|_| ()).map_err(RecordFault::from),
        };
        prop_assert!(matches!(opened, Err(RecordFault::Peer(_))), "{opened:?}");
        // The number was not used up: the true record still opens.
        prop_assert_eq!(rig.receive(&good).unwrap().0, vec![7; len]);
    }
}

#[test]
fn every_bit_of_a_record_counts() {
    for suite in SUITES {
        let mut rig = Rig::new(suite);
        let good = rig.sent(b"data");
        for at in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[at / 8] ^= 1 << (at % 8);
            if let Ok(Some(record)) = tls_record::first(&bad) {
                let opened = rig.ours.open(&record, &mut vec![0; record.sealed.len()]);
                assert!(matches!(opened, Err(RecordFault::Peer(RecordError::Forged))), "bit {at}");
            }
        }
        assert_eq!(rig.receive(&good).unwrap().0, b"data");
    }
}

#[test]
fn records_out_of_turn_open_nowhere() {
    for suite in SUITES {
        let mut rig = Rig::new(suite);
        let (first, second) = (rig.sent(b"first"), rig.sent(b"second"));
        assert!(rig.receive(&second).is_err(), "one was left out");
        assert_eq!(rig.receive(&first).unwrap().0, b"first");
        assert!(rig.receive(&first).is_err(), "it comes twice");
        assert_eq!(rig.receive(&second).unwrap().0, b"second");
    }
}

#[test]
fn padding_is_taken_off() {
    for suite in SUITES {
        let mut rig = Rig::new(suite);
        let padded = [&b"data\0\x17"[..], &[0; 500]].concat();
        let record = forge(&mut rig, &padded);
        assert_eq!(rig.receive(&record).unwrap(), (b"data\0".to_vec(), None));
        let record = forge(&mut rig, b"\x17\0\0");
        assert_eq!(rig.receive(&record).unwrap(), (Vec::new(), None));
    }
}

#[test]
fn a_peers_key_update_is_followed_and_answered_once() {
    for suite in SUITES {
        let mut rig = Rig::new(suite);
        for _ in 0..3 {
            // Each asks for ours too.
            rig.client.refresh_traffic_keys().unwrap();
            let records = rig.sent(b"x");
            let asked = Some(Content::KeyUpdate { asked: true });
            assert_eq!(rig.receive(&records).unwrap(), (b"x".to_vec(), asked));
            let records = rig.sent(b"under the new keys");
            assert_eq!(rig.receive(&records).unwrap(), (b"under the new keys".to_vec(), None));
        }
        let mut out = Lent::take();
        rig.ours.seal(b"one", &mut out).unwrap();
        let update = OVERHEAD_BYTES + KEY_UPDATE.len();
        assert_eq!(out.len(), update + OVERHEAD_BYTES + 3, "one answer for all");
        tell(&mut rig.client, out.filled()).unwrap();
        rig.send(b"two");
        assert_eq!(rig.heard(), b"onetwo");
    }
}

#[test]
fn keys_change_before_they_are_worn_out() {
    for suite in SUITES {
        let mut rig = Rig::with_limit(suite, 10);
        let mut updates = 0;
        for n in 0..100_u8 {
            let mut out = Lent::take();
            rig.ours.seal(&[n], &mut out).unwrap();
            updates += usize::from(out.len() > OVERHEAD_BYTES + 1);
            tell(&mut rig.client, out.filled()).unwrap();
            assert_eq!(rig.heard(), [n]);
        }
        // Nine records of data and the update are ten; tickets and rustls' record came before.
        assert!((11..=12).contains(&updates), "{updates}");
    }
}

#[test]
fn ends_and_alerts_are_told_apart() {
    for suite in SUITES {
        let mut rig = Rig::new(suite);
        rig.client.send_close_notify();
        let records = said(&mut rig.client);
        assert_eq!(rig.receive(&records).unwrap(), (Vec::new(), Some(Content::Closed)));
        // Our direction is open until we close it.
        rig.send(b"still here");
        assert_eq!(rig.heard(), b"still here");
        let mut out = Lent::take();
        rig.ours.close(&mut out).unwrap();
        tell(&mut rig.client, out.filled()).unwrap();
        let mut rest = Vec::new();
        assert_eq!(rig.client.reader().read_to_end(&mut rest).unwrap(), 0, "a clean end");

        let mut rig = Rig::new(suite);
        let record = forge(&mut rig, b"\x02\x28\x15");
        assert!(matches!(rig.receive(&record), Err(RecordFault::Alert(40))));
    }
}

#[test]
fn what_no_peer_may_say_gets_its_alert() {
    let rows = [
        (&b"\0\0\0"[..], RecordError::NoContent),
        (b"\x01\x14", RecordError::BadContent),
        (b"\x16", RecordError::Empty),
        (b"\x01\x15", RecordError::BadAlert),
        (b"\x01\0\0\0\x16", RecordError::UnexpectedMessage),
        (b"\x18\0\0\x01\x02\x16", RecordError::BadRequest),
        (b"\x18\0\0\x01\0\x18\0\0\x01\0\x16", RecordError::BadMessage),
    ];
    for (inner, expect) in rows {
        let mut rig = Rig::new(SUITES[0]);
        let record = forge(&mut rig, inner);
        rig.refuses(&record, expect);
    }
    let mut rig = Rig::new(SUITES[1]);
    let mut record = rig.sent(b"data");
    *record.last_mut().unwrap() ^= 1;
    rig.refuses(&record, RecordError::Forged);
    Rig::new(SUITES[2]).refuses(&[20, 3, 3, 0, 1, 1], RecordError::Unprotected);
    Rig::new(SUITES[0]).refuses(&[23, 3, 3, 0x41, 1], RecordError::TooLong);
}

#[test]
fn a_server_with_something_to_say_keeps_its_keys() {
    let (config, mut client) = pair(SUITES[0]);
    let mut server = UnbufferedServerConnection::new(config).unwrap();
    assert!(!Records::fit(&server), "the handshake has not begun");
    shake(&mut server, &mut client, b"x");
    assert!(Records::fit(&server));
    let (config, mut client) = pair(crate::tls::testing::OLD_SUITE);
    let mut server = UnbufferedServerConnection::new(config).unwrap();
    shake(&mut server, &mut client, b"x");
    assert!(!Records::fit(&server), "TLS 1.2 stays with rustls");
}

#[test]
fn more_than_a_record_holds_is_not_sealed() {
    let mut rig = Rig::new(SUITES[0]);
    let mut out = Lent::take();
    let sealed = rig.ours.seal(&[0; PLAIN_BYTES_MAX + 1], &mut out);
    assert!(matches!(sealed, Err(RecordFault::Seal)));
    assert!(out.is_empty());
}
