//! Row 70: fields that the proxy answers for cannot be had under another spelling, which gateways
//! behind it would take for the same name.

use crate::framing::rig::Rig;
use crate::support::edge::Edge;
use crate::support::reader::Message;
use crate::support::upstream::Conn;

/// Names whose values origins believe, since the proxy writes or removes them.
const OWNED: [&str; 9] = [
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Real-IP",
    "Forwarded",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Early-Data",
];
/// A value that nobody but the client could have written.
const FORGED: &str = "for=6.6.6.6";

fn lines(spell: impl Fn(&str) -> String) -> String {
    OWNED.iter().map(|name| format!("{}: {FORGED}\r\n", spell(name))).collect()
}

fn get(lines: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

#[track_caller]
fn unforged(request: &Message, what: &str) {
    let all = request.fields.iter().chain(&request.trailers);
    let forged: Vec<_> = all.filter(|(_, value)| value.contains("6.6.6.6")).collect();
    assert!(forged.is_empty(), "{what}: {forged:?} reached the origin");
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"), "{what}");
}

/// Upper and lower case in turn.
fn mixed(name: &str) -> String {
    let turn = |(n, c): (usize, char)| {
        if n % 2 == 0 { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() }
    };
    name.chars().enumerate().map(turn).collect()
}

#[test]
fn row_70_aliases_of_owned_names() {
    let mut rig = Rig::new(70);
    rig.passes(get(&lines(|name| name.replace('-', "_"))), unforged);
    rig.passes(get(&lines(|name| name.replace('-', "."))), unforged);
    rig.passes(get(&lines(|name| name.replacen('-', "_", 1))), unforged);
    rig.passes(get(&lines(mixed)), unforged);
    rig.passes(get(&lines(|name| mixed(&name.replace('-', "_")))), unforged);
    rig.passes(get(&lines(str::to_owned).repeat(2)), unforged);
    // A name that begins as another ends where the other goes on.
    rig.passes(get(&lines(|name| format!("{name}_"))), unforged);
    rig.passes(get(&lines(|name| format!("_{name}"))), unforged);
    for name in OWNED {
        rig.refused(get(&format!("{name} : {FORGED}\r\n")), &[400]);
    }
    let spellings = [str::to_owned as fn(&str) -> String, |name| name.replace('-', "_"), mixed];
    for spell in spellings {
        let trailers = lines(spell);
        let body = format!("2\r\nhi\r\n0\r\n{trailers}\r\n");
        let head = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        rig.passes(format!("{head}{body}"), |request, what| {
            assert_eq!(request.body, b"hi", "{what}");
            unforged(request, what);
        });
    }
    rig.finish();
}

#[test]
fn row_70_aliases_are_refused_where_that_is_asked_for() {
    let reject = |edge: Edge| edge.listener("web", "header_names = \"reject\"");
    let mut rig = Rig::with(70, Conn::serve, reject);
    for name in ["X_Forwarded_For", "x.real.ip", "X_Role", "Content_Length"] {
        let bytes = get(&format!("{name}: 5\r\n"));
        rig.each(
            &bytes,
            |client, _| client.reply("GET").status,
            |status, taken, what| {
                assert_eq!(status, 400, "{what}");
                assert!(taken.requests.is_empty() && taken.partial.is_empty(), "I4: {what}");
            },
        );
    }
    rig.passes(get("X-Role: user\r\n"), |request, what| {
        assert_eq!(request.field("x-role"), Some("user"), "{what}");
    });
    rig.finish();
}
