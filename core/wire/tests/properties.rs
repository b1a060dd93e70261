//! What must hold for every input, tried on inputs that are nearly right, on committed ones that
//! were bent, and on plain noise.

use core_wire::fuzzing;
use proptest::prelude::*;

/// Bytes that parsers decide on, more often than others.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => prop::sample::select(b"\r\n\r\n: ,;=\"\\/?.0123af\t\0".to_vec()),
        2 => b'!'..=b'~',
        1 => any::<u8>(),
    ];
    prop::collection::vec(byte, 0..200)
}

fn start_line() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "(GET|POST|OPTIONS|HEAD|PURGE) /[a-z%?;.]{0,8} HTTP/1\\.[01]",
        2 => "(GET|OPTIONS) (\\*|https?://[a-c:.]{1,4}/?) HTTP/1\\.[01]",
        4 => "HTTP/1\\.[01] (100|101|103|200|204|304|502)( [A-Za-z ]{0,8})?",
        1 => "[A-Z]{0,5} ?[ -~]{0,10} ?HTTP/[0-9]\\.[0-9]{1,2}",
    ]
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "Host: (a|b|a:80|a:443|\\[::1\\]|a@b|)",
        4 => "(Content-Length|content-length): ?(0|5|10|05|\\+1|5, 5)",
        4 => "Transfer-Encoding: {0,2}(chunked|Chunked|gzip|gzip, chunked|chunked, chunked)[ \t]?",
        4 => "Connection: (close|keep-alive|upgrade|X-Mine|host|close, X-Mine, cookie)",
        2 => "Upgrade: (websocket|h2c|a/1|a, b)",
        2 => "Expect: (100-continue|other)",
        2 => "TE: (trailers|gzip)",
        6 => "(X-Mine|Cookie|x_odd|Accept|User-Agent):[ \t]{0,2}[!-~ \t]{0,12}",
        1 => "[ \t:A-Za-z_\\x01-\\x1f]{0,6}:[ -~]{0,6}",
    ]
}

fn head() -> impl Strategy<Value = Vec<u8>> {
    let end =
        prop_oneof![16 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("\r\r\n")];
    let lines = prop::collection::vec((field(), end.clone()), 0..8);
    ("(\r\n){0,2}", prop::bool::weighted(0.1), start_line(), lines, end, "[a-z]{0,5}").prop_map(
        |(empty, lead, start, lines, end, rest)| {
            let mut text = if lead { empty } else { String::new() };
            text.push_str(&start);
            text.push_str("\r\n");
            for (line, end) in lines {
                text.push_str(&line);
                text.push_str(end);
            }
            text.push_str(end);
            text.push_str(&rest);
            text.into_bytes()
        },
    )
}

fn chunks() -> impl Strategy<Value = Vec<u8>> {
    let chunk = ("[a-z0-9]{1,20}", "( ?;[a-z]{1,4}(=[a-z]{1,3}|=\"[a-z \\\\\"]{0,3}\")?){0,2}")
        .prop_map(|(data, extension)| format!("{:x}{extension}\r\n{data}\r\n", data.len()));
    let trailer = "((X-Sum|Host|a_b|Grpc-Status):[ ]{0,2}[a-z]{0,5}\r\n){0,3}";
    (prop::collection::vec(chunk, 0..6), trailer, "[\r\na-z]{0,5}").prop_map(
        |(chunks, trailer, rest)| {
            format!("{}0\r\n{trailer}\r\n{rest}", chunks.concat()).into_bytes()
        },
    )
}

/// A literal field without indexing, or with it.
fn literal(name: &str, value: &str, index: bool) -> Vec<u8> {
    let mut block = vec![if index { 0x40 } else { 0 }, name.len() as u8];
    block.extend_from_slice(name.as_bytes());
    block.push(value.len() as u8);
    block.extend_from_slice(value.as_bytes());
    block
}

/// A block of a request or a reply of HTTP/2.
fn block() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        6 => ("(GET|POST|OPTIONS|HEAD|PURGE|CONNECT)", "(https?|HTTP)", "/[a-z%?;.]{0,8}|\\*")
            .prop_map(|(method, scheme, path)| {
                [(":method", method), (":scheme", scheme), (":path", path)].to_vec()
            }),
        3 => "(103|200|204|304|502)".prop_map(|status| vec![(":status", status)]),
    ];
    let host = prop::option::weighted(0.8, "(a|a:443|b:80|\\[::1\\]|a@b)");
    let field = ("[a-z-]{1,6}|content-length|cookie|expect|te|host|x_odd|trailer", "[!-~ ]{0,8}")
        .prop_map(|(name, value)| match name.as_str() {
            "te" => (name, "trailers".to_owned()),
            "content-length" => (name, value.len().to_string()),
            "expect" => (name, "100-continue".to_owned()),
            "host" => (name, "a".to_owned()),
            _ => (name, value.trim().to_owned()),
        });
    (start, host, prop::collection::vec((field, any::<bool>()), 0..6)).prop_map(
        |(start, host, fields)| {
            let mut block = Vec::new();
            for (name, value) in start {
                block.extend(literal(name, &value, false));
            }
            host.iter().for_each(|host| block.extend(literal(":authority", host, true)));
            for ((name, value), index) in fields {
                block.extend(literal(&name, &value, index));
            }
            block
        },
    )
}

/// An input with one byte changed, taken out or put in, or as it was.
fn bent(input: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop::sample::select(b"\r\n\0 :;0a\"\xff\x16".to_vec());
    (input, any::<prop::sample::Index>(), byte, 0..6).prop_map(|(mut input, at, byte, how)| {
        if input.is_empty() {
            return input;
        }
        let at = at.index(input.len());
        match how {
            0 => input[at] = byte,
            1 => drop(input.remove(at)),
            2 => input.insert(at, byte),
            3 => input.truncate(at),
            _ => {}
        }
        input
    })
}

fn committed(target: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let entries = std::fs::read_dir(folder.join(target)).expect("the corpus is committed");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    let inputs = paths.iter().map(|path| std::fs::read(path).expect("it can be read"));
    prop::sample::select(inputs.collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn heads_nearly_right(input in bent(head())) {
        fuzzing::h1_head(&input);
    }

    #[test]
    fn bodies_nearly_right(input in bent(chunks())) {
        fuzzing::h1_body(&input);
    }

    #[test]
    fn field_blocks_nearly_right(input in block(), bent in bent(block())) {
        fuzzing::h2_downgrade(&input);
        fuzzing::h2_downgrade(&bent);
        fuzzing::hpack_decode(&[&[8, 255], &bent[..]].concat());
    }

    #[test]
    fn tables_stay_in_step(operations in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzzing::hpack_round_trip(&operations);
    }

    #[test]
    fn committed_blocks_bent(
        blocks in bent(committed("hpack_decode")),
        operations in bent(committed("hpack_round_trip")),
        head in bent(committed("h2_downgrade")),
    ) {
        fuzzing::hpack_decode(&blocks);
        fuzzing::hpack_round_trip(&operations);
        fuzzing::h2_downgrade(&head);
    }

    #[test]
    fn committed_inputs_bent(
        head in bent(committed("h1_head")),
        body in bent(committed("h1_body")),
        header in bent(committed("proxy_header")),
        hello in bent(committed("client_hello")),
    ) {
        fuzzing::h1_head(&head);
        fuzzing::h1_body(&body);
        fuzzing::proxy_header(&header);
        fuzzing::client_hello(&hello);
    }

    #[test]
    fn noise_does_no_harm(input in noise(), front in 0usize..4) {
        let fronts: [&[u8]; 4] =
            [b"", b"GET / HTTP/1.1\r\n", b"PROXY TCP4 ", b"\x16\x03\x01\x00\x40\x01\x00\x00"];
        let input = [fronts[front], &input].concat();
        fuzzing::h1_head(&input);
        fuzzing::h1_body(&input);
        fuzzing::proxy_header(&input);
        fuzzing::client_hello(&input);
        let mut scratch = Vec::new();
        if let Ok(path) = core_wire::path::normalize(&input, &mut scratch) {
            prop_assert!(path.starts_with(b"/") || path == b"*");
        }
        for kind in [
            core_wire::forwarded::Kind::XForwardedFor,
            core_wire::forwarded::Kind::Forwarded,
        ] {
            let peer = std::net::Ipv4Addr::LOCALHOST.into();
            let got = core_wire::forwarded::client(peer, [&input[..]].into_iter(), kind, |_| false);
            prop_assert_eq!(got, peer);
            // Where all are trusted the walk goes through the whole input.
            let far = core_wire::forwarded::client(peer, [&input[..]].into_iter(), kind, |_| true);
            prop_assert_eq!(far, far.to_canonical());
        }
    }
}
