//! The examples of RFC 7541 Appendix C, and rows 40, 47 and 48 of the recipes.

use super::*;
use crate::h1::head::Known;
use crate::h2::section::{Section, SectionFault, SectionLimits};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks(2).map(|pair| core::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

#[track_caller]
fn check(decoder: &mut Decoder, block: &str, expect: &[&str], size: usize) {
    let mut section = Section::default();
    let got = decoder.decode(&hex(block), &SectionLimits::default(), &mut section);
    assert_eq!(got, Ok(()));
    assert_eq!(String::from_utf8(section.bytes).unwrap(), expect.join("\r\n") + "\r\n");
    assert_eq!(decoder.table_size(), size);
}

#[track_caller]
fn refused(block: &str, expect: HpackError) {
    let mut section = Section::default();
    let got = Decoder::new(4096).decode(&hex(block), &SectionLimits::default(), &mut section);
    assert_eq!(got, Err(expect), "{block}");
}

#[test]
fn c_1_integers() {
    for (bits, value, octets) in [
        (5, 10, &[0x0a][..]),
        (5, 1337, &[0x1f, 0x9a, 0x0a]),
        (8, 42, &[0x2a]),
        (5, 31, &[0x1f, 0]),
        (7, 127 + (1 << 28) - 1, &[0x7f, 0xff, 0xff, 0xff, 0x7f]),
    ] {
        let mut out = Vec::new();
        put_integer(&mut out, 0, bits, value);
        assert_eq!(out, octets);
        assert_eq!(integer(octets, 0, bits), Ok((value, octets.len())));
    }
}

#[test]
fn c_2_single_fields() {
    let custom = "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572";
    check(&mut Decoder::new(4096), custom, &["custom-key: custom-header"], 55);
    let path = "040c 2f73 616d 706c 652f 7061 7468";
    check(&mut Decoder::new(4096), path, &[":path: /sample/path"], 0);
    let never = "1008 7061 7373 776f 7264 0673 6563 7265 74";
    check(&mut Decoder::new(4096), never, &["password: secret"], 0);
    check(&mut Decoder::new(4096), "82", &[":method: GET"], 0);
}

#[test]
fn c_3_and_c_4_requests() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for [first, second, third] in [plain, coded] {
        let mut decoder = Decoder::new(4096);
        let [get, host] = [":method: GET", ":authority: www.example.com"];
        check(&mut decoder, first, &[get, ":scheme: http", ":path: /", host], 57);
        let lines = [get, ":scheme: http", ":path: /", host, "cache-control: no-cache"];
        check(&mut decoder, second, &lines, 110);
        let lines = [get, ":scheme: https", ":path: /index.html", host, "custom-key: custom-value"];
        check(&mut decoder, third, &lines, 164);
    }
}

#[test]
fn c_5_and_c_6_replies_with_eviction() {
    let plain = [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 \
         303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 \
         6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 \
         5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 \
         5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
    ];
    let coded = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b \
         ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad \
         94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 \
         65c0 03ed 4ee5 b106 3d50 07",
    ];
    let [private, location] = ["cache-control: private", "location: https://www.example.com"];
    let date = "date: Mon, 21 Oct 2013 20:13:21 GMT";
    for [first, second, third] in [plain, coded] {
        let mut decoder = Decoder::new(256);
        check(&mut decoder, first, &[":status: 302", private, date, location], 222);
        check(&mut decoder, second, &[":status: 307", private, date, location], 222);
        let lines = [
            ":status: 200",
            private,
            "date: Mon, 21 Oct 2013 20:13:22 GMT",
            location,
            "content-encoding: gzip",
            "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ];
        check(&mut decoder, third, &lines, 215);
    }
}

#[test]
fn c_6_is_what_the_encoder_writes_of_indexed_fields() {
    let mut encoder = Encoder::new();
    let date = b"Mon, 21 Oct 2013 20:13:21 GMT";
    let mut blocks = [Vec::new(), Vec::new()];
    for out in &mut blocks {
        encoder.status(b"302", out);
        encoder.known(Known::CacheControl, b"private", out);
        encoder.known(Known::Date, date, out);
    }
    let first = "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 \
                 2d1b ff";
    assert_eq!(blocks, [hex(first), hex("c0 bf be")]);
}

#[test]
fn row_48_integrity() {
    refused("80", HpackError::Index);
    refused("be", HpackError::Index);
    refused("7f00 0161", HpackError::Index);
    refused("ffff ffff 7f", HpackError::Index);
    refused("ffff ffff ff00", HpackError::Integer);
    refused("ff80 8080 8000", HpackError::Integer);
    refused("82 20", HpackError::SizeUpdate);
    refused("3fe2 1f", HpackError::SizeUpdate);
    refused("0001 6182 ffff", HpackError::Huffman);
    refused("0001 6184 ffff ffff", HpackError::Huffman);
    refused("0001 6181 18", HpackError::Huffman);
    for cut in ["ff", "40", "4001", "4001 61", "4001 6102", "4001 6102 62", "3f", "5f", "00ff"] {
        refused(cut, HpackError::Cut);
    }
    assert_eq!((HpackError::Flood.code(), HpackError::Cut.code()), (0xb, 0x9));
}

#[test]
fn sizes_change_at_the_start_of_a_block() {
    let mut decoder = Decoder::new(4096);
    check(&mut decoder, "4001 6101 62", &["a: b"], 34);
    // Down to nothing and up to the most: two updates in a row are allowed.
    check(&mut decoder, "20 3fe1 1f 4001 6101 63", &["a: c"], 34);
    let mut section = Section::default();
    let got = decoder.decode(&hex("3f02 be"), &SectionLimits::default(), &mut section);
    assert_eq!((got, decoder.table_size()), (Err(HpackError::Index), 0), "33 octets hold nothing");
}

#[test]
fn a_field_larger_than_the_table_empties_it() {
    let mut decoder = Decoder::new(64);
    check(&mut decoder, "4001 6101 62", &["a: b"], 34);
    let long = "x".repeat(40);
    let mut block = hex("4001 6128");
    block.extend_from_slice(long.as_bytes());
    let mut section = Section::default();
    decoder.decode(&block, &SectionLimits::default(), &mut section).unwrap();
    assert_eq!((section.fields.len(), decoder.table_size()), (1, 0));
}

#[test]
fn faults_of_fields_are_noted_and_stay_with_their_entries() {
    use SectionFault as F;
    for (name, value, expect) in [
        ("a", "b", None),
        ("a_b", "", None),
        ("a", "b\tc", None),
        ("te", "trailers", None),
        ("A", "b", Some(F::NameUpperCase)),
        ("a b", "c", Some(F::NameToken)),
        ("a:b", "c", Some(F::NameToken)),
        ("a\r\nb", "c", Some(F::NameToken)),
        ("", "c", Some(F::NameToken)),
        ("\u{e9}", "c", Some(F::NameToken)),
        ("a", "b\r\nc: d", Some(F::ValueControl)),
        ("a", "b\nc", Some(F::ValueControl)),
        ("a", "b\0", Some(F::ValueControl)),
        ("a", "\x7f", Some(F::ValueControl)),
        ("a", " b", Some(F::ValueSpace)),
        ("a", "b\t", Some(F::ValueSpace)),
        ("a", " ", Some(F::ValueSpace)),
        ("connection", "close", Some(F::ConnectionField)),
        ("keep-alive", "", Some(F::ConnectionField)),
        ("proxy-connection", "x", Some(F::ConnectionField)),
        ("transfer-encoding", "chunked", Some(F::ConnectionField)),
        ("upgrade", "websocket", Some(F::ConnectionField)),
        ("http2-settings", "x", Some(F::ConnectionField)),
        ("te", "gzip", Some(F::Te)),
        (":method", "GET", None),
        (":", "x", Some(F::PseudoUnknown)),
        (":Method", "GET", Some(F::PseudoUnknown)),
        (":version", "1", Some(F::PseudoUnknown)),
        (":path", "/\r\nx: y", Some(F::ValueControl)),
    ] {
        let mut block = vec![0x40, name.len() as u8];
        block.extend_from_slice(name.as_bytes());
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
        let mut decoder = Decoder::new(4096);
        for block in [&block[..], &[0xbe]] {
            let mut section = Section::default();
            decoder.decode(block, &SectionLimits::default(), &mut section).unwrap();
            assert_eq!(section.fault, expect, "{name:?}: {value:?}");
            let stored = section.fields.len() + usize::from(section.pseudo.method.is_some());
            assert_eq!(stored, usize::from(expect.is_none()));
        }
        // The name alone carries its fault on to another value.
        let mut section = Section::default();
        decoder.decode(&hex("7e 01 62"), &SectionLimits::default(), &mut section).unwrap();
        if matches!(expect, Some(F::NameToken | F::NameUpperCase | F::ConnectionField)) {
            assert_eq!(section.fault, expect);
        }
    }
}

#[test]
fn row_52_order_of_pseudo_fields() {
    for (block, expect) in [
        ("82 84 87", None),
        ("82 83", Some(SectionFault::PseudoRepeated)),
        ("82 90 84", Some(SectionFault::PseudoLate)),
    ] {
        let mut section = Section::default();
        Decoder::new(0).decode(&hex(block), &SectionLimits::default(), &mut section).unwrap();
        assert_eq!(section.fault, expect, "{block}");
    }
}

#[test]
fn rows_40_and_47_amplification_ends_at_the_limits() {
    let limits = SectionLimits { bytes: 10_000, fields: 100 };
    let mut decoder = Decoder::new(4096);
    let mut block = vec![0x40, 1, b'a', 0x7f, 0xe9, 6];
    block.extend_from_slice(&[b'x'; 1000]);
    block.extend_from_slice(&[0xbe; 8]);
    let mut section = Section::default();
    decoder.decode(&block, &limits, &mut section).unwrap();
    assert_eq!((section.fault, section.fields.len(), section.size), (None, 9, 9 * 1033));
    section.clear();
    decoder.decode(&[0xbe; 10], &limits, &mut section).unwrap();
    assert_eq!((section.fault, section.fields.len()), (Some(SectionFault::TooLarge), 9));
    assert!(section.bytes.len() < 10_000, "nothing is stored past the limit");
    section.clear();
    assert_eq!(decoder.decode(&[0xbe; 20], &limits, &mut section), Err(HpackError::Flood));

    let mut decoder = Decoder::new(4096);
    section.clear();
    decoder.decode(&hex("40 01 61 00"), &limits, &mut section).unwrap();
    section.clear();
    decoder.decode(&[0xbe; 101], &limits, &mut section).unwrap();
    assert_eq!((section.fault, section.fields.len()), (Some(SectionFault::TooMany), 100));
    section.clear();
    decoder.decode(&[0xbe; 200], &limits, &mut section).unwrap();
    section.clear();
    assert_eq!(decoder.decode(&[0xbe; 201], &limits, &mut section), Err(HpackError::Flood));
}

#[test]
fn past_a_limit_the_table_stays_in_step() {
    let mut decoder = Decoder::new(4096);
    let mut section = Section::default();
    let limits = SectionLimits { bytes: 65536, fields: 1 };
    decoder.decode(&hex("4001 6101 62 4001 6301 64"), &limits, &mut section).unwrap();
    assert_eq!((section.fault, section.fields.len()), (Some(SectionFault::TooMany), 1));
    check(&mut decoder, "be bf", &["c: d", "a: b"], 68);
}

#[test]
fn an_encoder_tells_of_its_size() {
    let mut encoder = Encoder::new();
    let mut decoder = Decoder::new(4096);
    let mut out = Vec::new();
    encoder.begin(&mut out);
    encoder.known(Known::Server, b"weir", &mut out);
    assert_eq!(out[0], 0x76, "the default is not told");
    check_block(&mut decoder, &out, "server: weir\r\n");
    for (sizes, expect) in [
        (&[65_536][..], &[][..]),
        (&[100], &[0x3f, 69]),
        (&[0, 4096], &[0x20, 0x3f, 0xe1, 0x1f]),
        (&[64], &[0x3f, 33]),
    ] {
        sizes.iter().for_each(|&size| encoder.set_max_table(size));
        let mut out = Vec::new();
        encoder.begin(&mut out);
        assert_eq!(out, expect, "{sizes:?}");
        encoder.known(Known::Server, b"weir", &mut out);
        check_block(&mut decoder, &out, "server: weir\r\n");
        let mut out = Vec::new();
        encoder.begin(&mut out);
        assert!(out.is_empty(), "a size is told once");
    }
}

#[track_caller]
fn check_block(decoder: &mut Decoder, block: &[u8], expect: &str) {
    let mut section = Section::default();
    decoder.decode(block, &SectionLimits::default(), &mut section).unwrap();
    assert_eq!(String::from_utf8(section.bytes).unwrap(), expect);
}

#[test]
fn secrets_are_never_indexed_and_large_fields_are_not() {
    let mut encoder = Encoder::new();
    let large = [b'x'; 1100];
    for (known, value, expect) in [
        (Known::Authorization, &b"Basic abcdefghijklmnopqrstuvwxyz"[..], 0x10),
        (Known::SetCookie, b"a=abcdefghijklmnopqrstuvwxyz", 0x10),
        (Known::Cookie, b"a=1", 0x10),
        (Known::Cookie, b"a=abcdefghijklmnopqrstuvwxyz", 0),
        (Known::ContentLength, b"5", 0),
        (Known::UserAgent, &large[..], 0),
        (Known::UserAgent, b"curl", 0x40),
    ] {
        let mut out = Vec::new();
        encoder.known(known, value, &mut out);
        let mask = if expect == 0x40 { 0xc0 } else { 0xf0 };
        assert_eq!(out[0] & mask, expect, "{known:?}");
    }
}

#[test]
fn idle_tables_give_memory_back_and_still_know_their_fields() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
    let mut section = Section::default();
    let mut round = |n: usize, encoder: &mut Encoder, decoder: &mut Decoder| {
        let mut out = Vec::new();
        encoder.known(Known::UserAgent, format!("agent {n}").as_bytes(), &mut out);
        section.clear();
        decoder.decode(&out, &SectionLimits::default(), &mut section).unwrap();
        assert_eq!(section.bytes, format!("user-agent: agent {n}\r\n").as_bytes());
        out.len()
    };
    for n in 0..1000 {
        round(n, &mut encoder, &mut decoder);
    }
    assert!(decoder.memory() < 16 << 10 && encoder.memory() < 16 << 10);
    decoder.shrink();
    encoder.shrink();
    assert!(decoder.memory() < 6 << 10 && encoder.memory() < 6 << 10);
    assert_eq!(round(999, &mut encoder, &mut decoder), 1, "what was sent last is still there");
    assert!(round(0, &mut encoder, &mut decoder) > 1);
}
