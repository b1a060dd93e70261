//! Hellos made by hand, cut and bent.

use super::*;

fn short(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8], bytes].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), long(content)].concat()
}

fn sni(name: &[u8]) -> Vec<u8> {
    extension(0, &long(&[vec![0], long(name)].concat()))
}

fn message(extensions: &[Vec<u8>]) -> Vec<u8> {
    let body = [
        &[3, 3][..],
        &[7; 32],
        &short(&[1; 32]),
        &long(&[0x13, 0x01, 0x0a, 0x0a, 0xc0, 0x2b]),
        &short(&[0]),
        &long(&extensions.concat()),
    ]
    .concat();
    [&[1, 0][..], &long(&body)].concat()
}

/// The message in records of `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|part| [vec![22, 3, 1], long(part)].concat()).collect()
}

fn usual() -> Vec<Vec<u8>> {
    vec![
        extension(0x1a1a, b""),
        sni(b"WWW.Example.com"),
        extension(16, &long(&[short(b"h2"), short(b"http/1.1")].concat())),
        extension(43, &short(&[3, 4, 3, 3])),
        extension(10, &long(&[0x11, 0xec, 0x00, 0x1d])),
        extension(13, &long(&[0x04, 0x03])),
        extension(51, b"anything"),
    ]
}

fn expected() -> ClientHello {
    ClientHello {
        legacy_version: 0x0303,
        cipher_suites: vec![0x1301, 0x0a0a, 0xc02b],
        extensions: vec![0x1a1a, 0, 16, 43, 10, 13, 51],
        sni: Some("www.example.com".to_owned()),
        alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        versions: vec![0x0304, 0x0303],
        groups: vec![0x11ec, 0x001d],
        signature_algorithms: vec![0x0403],
    }
}

#[track_caller]
fn check(bytes: &[u8], expect: Result<Parsed, HelloError>) {
    crate::fuzzing::client_hello(bytes);
    assert_eq!(parse(bytes), expect);
}

#[track_caller]
fn refused(extensions: &[Vec<u8>], expect: HelloError) {
    check(&records(&message(extensions), 16_000), Err(expect));
}

#[test]
fn a_hello_is_read_from_one_record_or_from_many() {
    let message = message(&usual());
    for size in [message.len(), 100, 7] {
        let bytes = records(&message, size);
        check(&bytes, Ok(Parsed::Done(Box::new(expected()))));
        check(&[&bytes[..], b"more"].concat(), Ok(Parsed::Done(Box::new(expected()))));
        check(&bytes[..bytes.len() - 1], Ok(Parsed::Partial));
    }
    check(b"", Ok(Parsed::Partial));
}

#[test]
fn row_80_records_are_bounded() {
    check(&records(&message(&usual()), 1), Err(HelloError::TooManyRecords));
    check(&[22, 3, 1, 0, 0], Err(HelloError::BadRecord));
    check(&[22, 3, 1, 0x40, 1], Err(HelloError::BadRecord));
    check(&[22, 2], Err(HelloError::BadRecord));
    check(&[21, 3, 3, 0, 2, 1, 0], Err(HelloError::NotHandshake));
    check(b"GET / HTTP/1.1", Err(HelloError::NotHandshake));
    check(&[22, 3, 1, 0, 1, 2], Err(HelloError::NotHello));
    check(&[22, 3, 1, 0, 4, 1, 1, 0, 1], Err(HelloError::TooLong));
    let mut switched = records(&message(&usual()), 50);
    switched[55] = 23;
    check(&switched, Err(HelloError::NotHandshake));
}

#[test]
fn inner_lengths_must_fit() {
    let whole = message(&usual());
    for cut in 1..whole.len() - 4 {
        let body = &whole[4..whole.len() - cut];
        let bytes = records(&[&[1, 0][..], &long(body)].concat(), 16_000);
        crate::fuzzing::client_hello(&bytes);
        // Without its extensions a hello is whole again.
        let bare = 2 + 32 + 33 + 8 + 2;
        assert_eq!(parse(&bytes).is_ok(), body.len() == bare, "{} bytes", body.len());
    }
    refused(&[extension(0, &[0, 0])], HelloError::Malformed);
    refused(&[extension(16, &long(&short(b"")))], HelloError::Malformed);
    refused(&[extension(43, &short(&[3]))], HelloError::Malformed);
    refused(&[extension(10, &[long(&[0, 29]), vec![0]].concat())], HelloError::Malformed);
    refused(&[vec![0, 1, 0]], HelloError::Malformed);
}

#[test]
fn extensions_and_names_are_bounded() {
    refused(&[extension(51, b""), extension(51, b"")], HelloError::RepeatedExtension);
    let many = |count: u16| (1000..1000 + count).map(|kind| extension(kind, b"")).collect();
    let most: Vec<_> = many(128);
    assert!(parse(&records(&message(&most), 16_000)).is_ok());
    let more: Vec<_> = many(129);
    refused(&more, HelloError::TooManyExtensions);
    let names = extension(16, &long(&short(b"a").repeat(65)));
    refused(&[names], HelloError::TooManyProtocols);
}

#[test]
fn server_names_are_host_names() {
    for bad in [
        &b""[..],
        b".",
        b"a.",
        b".a",
        b"a..b",
        b"a b",
        b"a\0b",
        b"a/b",
        b"\xff",
        b"a:1",
        b"[::1]",
        &[b'a'; 254],
    ] {
        refused(&[sni(bad)], HelloError::BadServerName);
    }
    refused(&[extension(0, &long(&[vec![1], long(b"a")].concat()))], HelloError::BadServerName);
    for good in ["a", "xn--bcher-kva.example", "_dmarc.a", "192.0.2.1"] {
        let Ok(Parsed::Done(hello)) = parse(&records(&message(&[sni(good.as_bytes())]), 100))
        else {
            panic!("{good} is a name");
        };
        assert_eq!(hello.sni.as_deref(), Some(good));
    }
}

#[test]
fn grease_is_told_apart() {
    assert!(is_grease(0x0a0a) && is_grease(0xfafa) && is_grease(0x1a1a));
    assert!(!is_grease(0x0a1a) && !is_grease(0x1301) && !is_grease(0x0b0b));
}
