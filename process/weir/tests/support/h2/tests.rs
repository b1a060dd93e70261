//! The harness against itself: what the client by hand and the origin of another implementation
//! agree on is HTTP/2, before Weir stands between them.

use super::client::{H2, Outcome};
use super::frame;
use super::hpack::{Block, Decoder, FIRST_DYNAMIC, huffman};
use super::origin::{Options, Origin};
use crate::support::tls::{Authority, VALID, server_alpn};

#[test]
fn field_blocks_come_back() {
    let block = Block::request("GET", "/a").indexed_field("x-one", "1").index(FIRST_DYNAMIC);
    let block = block.huffman_field("x-two", "www.example.com").index(8);
    let fields = Decoder::new(4096).decode(&block.0).expect("it is sound");
    let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    let pseudo = [":method", ":scheme", ":authority", ":path"];
    assert_eq!(names, [&pseudo[..], &["x-one", "x-one", "x-two", ":status"]].concat());
    assert_eq!(fields[6].1, "www.example.com");
    // RFC 7541 appendix C.4.1.
    let known = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
    assert_eq!(huffman(b"www.example.com"), known);
    for broken in [&[0x80][..], &[0xbe], &[0x41], &[0x00, 0x81, 0xff], &[0x82, 0x3f, 0xe1, 0x1f]] {
        assert!(Decoder::new(4096).decode(broken).is_err(), "{broken:?}");
    }
}

#[test]
fn client_and_origin_agree() {
    let origin = Origin::tagged();
    let mut client = H2::connect(origin.address);
    assert_eq!(client.get("/a").map(|reply| reply.text()), Ok("GET /a 0".into()));
    let body = vec![b'b'; 1 << 20];
    let reply = client.ask(&Block::request("POST", "/b"), &body).expect("a reply");
    assert_eq!(reply.text(), format!("POST /b {}", 1 << 20));
    let ids: Vec<u32> =
        (0..100).map(|n| client.open(&Block::request("GET", &format!("/{n}")), true)).collect();
    for (n, id) in ids.into_iter().enumerate() {
        assert_eq!(client.reply(id).map(|reply| reply.text()), Ok(format!("GET /{n} 0")));
    }
    let id = client.open(&Block::request("GET", "/c").field("connection", "x"), true);
    assert_eq!(client.outcome(id, crate::support::wait::SOON), Outcome::Reset(1));
    client.send(frame::ping(*b"12345678"));
    client.until("the ping is answered", |client| client.pongs == 1);
    assert_eq!(origin.count(), 102);
    assert_eq!(origin.connections(), 1);
    assert_eq!(origin.faults(), Vec::<String>::new());
}

#[test]
fn client_and_origin_agree_over_tls() {
    let ca = Authority::new();
    let tls = Some(server_alpn(&ca.issue(&["a.test"], VALID), &["h2"]));
    let origin = Origin::with(Options { tls, ..Options::default() }, |mut exchange| async move {
        exchange.interim(103, &[("link", "</a>")]);
        exchange.head(200, &[], false);
        exchange.write(&[b'x'; 200_000], false).await;
        exchange.trailers(&[("x-sum", "1")]);
    });
    let mut client = H2::tls(origin.address, "a.test", ca.client_alpn(&["h2"]));
    let reply = client.get("/a").expect("a reply");
    assert_eq!((reply.status, reply.body.len(), reply.interim.len()), (200, 200_000, 1));
    assert_eq!(reply.trailers, [("x-sum".to_owned(), "1".to_owned())]);
}

#[test]
fn a_bad_block_ends_the_connection() {
    let origin = Origin::tagged();
    let mut client = H2::connect(origin.address);
    client.open(&Block::new().index(0), true);
    let code = client.closed("index 0", crate::support::wait::SOON);
    // RFC 9113 §4.3 says COMPRESSION_ERROR; this implementation has another word for it.
    assert!(code.is_some_and(|code| code != frame::NO_ERROR), "{code:?}");
}
